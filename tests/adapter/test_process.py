"""What the process is: pytest as its script starts it, a slot with an identity, endings of every kind."""

import base64
import json
import os
import signal
import unittest
import zlib

from driver import ADAPTER, for_each_python, ids_of, named, outcomes, run_all

IDENTITY = """
    import json, os, sys, pytest
    import conftest
    def test_a(worker_id, testrun_uid, request, tmp_path):
        main = sys.modules["__main__"]
        names = ["PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID", "SEAGULL_SLOT"]
        cache = getattr(request.config, "cache", None)
        found = {
            "argv": sys.argv,
            "path": sys.path,
            "main": sorted(name for name in vars(main) if not name.startswith("__")),
            "main_file": getattr(main, "__file__", None),
            "modules": list(sys.modules),
            "env": [os.environ.get(name) for name in names],
            "pythonpath": os.environ.get("PYTHONPATH"),
            "ids": [worker_id, testrun_uid],
            "early": conftest.early,
            "seed": request.config.workerinput["randomly_seed"],
            "tmp": str(tmp_path),
            "cache": cache and str(cache._cachedir),
            "threads": len(__import__("threading").enumerate()),
            "stdin": sys.__stdin__.read(),
        }
        if cache:
            cache.set("seagull/test", 1)
        with open("found", "w") as file:
            json.dump(found, file)
"""
EARLY = """
    early = []
    def pytest_configure(config):
        early.extend([config.workerinput["workerid"], config.workeroutput])
"""


@for_each_python
class Process:
    def identity(self, args=(), **settings):
        suite = self.suite({"conftest.py": EARLY, "test_a.py": IDENTITY})
        settings = {"slot": 3, "slots": 5, "run": "run-x", **settings}
        worker = self.worker(suite, ["-o", "pythonpath=.", *args], **settings)
        tests = worker.discovered()
        worker.run(*enumerate(tests))
        worker.finish()
        self.assertEqual(outcomes(worker.events, tests), {"test_a.py::test_a": "passed"}, worker.events)
        return json.loads(suite.read("found")), worker, suite

    def test_the_process_is_pytests(self):
        found, _, _ = self.identity()
        script = os.path.join(os.path.dirname(self.python), "pytest")
        self.assertEqual(found["argv"], [script, "-o", "pythonpath=."])
        self.assertEqual(found["main_file"], script)
        self.assertIn(os.path.dirname(script), found["path"][:2])
        self.assertNotIn("", found["path"])
        jobs = {"adapter", *(file.stem for file in ADAPTER.glob("*.py"))}
        ours = [name for name in found["modules"] if "seagull" in name or name in jobs]
        self.assertEqual((found["main"], ours, found["threads"], found["stdin"]), ([], [], 1, ""))
        self.assertEqual(found["pythonpath"], None)

    def test_the_slot_has_xdists_identity(self):
        for args in ([], ["-p", "no:xdist"], ["-n", "2"]):
            if args == ["-n", "2"] and not self.has("xdist"):
                continue
            found, worker, _ = self.identity(args)
            self.assertEqual(found["env"], ["gw3", "5", "run-x", "3"])
            self.assertEqual(found["ids"], ["gw3", "run-x"])
            self.assertEqual(found["early"], ["gw3", {}])
            self.assertEqual(found["seed"], 7)
            self.assertTrue(found["tmp"].startswith(os.path.join(worker.dir, "tmp", "slot0")), found["tmp"])
            self.assertEqual(found["cache"], os.path.join(worker.dir, "cache"))

    def test_no_cacheprovider_is_fine(self):
        found, _, suite = self.identity(["-p", "no:cacheprovider"])
        self.assertEqual(found["cache"], None)
        self.assertNotIn(".pytest_cache", os.listdir(suite.folder))

    def test_a_suite_that_makes_warnings_errors(self):
        files = {
            "pytest.ini": "[pytest]\nfilterwarnings = error\naddopts = --strict-markers --strict-config -p no:randomly\n",
            "json.py": "raise RuntimeError('shadows the library')",
            "typing.py": "raise RuntimeError('shadows the library')",
            "test_a.py": """
                import gc
                def test_a(worker_id, tmp_path): gc.collect()
                def test_b(): gc.collect()
            """,
            "test_warns.py": "import warnings\nwarnings.warn('early', DeprecationWarning)\ndef test_c(): pass",
        }
        suite = self.suite(files)
        for args in ([], ["-p", "no:cacheprovider"], ["-p", "no:xdist"]):
            worker = self.worker(suite, args)
            tests = worker.discovered()
            worker.run(*enumerate(tests))
            events = worker.finish()
            said = outcomes(worker.events, tests)
            expected = {"test_a.py::test_a": "passed", "test_a.py::test_b": "passed", "test_warns.py": "failed not collected"}
            self.assertEqual(said, expected)
            self.assertEqual(named(events, "suite_error"), [])
            self.assertNotIn("Warning", worker.log().replace("DeprecationWarning: early", ""))
        lazy = run_all(self.python, suite.folder, tests=tests)
        self.assertEqual(outcomes(lazy, tests), expected)

    def test_options_that_are_ours_are_taken_back(self):
        files = {
            "pytest.ini": "[pytest]\naddopts = -p no:randomly -x --maxfail=1 --pdb --junitxml=report.xml\n",
            "test_a.py": "def test_a(): assert 0\ndef test_b(): assert 0\ndef test_c(): pass",
        }
        suite = self.suite(files)
        events = run_all(self.python, suite.folder)
        self.assertEqual(sorted(outcomes(events, ids_of(events)).values()), ["failed", "failed", "passed"])
        self.assertNotIn("report.xml", os.listdir(suite.folder))

    def test_plugins_may_use_the_terminal_reporter_but_nothing_is_printed(self):
        conftest = """
            def pytest_runtest_logfinish(nodeid, location): pass
            def pytest_sessionstart(session):
                session.config.pluginmanager.getplugin("terminalreporter").write_line("printed")
            def pytest_sessionfinish(session):
                reporter = session.config.pluginmanager.getplugin("terminalreporter")
                reporter.section("printed")
                reporter.ensure_newline()
                assert not reporter.stats.get("passed")
        """
        worker = self.worker(self.suite({"conftest.py": conftest, "test_a.py": "def test_a(): pass"}), ["-v"])
        worker.run(*enumerate(worker.discovered()))
        self.assertEqual(named(worker.finish(), "suite_error"), [])
        self.assertEqual(worker.log(), "")

    def test_tests_that_change_the_process_do_not_disturb(self):
        source = """
            import json, os, signal, sys, time
            def test_cwd(): os.mkdir("gone"); os.chdir("gone"); os.rmdir(os.getcwd())
            def test_env(): os.environ.clear()
            def test_signals():
                for number in (signal.SIGTERM, signal.SIGPIPE, signal.SIGALRM): signal.signal(number, signal.SIG_DFL)
            def test_time(monkeypatch):
                monkeypatch.setattr(time, "perf_counter", None)
                monkeypatch.setattr(os, "write", None)
                monkeypatch.setattr(os, "read", None)
                monkeypatch.setattr(os, "getppid", None)
                monkeypatch.setattr(signal, "pthread_sigmask", None)
            def test_json(monkeypatch):
                monkeypatch.setattr(json, "loads", lambda text: {})
                monkeypatch.setattr(json, "dumps", lambda *given, **options: "{}")
            def test_json_that_raises(monkeypatch):
                monkeypatch.delattr(json, "loads")
                monkeypatch.delattr(json, "dumps")
            def test_fork():
                child = os.fork()
                if child: assert os.waitpid(child, 0)[1] == 0
                else: sys.exit(0) if False else os._exit(0)
            def test_streams():
                sys.stdout = sys.stderr = None
            def test_last(): pass
        """
        # Each alone, so that its successor is asked for while what it patches is patched.
        worker = self.worker(self.suite({"test_a.py": source}))
        tests = worker.discovered()
        for test in enumerate(tests):
            worker.until("next")
            worker.run(test)
        events = worker.finish()
        said = outcomes(worker.events, tests)
        self.assertEqual(len(said), 9)
        self.assertEqual(said["test_a.py::test_last"], "passed")
        self.assertEqual(set(said.values()), {"passed"}, [e.get("text") for e in named(events, "finished")])

    def test_a_forked_child_that_comes_back_has_no_part(self):
        source = """
            import os
            def test_a():
                if os.fork() == 0: return
                os.wait()
            def test_b(): pass
        """
        events, tests = self.run_suite({"test_a.py": source})
        self.assertEqual([event["test"] for event in named(events, "finished")], [0, 1])
        self.assertEqual(len(named(events, "ended")), 1)

    def test_one_seed_for_pytest_randomly(self):
        if not self.has("pytest_randomly"):
            self.skipTest("no pytest-randomly here")
        source = "import random\ndef test_a(): print(random.random())\ndef test_b(): print(random.random())\ndef test_c(): pass"
        suite = self.suite({"pytest.ini": "[pytest]", "test_a.py": source})
        first = run_all(self.python, suite.folder, seed=5)
        tests = ids_of(first)
        again = run_all(self.python, suite.folder, seed=5, slot=1, tests=tests)
        texts = [[event.get("text") for event in named(events, "finished")] for events in (first, again)]
        self.assertEqual(texts[0], texts[1])

    def test_pytest_cov_measures_the_worker_and_what_it_measured_is_told(self):
        if not self.has("pytest_cov"):
            self.skipTest("no pytest-cov here")
        files = {"mod.py": "def f():\n    return 1\ndef g():\n    return 2\n", "other.py": "x = 1"}
        suite = self.suite({**files, "test_a.py": "import mod\ndef test_a(): mod.f()\ndef test_b(): pass"})
        worker = self.worker(suite, ["--cov=.", "-o", "pythonpath=."])
        worker.run(*enumerate(worker.discovered()))
        worker.until("next")
        # It has nothing to do.
        first = opened(worker.until("coverage")[-1])
        events = worker.finish()
        self.assertEqual(named(worker.events, "suite_error") + named(worker.events, "warning"), [])
        self.assertEqual(named(worker.events, "asks")[0]["coverage"], self.python)
        self.assertEqual((first["top"], first["branches"], first["tests"]), (suite.folder, False, [0, 1]))
        covered = {os.path.relpath(name, suite.folder): lines for name, _, _, lines in first["rows"]}
        self.assertEqual((covered["mod.py"], covered["other.py"], covered["test_a.py"]), ([1, 2, 3], [], [1, 2, 3]))
        self.assertEqual([test for event in named(events, "coverage") for test in opened(event)["tests"]], [])
        self.assertEqual([name for name in os.listdir(suite.folder) if name.startswith(".coverage")], [])

    def test_without_coverage_nothing_of_it_is_told(self):
        if not self.has("pytest_cov"):
            self.skipTest("no pytest-cov here")
        for given in (["--cov=test_a", "--no-cov"], []):
            events, _ = self.run_suite({"test_a.py": "def test_a(): pass"}, given)
            self.assertEqual(named(events, "asks") + named(events, "coverage") + named(events, "warning"), [])


def opened(event):
    return json.loads(zlib.decompress(base64.b64decode(event["data"])))


STOPS = """
    import os, time, pytest
    @pytest.fixture(scope="module", autouse=True)
    def module():
        yield
        open("down", "a").close()
    def test_a(): pass
    def test_exit(): pytest.exit("enough")
    def test_hang():
        print("is hanging")
        open("hangs", "w").close()
        # Opening a file may lose an interrupt; what is waited for comes after it.
        os.rename("hangs", "hanging")
        time.sleep(1000)
    def test_die(): os._exit(0)
    def test_stop(request): request.session.shouldstop = "stop it"
"""


@for_each_python
class Endings:
    def stops(self):
        suite = self.suite({"test_a.py": STOPS})
        worker = self.worker(suite, discover=False)
        worker.until("next")
        return suite, worker

    def assert_interrupted(self, suite, worker, expected):
        events = worker.until()
        (told,) = named(events, "interrupted")
        self.assertEqual((told["test"], told["message"]), expected)
        self.assertEqual([event["event"] for event in events[-2:]], ["finishing", "ended"])
        self.assertIn("down", os.listdir(suite.folder))
        return told

    def test_pytest_exit(self):
        suite, worker = self.stops()
        worker.run((0, "test_a.py::test_a"), (1, "test_a.py::test_exit"), (2, "test_a.py::test_a"))
        told = self.assert_interrupted(suite, worker, (1, "enough"))
        self.assertEqual(told["location"], "test_a.py:8")
        self.assertEqual([event["test"] for event in named(worker.events, "finished")], [0])

    def test_a_plugin_that_stops_the_session(self):
        suite, worker = self.stops()
        worker.run((0, "test_a.py::test_stop"), (1, "test_a.py::test_a"))
        self.assert_interrupted(suite, worker, (None, "stop it"))
        self.assertEqual([event["test"] for event in named(worker.events, "finished")], [0])

    def hang(self):
        suite, worker = self.stops()
        worker.run((0, "test_a.py::test_hang"))
        worker.until("started")
        while "hanging" not in os.listdir(suite.folder):
            os.sched_yield()
        return suite, worker

    def test_sigint_in_a_test_tears_fixtures_down(self):
        suite, worker = self.hang()
        worker.interrupt()
        told = self.assert_interrupted(suite, worker, (0, "KeyboardInterrupt"))
        self.assertIn("in test_hang", told["text"])
        self.assertIn("----- Captured stdout call -----\nis hanging\n", told["text"])
        self.assertEqual(worker.events[-1]["exit"], 2)

    def test_sigint_while_idle(self):
        suite, worker = self.stops()
        worker.run((0, "test_a.py::test_a"))
        worker.until("finished")
        worker.interrupt()
        self.assert_interrupted(suite, worker, (None, ""))

    def test_a_hanging_test_shows_its_stack(self):
        for args in ([], ["-p", "no:faulthandler"]):
            suite = self.suite({"test_a.py": STOPS})
            worker = self.worker(suite, args, discover=False)
            worker.until("next")
            worker.run((0, "test_a.py::test_hang"))
            worker.until("started")
            while "hanging" not in os.listdir(suite.folder):
                os.sched_yield()
            os.kill(worker.process.pid, worker.events[0]["dump_signal"])
            while "test_hang" not in worker.log():
                self.assertIsNone(worker.process.poll())
                os.sched_yield()
            worker.interrupt()
            worker.until()

    def test_a_death_closes_the_connection_after_the_start(self):
        _, worker = self.stops()
        worker.run((0, "test_a.py::test_a"), (1, "test_a.py::test_die"))
        events = worker.until()
        self.assertEqual(events[-1], {"event": "started", "test": 1})
        self.assertEqual([event["test"] for event in named(worker.events, "finished")], [0])

    def test_a_segfault_writes_its_stack(self):
        source = "import faulthandler\ndef test_a(): faulthandler._sigsegv()"
        for args in ([], ["-p", "no:faulthandler"]):
            worker = self.worker(self.suite({"test_a.py": source}), args)
            worker.run(*enumerate(worker.discovered()))
            self.assertEqual(worker.until()[-1]["event"], "started")
            self.assertEqual(worker.process.wait(), -signal.SIGSEGV)
            self.assertIn("in test_a", worker.log())

    def test_a_lost_executor_ends_the_worker(self):
        suite, worker = self.stops()
        worker.run((0, "test_a.py::test_a"))
        worker.until("finished")
        worker.lines.close()
        worker.socket.close()
        worker.process.wait()
        self.assertIn("down", os.listdir(suite.folder))

    def test_functions_at_exit_run(self):
        source = "import atexit\ndef test_a(): atexit.register(lambda: open('left', 'w').close())"
        suite = self.suite({"test_a.py": source})
        run_all(self.python, suite.folder)
        self.assertIn("left", os.listdir(suite.folder))


if __name__ == "__main__":
    unittest.main()
