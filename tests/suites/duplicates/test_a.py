def test_a():
    pass


def test_b():
    assert False, "the second of the same id is not run"


def test_c():
    pass
