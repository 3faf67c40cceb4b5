"""What counts as the same verdicts."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "same_verdicts.py"
PASSED, FAILED, SKIPPED = "", "<failure/>", "<skipped/>"


class SameVerdicts(unittest.TestCase):
    def compared(self, *reports):
        """The exit code for reports of [(name, what its testcase has)]."""
        with tempfile.TemporaryDirectory() as folder:
            paths = [pathlib.Path(folder, f"{number}.xml") for number in range(len(reports))]
            for path, cases in zip(paths, reports):
                body = "".join(f'<testcase classname="t" name="{name}">{has}</testcase>' for name, has in cases)
                path.write_text(f"<testsuites><testsuite>{body}</testsuite></testsuites>")
            return subprocess.run([sys.executable, SCRIPT, *paths], stdout=subprocess.DEVNULL).returncode

    def test_the_same(self):
        cases = [("a", PASSED), ("b", FAILED), ("c", SKIPPED)]
        self.assertEqual(self.compared(cases, cases), 0)

    def test_another_verdict(self):
        self.assertEqual(self.compared([("a", PASSED)], [("a", FAILED)]), 1)

    def test_a_test_less_or_more(self):
        self.assertEqual(self.compared([("a", PASSED)], [("a", PASSED), ("b", PASSED)]), 1)
        self.assertEqual(self.compared([("a", PASSED), ("b", PASSED)], [("a", PASSED)]), 1)

    def test_nothing_is_never_the_same(self):
        self.assertEqual(self.compared([], []), 1)

    def test_a_teardown_that_fails_is_a_testcase_more_in_a_plain_report(self):
        self.assertEqual(self.compared([("a", FAILED)], [("a", PASSED), ("a", "<error/>")]), 0)

    def test_a_file_that_skips_itself_is_no_test(self):
        with tempfile.TemporaryDirectory() as folder:
            ours, plain = pathlib.Path(folder, "ours.xml"), pathlib.Path(folder, "plain.xml")
            test = '<testcase classname="t" name="a"/>'
            ours.write_text(f"<testsuite>{test}</testsuite>")
            plain.write_text(f'<testsuite>{test}<testcase classname="" name="u"><skipped/></testcase></testsuite>')
            self.assertEqual(subprocess.run([sys.executable, SCRIPT, ours, plain], stdout=subprocess.DEVNULL).returncode, 0)

    def test_what_differs_between_plain_runs_is_not_held_against_ours(self):
        stable, unstable = ("a", PASSED), [("b", FAILED), ("b", PASSED)]
        self.assertEqual(self.compared([stable, unstable[0]], [stable, unstable[1]], [stable, unstable[0]]), 0)
        self.assertEqual(self.compared([("a", FAILED)], [stable], [stable]), 1)


if __name__ == "__main__":
    unittest.main()
