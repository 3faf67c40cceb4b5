"""Forty tests that take a tenth of a second each, and tell in a file that they ran."""

import time

import pytest


@pytest.mark.parametrize("number", range(40))
def test_step(number):
    with open("ran", "a") as ran:
        ran.write(f"{number}\n")
    time.sleep(0.1)
