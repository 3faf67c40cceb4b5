import builtins
import json
import os
import time

import pytest


def test_patched(mocker):
    mocker.patch("os.getcwd", return_value="/nowhere")
    assert os.getcwd() == "/nowhere"


def test_no_longer_patched():
    assert os.getcwd() != "/nowhere"


def test_called(mocker):
    dumps = mocker.patch.object(json, "dumps")
    json.dumps(1)
    dumps.assert_called_once_with(2)


def test_clocks_and_files(mocker):
    """What the framework around the test needs as well."""
    mocker.patch.object(time, "time", side_effect=RuntimeError)
    mocker.patch.object(time, "perf_counter", side_effect=RuntimeError)
    mocker.patch.object(os, "read", side_effect=RuntimeError)
    mocker.patch.object(os, "write", side_effect=RuntimeError)
    mocker.patch.object(builtins, "open", side_effect=RuntimeError)
    with pytest.raises(RuntimeError):
        open("anything")


def test_stays_patched_and_fails(mocker):
    mocker.patch.object(json, "dumps", side_effect=RuntimeError)
    assert json.dumps(1) == "1"


def test_spied(mocker):
    spy = mocker.spy(json, "loads")
    assert json.loads("[1]") == [1]
    assert spy.spy_return == [1] and spy.call_count == 1


@pytest.fixture(scope="module", autouse=True)
def for_the_module(module_mocker):
    module_mocker.patch.dict(os.environ, {"MOCKED": "for the module"})


def test_module_mocker():
    assert os.environ["MOCKED"] == "for the module"


def test_stub(mocker):
    stub = mocker.stub()
    stub("x")
    stub.assert_called_once_with("y")
