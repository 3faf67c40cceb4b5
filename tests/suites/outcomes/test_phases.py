"""Every way a test may end, phase by phase."""

import pytest


@pytest.fixture
def broken():
    raise RuntimeError("setup is broken")


@pytest.fixture
def breaks_after():
    yield
    raise RuntimeError("teardown is broken")


@pytest.fixture
def skips():
    pytest.skip("not in this setup")


def test_pass():
    pass


def test_fail():
    assert 1 + 1 == 3


def test_raise():
    raise ValueError("no assertion")


def test_setup_error(broken):
    pass


def test_teardown_error(breaks_after):
    pass


def test_fail_and_teardown_error(breaks_after):
    assert False


def test_skip():
    pytest.skip("not today")


def test_skip_in_setup(skips):
    pass


@pytest.mark.skipif(True, reason="never here")
def test_skip_mark():
    assert False


@pytest.mark.xfail(reason="known")
def test_xfail():
    assert False


@pytest.mark.xfail(reason="known no more")
def test_xpass():
    pass


@pytest.mark.xfail(reason="known no more", strict=True)
def test_xpass_strict():
    pass
