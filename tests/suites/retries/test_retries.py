import os


def test_flaky():
    try:
        os.mkdir("seen")
    except FileExistsError:
        return
    assert False, "the first time"


def test_good():
    pass
