"""pytest's own subtests."""


def test_all_pass(subtests):
    for number in range(3):
        with subtests.test(number=number):
            assert number < 3


def test_one_fails(subtests):
    for number in range(3):
        with subtests.test(number=number):
            assert number != 1
