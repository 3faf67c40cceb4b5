import pytest

times = {}


def passes_at(which, name):
    times[name] = times.get(name, 0) + 1
    assert times[name] >= which


def test_first():
    passes_at(1, "first")


def test_second():
    passes_at(2, "second")


def test_third():
    passes_at(3, "third")


@pytest.mark.flaky(reruns=3)
def test_third_where_that_is_allowed():
    passes_at(3, "allowed")


@pytest.mark.flaky(reruns=2, only_rerun=["OSError"])
def test_another_error_than_what_reruns():
    raise ValueError


@pytest.fixture
def fixture():
    passes_at(2, "fixture")


def test_fixture(fixture):
    pass


def test_skip():
    pytest.skip("not today")
