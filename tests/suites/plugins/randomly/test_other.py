import random

import pytest


@pytest.fixture(scope="module")
def drawn():
    return random.random()


def test_one(drawn):
    assert 0 <= drawn < 1


def test_two(drawn):
    assert random.random() < 0.5
