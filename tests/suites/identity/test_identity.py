"""Plugins and suites know their worker by xdist's names, with xdist or without."""

import os


def test_worker_id(worker_id):
    assert worker_id == os.environ["PYTEST_XDIST_WORKER"] == "gw" + os.environ["SEAGULL_SLOT"]


def test_worker_count():
    assert int(os.environ["PYTEST_XDIST_WORKER_COUNT"]) > int(os.environ["SEAGULL_SLOT"])


def test_testrun_uid(testrun_uid):
    assert testrun_uid == os.environ["PYTEST_XDIST_TESTRUNUID"]


def test_workerinput(request, worker_id):
    assert request.config.workerinput["workerid"] == worker_id
    assert isinstance(request.config.workerinput["randomly_seed"], int)


def test_nothing_of_ours_is_inherited():
    assert "PYTHONPATH" not in os.environ


def test_standard_input_is_empty():
    assert os.read(0, 1) == b""
