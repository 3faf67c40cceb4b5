"""What the adapter makes of options that own the session, and of the order that plugins give to tests."""

import os
import unittest

from driver import for_each_python, named, outcomes, run_all

ORDERED = """
    import pytest
    @pytest.mark.order(2)
    def test_a(): pass
    @pytest.mark.order(1)
    def test_b(): pass
    @pytest.mark.order(after="TestC::test_d")
    def test_c(): pass
    class TestC:
        def test_d(self): pass
        def test_e(self): pass
    def test_f(): pass
"""
DEPENDENT = """
    import pytest
    @pytest.mark.dependency(name="first")
    def test_a(): pass
    @pytest.mark.dependency(depends=["first"])
    def test_b(): pass
    @pytest.mark.dependency
    def test_c(): pass
    @pytest.mark.dependency(depends=["test_b"])
    @pytest.mark.parametrize("n", [1])
    def test_d(n): pass
    class TestE:
        @pytest.mark.dependency
        def test_f(self): pass
        @pytest.mark.dependency(depends=["test_f"], scope="class")
        def test_g(self): pass
"""


@for_each_python
class Options:
    def test_what_is_asked_of_the_run_is_told(self):
        suite = self.suite({"test_a.py": "def test_a(): assert 0\ndef test_b(): assert 0"})
        for args, asks in (
            ([], None),
            (["-x"], {"fail_fast": 1}),
            (["--maxfail=3", "--maxfail=0"], None),
            (["--maxfail=9999999999"], {"fail_fast": (1 << 32) - 1}),
            (["--lf", "--lfnf=none"], {"last_failed": "none"}),
            (["--ff"], {"failed_first": True}),
            (["--sw"], {"fail_fast": 1, "stepwise": True}),
            (["--sw-skip"], {"fail_fast": 2, "stepwise": True}),
            (["--sw", "--maxfail=3"], {"fail_fast": 3, "stepwise": True}),
            (["--junitxml=$HERE/x/../r.xml"], {"junit": os.path.join(suite.folder, "sub", "r.xml")}),
        ):
            events = run_all(self.python, suite.folder, args, env={"HERE": "sub"})
            self.assertEqual(named(events, "asks"), [] if asks is None else [{"event": "asks", **asks}])
            self.assertEqual(len(named(events, "finished")), 2, args)
            self.assertNotIn("sub", os.listdir(suite.folder))
        # A worker that discovers nothing is asked too, for it is what goes on after a failure, or does not.
        tests = ["test_a.py::test_a"]
        asked = named(run_all(self.python, suite.folder, ["-x"], tests=tests), "asks")
        self.assertEqual(asked, [{"event": "asks", "fail_fast": 1}])

    def test_what_tests_are_found_with_has_the_same_words_in_every_worker_until_it_changes(self):
        suite, tests = self.suite({"test_a.py": "def test_a(): pass"}), ["test_a.py::test_a"]

        def said(**settings):
            return named(run_all(self.python, suite.folder, **settings), "hello")[0]["found_with"]

        before = said()
        self.assertIn(" pytest {}.{}".format(*self.pytest_version()), before)
        self.assertEqual(said(tests=tests, slot=1, slots=2), before)
        self.assertNotEqual(said(env={"PYTEST_ADDOPTS": "-q"}), before)
        with open(os.path.join(suite.folder, "pytest.ini"), "a", encoding="utf-8") as settings:
            settings.write("xfail_strict = true\n")
        self.assertNotEqual(said(), before)

    def ordered(self, files, *args):
        events, tests = self.run_suite(files, args)
        self.assertEqual(set(outcomes(events, tests).values()), {"passed"})
        return sorted(event["tests"] for event in named(events, "relation") if event.get("ordered"))

    def test_marks_of_plugins_that_are_not_there_relate_nothing(self):
        files = {"test_a.py": ORDERED, "pytest.ini": "[pytest]\nmarkers = order\naddopts = -p no:randomly -p no:pytest_order"}
        self.assertEqual(self.ordered(files), [])

    def test_ordered_tests_are_relations(self):
        if not self.has("pytest_order"):
            self.skipTest("no pytest-order here")
        files = {"test_a.py": ORDERED, "test_b.py": ORDERED}
        one, two = "test_a.py::", "test_b.py::"
        after = [[name + "TestC::test_d", name + "test_c"] for name in (one, two)]
        placed = [one + "test_b", two + "test_b", one + "test_a", two + "test_a"]
        self.assertEqual([sorted(tests) for tests in self.ordered(files)], sorted([*map(sorted, after), sorted(placed)]))
        by_module = self.ordered(files, "--order-scope=module")
        self.assertEqual(by_module, sorted([*after, *([name + "test_b", name + "test_a"] for name in (one, two))]))

    def test_dependent_tests_are_relations(self):
        if not self.has("pytest_dependency"):
            self.skipTest("no pytest-dependency here")
        chain = ["test_a.py::test_a", "test_a.py::test_b", "test_a.py::test_d[1]"]
        pair = ["test_a.py::TestE::test_f", "test_a.py::TestE::test_g"]
        self.assertEqual(self.ordered({"test_a.py": DEPENDENT}), [pair, chain])


if __name__ == "__main__":
    unittest.main()
