import pytest


def test_before():
    pass


def test_pytest_exit():
    pytest.exit("enough")


def test_after():
    pass
