import random

import pytest


@pytest.mark.parametrize("n", range(30))
def test_goes_by_the_seed(n):
    assert random.random() < 0.5


class TestInAnyOrder:
    @pytest.mark.parametrize("n", range(5))
    def test_a(self, n):
        pass

    def test_b(self):
        assert random.randrange(2)
