import os
import signal
import sys

changed = []


def test_changes_its_process():
    changed.append(1)


def test_sees_nothing_of_it():
    assert changed == []


def test_fails():
    assert os.getpid() == 0, "in a process of its own"


def test_is_killed():
    os.kill(os.getpid(), signal.SIGKILL)


def test_leaves():
    os._exit(3)


def test_setup(tmp_path):
    assert tmp_path.exists()


def test_loud():
    print("said by the child")
    print("and on stderr", file=sys.stderr)
