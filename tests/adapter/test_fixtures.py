"""When fixtures come up and down: as in plain pytest where tests are consecutive, and by the protocol where not."""

import unittest

from driver import for_each_python, named, outcomes, run_all

# Every fixture and test writes a line; so plain pytest's order can be compared.
CONFTEST = """
    import os, pytest
    LOG = os.path.join(os.path.dirname(__file__), "log")
    def log(text):
        with open(LOG, "a") as file:
            file.write(text + "\\n")
    def scoped(scope):
        @pytest.fixture(scope=scope, autouse=True, name="auto_" + scope)
        def fixture(request):
            name = request.node.name if scope != "session" else ""
            log("up %s %s" % (scope, name))
            yield
            log("down %s %s" % (scope, name))
        return fixture
    session, module, class_, function = map(scoped, ["session", "module", "class", "function"])
    def pytest_runtest_call(item):
        log("run " + item.nodeid)
    def pytest_sessionfinish():
        log("sessionfinish")
"""
MODULE = """
    def setup_module(): pass
    def test_1(): pass
    class TestA:
        def test_2(self): pass
        def test_3(self): pass
    class TestB:
        def test_4(self): pass
    def test_5(): pass
"""
FILES = {"conftest.py": CONFTEST, "test_a.py": MODULE, "test_b.py": MODULE, "pkg/__init__.py": "", "pkg/test_c.py": MODULE}


@for_each_python
class Fixtures:
    def ran(self, suite):
        lines = suite.read("log").splitlines()
        open(suite.folder + "/log", "w").close()
        return lines

    def test_the_order_is_plain_pytests(self):
        suite = self.suite(FILES)
        self.plain(suite)
        plain = self.ran(suite)
        self.assertEqual(len([line for line in plain if line.startswith("run")]), 15)
        events = run_all(self.python, suite.folder)
        self.assertEqual(self.ran(suite), plain)
        tests = list(dict.fromkeys(line[4:] for line in plain if line.startswith("run")))
        lazy = run_all(self.python, suite.folder, tests=tests)
        self.assertEqual(self.ran(suite), plain)
        self.assertEqual(outcomes(lazy, tests), outcomes(events, tests))

    def test_the_order_is_the_same_when_tests_come_one_by_one(self):
        suite = self.suite(FILES)
        self.plain(suite)
        plain = self.ran(suite)
        tests = [line[4:] for line in plain if line.startswith("run")]
        worker = self.worker(suite, discover=False)
        for number, test in enumerate(tests):
            self.assertEqual(worker.until("next")[-1]["event"], "next")
            worker.run((number, test))
        worker.until("next")
        worker.finish()
        self.assertEqual(self.ran(suite), plain)
        self.assertEqual(len(named(worker.events, "next")), len(tests) + 1)

    def test_files_run_in_the_order_given_and_again(self):
        suite = self.suite(FILES)
        tests = ["test_b.py::test_1", "test_a.py::TestA::test_3", "test_b.py::test_5", "test_b.py::TestB::test_4"]
        events = run_all(self.python, suite.folder, tests=tests)
        self.assertEqual([line[4:] for line in self.ran(suite) if line.startswith("run")], tests)
        self.assertEqual([event["path"] for event in named(events, "collecting")], ["test_b.py", "test_a.py"])
        self.assertEqual(set(outcomes(events, tests).values()), {"passed"})

    def test_a_test_that_runs_again_has_the_output_of_that_run_alone(self):
        suite = self.suite({"test_a.py": "def test_it():\n    print('it', 'runs')\n    assert 0\n"})
        worker = self.worker(suite, discover=False)
        worker.until("next")
        worker.run((0, "test_a.py::test_it"), (1, "test_a.py::test_it"))
        texts = [event["text"] for event in named(worker.finish(), "finished")]
        self.assertEqual([text.count("it runs") for text in texts], [1, 1], texts)

    def test_shared_fixtures_stay_while_the_successor_comes_in_time(self):
        suite = self.suite(FILES)
        worker = self.worker(suite, discover=False)
        worker.until("next")
        worker.run((0, "test_a.py::TestA::test_2"))
        worker.until("next")
        # The call phase is over, the teardown waits.
        self.assertEqual(named(worker.events, "finished"), [])
        self.assertEqual(self.ran(suite)[-1], "run test_a.py::TestA::test_2")
        worker.run((1, "test_a.py::TestA::test_3"))
        worker.until("next")
        self.assertEqual(
            self.ran(suite), ["down function test_2", "up function test_3", "run test_a.py::TestA::test_3"]
        )
        worker.finish()

    def test_without_a_successor_all_but_session_fixtures_come_down(self):
        suite = self.suite(FILES)
        worker = self.worker(suite, discover=False)
        worker.until("next")
        worker.run((0, "test_a.py::TestA::test_2"))
        worker.until("finished")
        waited = worker.events[-1]
        self.assertLess(waited["teardown"], 0.5)
        self.assertEqual(self.ran(suite)[-3:], ["down function test_2", "down class TestA", "down module test_a.py"])
        worker.run((1, "test_a.py::TestA::test_3"))
        worker.until("finished")
        events = worker.finish()
        lines = self.ran(suite)
        self.assertEqual(lines[:2], ["up module test_a.py", "up class TestA"])
        self.assertEqual(lines[-2:], ["down session ", "sessionfinish"])
        self.assertEqual(len(named(worker.events, "next")), 3, worker.events)
        self.assertEqual(events[-1], {"event": "ended", "exit": 0})

    def test_a_missing_successor_does_not_keep_fixtures_up(self):
        suite = self.suite(FILES)
        tests = ["test_a.py::TestA::test_2", "test_b.py::gone", "pkg/test_c.py::test_1"]
        events = run_all(self.python, suite.folder, tests=tests)
        self.assertEqual(outcomes(events, tests), {tests[0]: "passed", tests[2]: "passed"})
        self.assertEqual([event["test"] for event in named(events, "missing")], [1])
        self.assertEqual(named(events, "suite_error"), [])
        lines = self.ran(suite)
        self.assertLess(lines.index("down module test_a.py"), lines.index("run pkg/test_c.py::test_1"))

    def test_a_plugin_may_look_at_the_next_item(self):
        conftest = """
            def pytest_runtest_protocol(item, nextitem):
                print("next of", item.name, "is", nextitem and nextitem.name)
        """
        suite = self.suite({"conftest.py": conftest, "test_a.py": MODULE, "test_b.py": MODULE})
        tests = ["test_a.py::test_1", "test_b.py::test_1"]
        worker = self.worker(suite, ["-s"], discover=False)
        worker.until("next")
        worker.run(*enumerate(tests))
        worker.finish()
        self.assertIn("next of test_1 is test_1", worker.log())
        self.assertEqual(outcomes(worker.events, tests), dict.fromkeys(tests, "passed"))

    def test_a_failing_session_teardown_is_a_suite_error(self):
        source = """
            import pytest
            @pytest.fixture(scope="session")
            def database():
                yield
                print("closing")
                raise RuntimeError("still in use")
            @pytest.fixture(scope="module")
            def table():
                yield
                raise RuntimeError("table locked")
            def test_a(database): pass
            def test_b(table): pass
        """
        events, tests = self.run_suite({"test_a.py": source})
        self.assertEqual(list(outcomes(events, tests).values()), ["passed", "failed error at teardown"])
        errors = named(events, "suite_error")
        self.assertEqual([error["message"] for error in errors], ["RuntimeError: still in use"])
        # Without our frames, or pytest's.
        self.assertTrue(errors[0]["text"].startswith("test_a.py:7: in database\n"), errors[0]["text"])
        self.assertIn("closing", errors[0]["text"])
        order = [event["event"] for event in events]
        self.assertEqual(order[-3:], ["finishing", "suite_error", "ended"])

    def test_errors_at_the_sessions_end_are_suite_errors(self):
        conftest = "def pytest_sessionfinish(): raise RuntimeError('no report')"
        events, _ = self.run_suite({"conftest.py": conftest, "test_a.py": "def test_a(): pass"})
        self.assertEqual([error["message"] for error in named(events, "suite_error")], ["RuntimeError: no report"])
        self.assertEqual(events[-1], {"event": "ended", "exit": 1})

    def test_an_error_in_pytests_own_hooks_is_a_suite_error(self):
        conftest = """
            def pytest_runtest_logreport(report):
                if report.when == "call": raise RuntimeError("bad hook")
        """
        events, _ = self.run_suite({"conftest.py": conftest, "test_a.py": "def test_a(): pass"})
        self.assertEqual([error["message"] for error in named(events, "suite_error")], ["RuntimeError: bad hook"])
        self.assertEqual(named(events, "finished"), [])
        self.assertEqual(events[-1]["event"], "ended")


if __name__ == "__main__":
    unittest.main()
