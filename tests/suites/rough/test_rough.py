"""Tests that leave their process in a state that no other test expects."""

import os
import signal
import sys

import pytest


@pytest.mark.parametrize("turn", range(3))
def test_directory(turn, tmp_path):
    os.chdir(tmp_path)
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    os.rmdir(tmp_path / "gone")


def test_environment():
    os.environ.clear()


def test_after_environment(tmp_path):
    assert tmp_path.is_dir()


def test_signals():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    signal.alarm(0)


def test_streams():
    sys.stdout = sys.stderr = None
    sys.path.clear()


def test_descriptors():
    os.close(0)


def test_child_that_stays():
    if os.fork() == 0:
        signal.pause()


def test_recursion_limit():
    sys.setrecursionlimit(200)
