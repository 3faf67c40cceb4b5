import time

import pytest


def test_in_time():
    pass


def test_too_long():
    time.sleep(30)


@pytest.mark.timeout(60)
def test_longer_is_allowed():
    time.sleep(1.2)


@pytest.fixture
def slow():
    time.sleep(30)


def test_slow_fixture(slow):
    pass


@pytest.fixture
def slow_to_end():
    yield
    time.sleep(30)


def test_slow_to_end(slow_to_end):
    pass


@pytest.mark.timeout(0.5, func_only=True)
def test_only_the_function():
    time.sleep(30)


def test_after():
    pass
