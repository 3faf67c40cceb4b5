"""The controller: which suites want one, what it runs, what its workers have of it, and what goes wrong in it."""

import os
import unittest

from driver import for_each_python, named, outcomes

DATABASE = """
    import os, pytest

    def log(*words):
        with open("log", "a") as file:
            print(*words, file=file)

    def is_worker(config):
        return hasattr(config, "workerinput")

    def pytest_configure(config):
        if is_worker(config):
            log("worker", config.workerinput["dbname"], config.workerinput["ports"], os.environ["DB_HOST"])
        else:
            os.environ["DB_HOST"] = "local"
            log("create", [name for name in ("PYTEST_XDIST_WORKER", "SEAGULL_SLOT") if name in os.environ])

    def pytest_sessionstart(session):
        if not is_worker(session.config):
            log("start")

    def pytest_collection_modifyitems(config):
        if not is_worker(config):
            log("collected")

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(config, specs):
        log("nodes", [spec.id for spec in specs], specs[0].popen, specs[0].chdir)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_newgateway(gateway):
        log("gateway", gateway.id)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(node):
        log("configure", node.workerinput["workerid"], node.workerinput["testrunuid"])
        node.workerinput["dbname"] = "db_" + node.gateway.id
        node.workerinput["ports"] = (1, {2: b"x"})

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(node):
        log("ready", node.gateway.id)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(node, error):
        log("down", node.gateway.id, error, getattr(node, "workeroutput", None))

    def pytest_sessionfinish(session, exitstatus):
        if is_worker(session.config):
            session.config.workeroutput["done"] = (1,)
        else:
            log("drop", int(exitstatus))
"""
TESTS = """
    import os
    def test_database(request):
        assert request.config.workerinput["dbname"] == "db_" + os.environ["PYTEST_XDIST_WORKER"]
    def test_fails(): assert 0
"""


@for_each_python
class Controllers:
    def controller(self, suite, args=(), **settings):
        return self.worker(suite, args, role="controller", discover=False, **settings)

    def answered(self, worker, controller, node=0):
        """Brings a worker what the controller has for it; what that said."""
        worker.until("node")
        controller.send("configure_node", node=node)
        events = controller.until("node_input", "ended")
        if events[-1]["event"] == "node_input":
            worker.send("node", input=events[-1]["input"])
            worker.until("node_ready")
            controller.send("node_ready", node=node)
        return events

    def failed(self, conftest, files=()):
        """The suite errors of a controller that comes to no node."""
        controller = self.controller(self.suite({"conftest.py": conftest, "test_a.py": "", **dict(files)}))
        events = controller.until()
        self.assertEqual(events[-1]["event"], "ended", (events, controller.log()))
        return [(error["title"], error["message"].partition(" (from ")[0]) for error in named(events, "suite_error")]

    def test_a_database_for_each_worker(self):
        suite = self.suite({"conftest.py": DATABASE, "test_a.py": TESTS})
        controller = self.controller(suite, slots=2, run="run-x")
        worker = self.worker(suite, controller=None, run="run-x")
        self.answered(worker, controller)
        tests = worker.discovered()
        worker.run(*enumerate(tests))
        output = named(worker.finish(), "node_output")[0]["output"]
        controller.send("node_down", node=0, error=None, output=output)
        second = self.worker(suite, controller=None, slot=1, slots=2, run="run-x", discover=False)
        self.answered(second, controller, 1)
        second.process.kill()
        controller.send("node_down", node=1, error="signal 9 (SIGKILL)", output=None)
        events = controller.finish()
        said = outcomes(worker.events, tests)
        self.assertEqual(said, {"test_a.py::test_database": "passed", "test_a.py::test_fails": "failed"})
        self.assertEqual(named(controller.events, "suite_error"), [], events)
        expected = [
            "create []",
            "start",
            "nodes ['gw0', 'gw1'] True None",
            "gateway gw0",
            "configure gw0 run-x",
            "worker db_gw0 (1, {2: b'x'}) local",
            "ready gw0",
            "down gw0 None {'done': (1,)}",
            "gateway gw1",
            "configure gw1 run-x",
            "worker db_gw1 (1, {2: b'x'}) local",
            "ready gw1",
            "down gw1 signal 9 (SIGKILL) None",
            "drop 1",
        ]
        self.assertEqual(suite.read("log").splitlines(), expected)

    def test_what_shows_that_a_controller_is_wanted(self):
        hook = "import pytest\n@pytest.hookimpl(optionalhook=True)\ndef pytest_testnodedown(node): pass\n"
        asks = "def pytest_configure(config): hasattr(config, 'workerinput')\n"
        own = {"conftest.py": "pytest_plugins = ['own.plugin']\n", "own/__init__.py": ""}
        table = [
            ({}, None),
            ({"conftest.py": hook}, "pytest_testnodedown in conftest.py"),
            ({"conftest.py": asks}, "workerinput in conftest.py"),
            ({"conftest.py": "# is_xdist_controller\n"}, "is_xdist_controller in conftest.py"),
            ({**own, "own/plugin.py": hook}, "pytest_testnodedown in own.plugin"),
            ({**own, "own/plugin.py": asks}, "workerinput in own/plugin.py"),
            ({**own, "own/plugin.py": "workers = 'inputs'\n"}, None),
            ({"test_a.py": asks + "def test_a(): pass"}, None),
        ]
        for files, reason in table:
            suite = self.suite({"test_a.py": "def test_a(): pass", **files})
            worker = self.worker(suite, ["-o", "pythonpath=."], controller=None, spread=True)
            first = worker.next_event()
            worker.send("node", input=None)
            warnings = [event["message"].partition(": ")[0] for event in named(worker.until("discovered"), "warning")]
            self.assertEqual(first["event"], "hello" if reason is None else "node", files)
            self.assertEqual(warnings, [] if reason is None else [reason])
            worker.finish()

    def test_a_setting_wins_and_warns_of_nothing(self):
        for conftest, wanted in ((DATABASE.replace('config.workerinput["dbname"]', "0"), False), ("", True)):
            conftest = conftest.replace('config.workerinput["ports"], os.environ["DB_HOST"]', "0")
            suite = self.suite({"conftest.py": conftest, "test_a.py": "def test_a(): pass"})
            worker = self.worker(suite, controller=wanted, spread=True)
            self.assertEqual(worker.next_event()["event"], "node" if wanted else "hello")
            worker.send("node", input=None)
            self.assertEqual(named(worker.until("discovered"), "warning"), [])
            self.assertEqual(named(worker.finish(), "node_output"), [], "nobody waits for it")

    def test_a_worker_that_waits_ends_with_its_executor_or_by_a_signal(self):
        suite = self.suite({"conftest.py": "# workerinput\n", "test_a.py": "def test_a(): pass"})
        worker = self.worker(suite, controller=None)
        worker.until("node")
        worker.interrupt()
        self.assertEqual(worker.until()[-1]["event"], "ended")
        worker = self.worker(suite, controller=None)
        worker.until("node")
        worker.lines.close()
        worker.socket.close()
        worker.process.wait()

    def test_what_fails_before_there_are_nodes(self):
        conftest = "import pytest\ndef pytest_{}(): {}\n"
        table = [
            (conftest.format("configure", "1 / 0"), ("configure", "ZeroDivisionError: division by zero")),
            (conftest.format("sessionstart", "1 / 0"), ("session start", "ZeroDivisionError: division by zero")),
            (conftest.format("sessionstart", "pytest.exit('no database')"), ("session start", "Exit: no database")),
            (conftest.format("configure", "raise pytest.UsageError('no port')"), ("configure", "no port")),
            ("1 / 0", ("configuration", "ConftestImportFailure: ZeroDivisionError: division by zero")),
        ]
        for source, error in table:
            self.assertEqual(self.failed(source), [error], source)

    def test_what_fails_in_the_end(self):
        conftest = "def pytest_sessionfinish(): 1 / 0\n"
        controller = self.controller(self.suite({"conftest.py": conftest}))
        controller.until("hello")
        errors = named(controller.finish(), "suite_error")
        expected = [("session finish", "ZeroDivisionError: division by zero")]
        self.assertEqual([(error["title"], error["message"]) for error in errors], expected)

    def test_a_node_hook_that_fails_is_told_of_once_and_ends_nothing(self):
        conftest = """
            import pytest
            @pytest.hookimpl(optionalhook=True)
            def pytest_configure_node(node):
                node.workerinput["good"] = 1
                node.workerinput["bad"] = object()
            @pytest.hookimpl(optionalhook=True)
            def pytest_testnodeready(node): 1 / 0
            def pytest_configure(config):
                open("input", "w").write(str(sorted(set(getattr(config, "workerinput", ())) & {"good", "bad"})))
        """
        suite = self.suite({"conftest.py": conftest, "test_a.py": "def test_a(): pass"})
        controller = self.controller(suite)
        for _ in range(2):
            worker = self.worker(suite, controller=None)
            self.answered(worker, controller)
            worker.discovered()
            self.assertEqual(suite.read("input"), "['good']")
            worker.finish()
            controller.send("node_down", node=0, error=None, output=None)
        controller.finish()
        errors = [(error["title"], error["message"]) for error in named(controller.events, "suite_error")]
        expected = [
            ("pytest_configure_node", "workerinput cannot be sent: 'bad' is a object"),
            ("pytest_testnodeready", "ZeroDivisionError: division by zero"),
        ]
        self.assertEqual(errors, expected)

    def test_an_input_that_is_too_large_is_not_sent(self):
        conftest = """
            import pytest
            @pytest.hookimpl(optionalhook=True)
            def pytest_configure_node(node): node.workerinput["much"] = "x" * (1 << 20)
        """
        suite = self.suite({"conftest.py": conftest, "test_a.py": "def test_a(): pass"})
        controller, worker = self.controller(suite), self.worker(suite, controller=None)
        events = self.answered(worker, controller)
        expected = "workerinput cannot be sent: it is over 1 MiB"
        self.assertEqual([error["message"] for error in named(events, "suite_error")], [expected])

    def test_a_controller_is_xdists_and_writes_no_report(self):
        conftest = """
            from xdist import is_xdist_controller
            def pytest_sessionstart(session):
                option = session.config.option
                open("role", "w").write("{} {}".format(is_xdist_controller(session), option.numprocesses))
            def pytest_configure_node(node): node.workerinput["x"] = 1
        """
        if not self.has("xdist"):
            self.skipTest("no xdist here")
        ini = "[pytest]\naddopts = -n 7 --dist loadscope --junitxml=report.xml --maxfail=1\n"
        suite = self.suite({"pytest.ini": ini, "conftest.py": conftest})
        controller = self.controller(suite, slots=3)
        controller.until("hello")
        controller.send("configure_node", node=0)
        controller.until("node_input")
        self.assertEqual(named(controller.finish(), "suite_error"), [], controller.log())
        self.assertEqual(suite.read("role"), "True 3")
        self.assertNotIn("report.xml", os.listdir(suite.folder))

    def test_the_runs_seed_is_the_runs_and_coverage_the_workers(self):
        if not self.has("pytest_cov"):
            self.skipTest("no plugins here")
        conftest = """
            # workerinput
            def pytest_configure(config):
                if hasattr(config, "workerinput"):
                    open("seed", "w").write(str(config.workerinput["randomly_seed"]))
        """
        files = {"pytest.ini": "[pytest]\n", "conftest.py": conftest, "mod.py": "", "test_a.py": "import mod\ndef test_a(): pass"}
        suite, args = self.suite(files), ["--cov=mod", "-o", "pythonpath=."]
        controller, worker = self.controller(suite, args, seed=9), self.worker(suite, args, controller=None, seed=9)
        self.answered(worker, controller)
        worker.run(*enumerate(worker.discovered()))
        told = worker.finish()
        controlled = controller.finish()
        self.assertEqual(suite.read("seed"), "9")
        self.assertEqual((len(named(told, "coverage")), named(controlled, "coverage")), (1, []))
        left = [name for name in os.listdir(suite.folder) if name.startswith(".coverage")]
        self.assertEqual(left, [], "the controller measures and combines nothing")


if __name__ == "__main__":
    unittest.main()
