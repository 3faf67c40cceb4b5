import os
import signal

import pytest


def test_terminates_its_parent():
    os.kill(os.getppid(), signal.SIGTERM)


def test_kills_its_parent_and_ends():
    os.kill(os.getppid(), signal.SIGKILL)


@pytest.mark.parametrize("number", range(9))
def test_after(number):
    pass
