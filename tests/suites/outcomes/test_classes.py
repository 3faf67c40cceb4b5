"""unittest's ways: subtests, expected failures, a class that cannot be set up."""

import unittest


class Cases(unittest.TestCase):
    def test_subtests_pass(self):
        for number in range(3):
            with self.subTest(number=number):
                self.assertLess(number, 3)

    def test_a_subtest_fails(self):
        for number in range(3):
            with self.subTest(number=number):
                self.assertNotEqual(number, 1)

    @unittest.expectedFailure
    def test_expected(self):
        self.fail("known")

    @unittest.expectedFailure
    def test_unexpected(self):
        pass

    @unittest.skip("not today")
    def test_skip(self):
        self.fail("is skipped")


class BrokenClass(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise RuntimeError("the class is broken")

    def test_one(self):
        pass

    def test_two(self):
        pass
