import socket

import pytest
from shop import money


@pytest.mark.parametrize("cents", range(0, 4000, 100))
def test_what_is_shown_can_be_read(cents):
    assert money.parse(money.show(cents + 7)) == cents + 7


@pytest.mark.parametrize("text", ["", "1.", ".5", "1.234", "-1", "1,50", "one"])
def test_no_amounts(text):
    with pytest.raises(ValueError):
        money.parse(text)


@pytest.mark.parametrize("percent", range(0, 101, 5))
def test_discounts(percent):
    left = money.discount(1999, percent)
    assert 0 <= left <= 1999 and left <= 1999 * (100 - percent) / 100


@pytest.mark.parametrize("parts", range(1, 25))
def test_parts(parts):
    split = money.split(1000, parts)
    assert sum(split) == 1000 and max(split) - min(split) <= 1 and split == sorted(split, reverse=True)


def test_nothing_is_reached():
    with pytest.raises(OSError):
        socket.create_connection(("1.1.1.1", 53), timeout=1)
