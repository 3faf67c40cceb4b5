import time

import pytest

from shop.prices import price


def test_few():
    time.sleep(1)
    assert price(2, 3) == 6


def test_many():
    assert price(20, 10) == 180


def test_none():
    with pytest.raises(ValueError):
        price(-1, 1)
