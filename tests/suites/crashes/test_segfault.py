import ctypes


def test_before():
    pass


def test_segfault():
    ctypes.string_at(0)


def test_after():
    pass
