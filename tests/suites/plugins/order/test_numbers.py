import time

import pytest


@pytest.mark.order(3)
def test_third(seen):
    assert seen == ["first", "second"]


@pytest.mark.order(1)
def test_first(seen):
    time.sleep(0.2)
    seen.append("first")


@pytest.mark.parametrize("n", range(20))
def test_unrelated(n):
    time.sleep(0.05)
