import time

import pytest


def test_fails():
    assert False


@pytest.mark.parametrize("number", range(60))
def test_takes_time(number):
    time.sleep(0.1)
