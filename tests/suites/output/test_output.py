import os
import subprocess
import sys


def write():
    print("from print")
    print("from stderr", file=sys.stderr)
    os.write(1, b"from descriptor 1\n")
    os.write(2, b"from descriptor 2\n")
    subprocess.run(["sh", "-c", "echo from a child; echo from a child on 2 >&2"], check=True)


def test_fails():
    write()
    assert False, "see the output"


def test_passes():
    write()


def test_odd_bytes():
    os.write(1, b"\xff\x00\x1b[31m ]]> & < end of odd bytes\n")
    assert False
