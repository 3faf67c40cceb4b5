"""What is reported of a test: outcome, detail, cause, phases, message, location and text."""

import unittest

from driver import for_each_python, named, outcomes

OUTCOMES = """
    import unittest
    import pytest

    @pytest.fixture
    def broken():
        raise RuntimeError("no setup")

    @pytest.fixture
    def breaks():
        yield
        raise RuntimeError("no teardown")

    @pytest.fixture
    def skips_late():
        yield
        pytest.skip("too late")

    def test_pass(): pass
    def test_fail(): assert 1 == 2, "unequal"
    def test_raise(): raise ValueError("first\\nsecond")
    def test_pytest_fail(): pytest.fail("so it is")
    def test_setup(broken): pass
    def test_teardown(breaks): pass
    def test_both(breaks): assert False
    def test_skip(): pytest.skip("not here")
    def test_skip_late(skips_late): pass
    def test_exit_code(): raise SystemExit(0)

    @pytest.mark.skip(reason="never")
    def test_skip_mark(): pass

    @pytest.mark.xfail(reason="known")
    def test_xfail(): assert False

    @pytest.mark.xfail(reason="known")
    def test_xfail_setup(broken): pass

    @pytest.mark.xfail(reason="gone")
    def test_xpass(): pass

    @pytest.mark.xfail(strict=True, reason="gone")
    def test_strict(): pass

    def test_imperative(): pytest.xfail("told so")

    class TestUnit(unittest.TestCase):
        def test_good(self): self.assertEqual(1, 1)
        def test_bad(self): self.assertEqual(1, 2)
        @unittest.skip("unit")
        def test_skipped(self): pass
        @unittest.expectedFailure
        def test_expected(self): self.fail()
        @unittest.expectedFailure
        def test_unexpected(self): pass
        def test_sub(self):
            for i in range(3):
                with self.subTest(i=i):
                    self.assertNotEqual(i, 1)
"""

EXPECTED = {
    "test_pass": "passed",
    "test_fail": "failed",
    "test_raise": "failed",
    "test_pytest_fail": "failed",
    "test_setup": "failed error at setup",
    "test_teardown": "failed error at teardown",
    "test_both": "failed",
    "test_skip": "skipped",
    "test_skip_late": "passed",
    "test_exit_code": "failed",
    "test_skip_mark": "skipped",
    "test_xfail": "skipped xfailed",
    "test_xfail_setup": "skipped xfailed",
    "test_xpass": "passed xpassed",
    "test_strict": "failed xpassed",
    "test_imperative": "skipped xfailed",
    "TestUnit::test_good": "passed",
    "TestUnit::test_bad": "failed",
    "TestUnit::test_skipped": "skipped",
    "TestUnit::test_expected": "skipped xfailed",
    "TestUnit::test_unexpected": "failed",
    "TestUnit::test_sub": "failed",
}

CAUSES = {
    "test_fail": ("assertion", "AssertionError: unequal"),
    "test_raise": ("error", "ValueError: first"),
    "test_pytest_fail": ("assertion", "Failed: so it is"),
    "test_setup": ("error", "RuntimeError: no setup"),
    "test_teardown": ("error", "RuntimeError: no teardown"),
    "test_both": ("assertion", "assert False"),
    "test_skip": (None, "not here"),
    "test_skip_mark": (None, "never"),
    "test_xfail": (None, "known"),
    "test_xpass": (None, "gone"),
    "test_imperative": (None, "told so"),
    "TestUnit::test_bad": ("assertion", "AssertionError: 1 != 2"),
}


@for_each_python
class Outcomes:
    def test_the_table_of_outcomes(self):
        events, tests = self.run_suite({"test_a.py": OUTCOMES})
        short = {test.split("::", 1)[1]: outcome for test, outcome in outcomes(events, tests).items()}
        self.assertEqual(short, EXPECTED)
        finished = {tests[e["test"]].split("::", 1)[1]: e for e in named(events, "finished")}
        said = {name: (finished[name].get("cause"), finished[name].get("message", "")) for name in CAUSES}
        self.assertEqual(said, CAUSES)
        self.assertEqual(finished["test_fail"]["location"], "test_a.py:20")
        self.assertIn("second", finished["test_raise"]["text"])
        self.assertIn("RuntimeError: no teardown", finished["test_both"]["text"])
        self.assertIn("assert False", finished["test_both"]["text"])
        self.assertEqual(named(events, "suite_error"), [])
        self.assertEqual(events[-1], {"event": "ended", "exit": 1})

    def test_what_a_doctest_got_wrong(self):
        files = {"a.txt": "Text.\n>>> 1\n2\n", "b.txt": ">>> 1 / 0\n1\n", "test_c.py": "def test_c(): pass\n"}
        events, tests = self.run_suite(files, ["--doctest-glob=*.txt"])
        told = [(tests[e["test"]][:5], e["message"], e["location"]) for e in named(events, "finished")[:2]]
        expected = "ZeroDivisionError('division by zero')"
        self.assertEqual(told, [("a.txt", "Expected: 2 Got: 1", "a.txt:2"), ("b.txt", expected, "b.txt:1")])

    def test_several_teardowns_that_fail_are_at_no_line_of_pytest(self):
        source = """
            import pytest
            @pytest.fixture
            def one():
                yield
                raise ValueError("one")
            @pytest.fixture
            def two():
                yield
                raise ValueError("two")
            def test_a(one, two): pass
        """
        finished = named(self.run_suite({"test_a.py": source})[0], "finished")[0]
        self.assertEqual(finished["detail"], "error at teardown")
        self.assertNotIn("_pytest", finished["location"])

    def test_every_test_is_started_then_finished_once(self):
        events, tests = self.run_suite({"test_a.py": OUTCOMES})
        pairs = [(e["event"], e["test"]) for e in events if e["event"] in ("started", "finished")]
        self.assertEqual(pairs, [(name, i) for i in range(len(tests)) for name in ("started", "finished")])
        self.assertTrue(all(e["last"] and e["ordinal"] == 0 for e in named(events, "finished")))

    def test_phases_are_timed_and_memory_is_measured(self):
        source = """
            import time, pytest
            @pytest.fixture
            def slow():
                time.sleep(0.05)
                yield
                time.sleep(0.15)
            def test_a(slow):
                time.sleep(0.1)
                began = time.process_time()
                while time.process_time() - began < 0.1:
                    pass
        """
        finished = named(self.run_suite({"test_a.py": source})[0], "finished")[0]
        for phase, seconds in (("setup", 0.05), ("call", 0.1), ("teardown", 0.15)):
            self.assertGreaterEqual(finished[phase], seconds)
            self.assertLess(finished[phase], seconds + 5)
        self.assertGreater(finished["rss"], 5_000)
        self.assertLess(finished["rss"], 2_000_000)
        self.assertGreaterEqual(finished["cpu"], 0.1)

    def test_a_function_keeps_its_indent_in_the_text(self):
        events, _ = self.run_suite({"test_a.py": "def test_bad():\n    x = 1\n    assert x == 2\n"})
        lines = named(events, "finished")[0]["text"].splitlines()
        self.assertIn("    def test_bad():", lines)
        self.assertIn("        x = 1", lines)

    def test_output_of_all_phases_is_in_the_text(self):
        source = """
            import os, subprocess, sys, pytest
            @pytest.fixture
            def noisy():
                print("from setup")
                yield
                os.write(2, b"from teardown \\xff\\n")
            def test_passes(noisy):
                os.write(1, "raw \u00e9\\n".encode())
                subprocess.call(["echo", "from child"])
                print("to stderr", file=sys.stderr)
            def test_fails(noisy): assert 0
        """
        good, bad = named(self.run_suite({"test_a.py": source})[0], "finished")
        for part in ("from setup", "raw \u00e9", "from child", "to stderr", "from teardown"):
            self.assertIn(part, good["text"])
        for part in ("from setup", "assert 0", "from teardown"):
            self.assertEqual(bad["text"].count(part), 2 if part == "assert 0" else 1, bad["text"])

    def test_long_output_loses_its_middle(self):
        source = """
            def test_a(): print("begin" + "\u00e9" * 300_000 + "end")
        """
        events, _ = self.run_suite({"test_a.py": source}, output_limit=10_000)
        text = named(events, "finished")[0]["text"]
        self.assertLess(len(text.encode()), 10_200)
        self.assertIn("begin", text)
        self.assertIn("end", text)
        self.assertRegex(text, r"\[\.\.\. \d+ bytes left out \.\.\.\]")

    def test_text_that_is_no_unicode_arrives(self):
        source = """
            def test_a(): raise ValueError("\\ud800 lone")
        """
        finished = named(self.run_suite({"test_a.py": source})[0], "finished")[0]
        self.assertIn("lone", finished["message"])

    def test_subtests(self):
        if self.pytest_version() < (9, 0) and not self.has("pytest_subtests"):
            self.skipTest("no subtests in this pytest")
        source = """
            import pytest
            def test_bad(subtests):
                with subtests.test("one"): pass
                with subtests.test("two", i=2):
                    print("inside")
                    assert 0, "in subtest"
                with subtests.test("three"): pytest.skip("s")
            def test_good(subtests):
                with subtests.test("one"): print("fine")
        """
        events, tests = self.run_suite({"test_a.py": source})
        self.assertEqual(outcomes(events, tests), {"test_a.py::test_bad": "failed", "test_a.py::test_good": "passed"})
        bad = named(events, "finished")[0]
        self.assertEqual((bad["cause"], bad["message"]), ("assertion", "AssertionError: in subtest"))
        self.assertIn("[two] (i=2)", bad["text"])
        self.assertEqual(bad["text"].count("inside"), 2, bad["text"])

    def test_reruns_are_executions_with_rising_ordinals(self):
        if not self.has("pytest_rerunfailures"):
            self.skipTest("no pytest-rerunfailures here")
        source = """
            runs = []
            def test_a():
                runs.append(1)
                assert len(runs) == 3
            def test_b(): assert 0
        """
        events, _ = self.run_suite({"test_a.py": source}, ["--reruns", "2"])
        said = [(e["test"], e["ordinal"], e["last"], e["outcome"], e.get("detail", "")) for e in named(events, "finished")]
        self.assertEqual(
            said,
            [
                (0, 0, False, "failed", "rerun"),
                (0, 1, False, "failed", "rerun"),
                (0, 2, True, "passed", ""),
                (1, 0, False, "failed", "rerun"),
                (1, 1, False, "failed", "rerun"),
                (1, 2, True, "failed", ""),
            ],
        )


if __name__ == "__main__":
    unittest.main()
