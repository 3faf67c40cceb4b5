"""Plays the executor to one real worker: starts it as the executor does, feeds it tests and keeps its events."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import unittest

ADAPTER = pathlib.Path(__file__).resolve().parents[2] / "executor" / "src" / "pytest"
PATIENCE = float(os.environ.get("SEAGULL_TEST_PATIENCE", "60"))
"""Seconds without an event after which a worker counts as hung."""

INI = "[pytest]\naddopts = -p no:randomly\n"
"""For suites without their own: the order of the tests is what is tested."""


class Ended(Exception):
    """The worker closed its socket."""


class Suite:
    """A suite in a directory of its own, from {path: source}."""

    def __init__(self, files):
        self.folder = tempfile.mkdtemp(prefix="seagull-suite-")
        for name, source in {"pytest.ini": INI, **files}.items():
            path = os.path.join(self.folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(textwrap.dedent(source))

    def read(self, name):
        with open(os.path.join(self.folder, name), encoding="utf-8") as file:
            return file.read()

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Worker:
    """One worker process and its socket."""

    def __init__(self, python, folder, args=(), env=None, **settings):
        self.dir = tempfile.mkdtemp(prefix="seagull-dir-")
        shutil.copytree(ADAPTER, os.path.join(self.dir, "adapter"))
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.path.join(self.dir, "socket"))
        listener.listen(1)
        self.log_path = os.path.join(self.dir, "log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [python, "-c", (ADAPTER / "bootstrap.py").read_text(), self.dir],
                cwd=folder,
                env=environment(env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        listener.settimeout(PATIENCE)
        self.socket, _ = listener.accept()
        self.socket.settimeout(PATIENCE)
        listener.close()
        self.lines = self.socket.makefile("rb")
        self.events, self.outstanding = [], 0
        configure = {"slot": 0, "slots": 1, "run": "r1", "seed": 7, "discover": True, "whole": False}
        configure["controller"] = False
        configure.update(basetemp=os.path.join(self.dir, "tmp", "slot0"), cache_dir=os.path.join(self.dir, "cache"))
        self.send("configure", args=list(args), **{**configure, "output_limit": 1 << 20, **settings})

    def send(self, command, **fields):
        line = json.dumps({"command": command, **fields}) + "\n"
        try:
            self.socket.sendall(line.encode())
        except (BrokenPipeError, ConnectionResetError):
            pass

    def run(self, *tests):
        self.send("run", tests=[list(test) for test in tests])

    def next_event(self):
        try:
            line = self.lines.readline()
        except socket.timeout:
            raise AssertionError("no event from the worker; log:\n" + self.log()) from None
        except ConnectionResetError:
            line = b""
        if not line:
            raise Ended
        assert len(line) < 256 * 1024, "a line of %d bytes" % len(line)
        event = json.loads(line.decode("utf-8"))
        self.events.append(event)
        return event

    def until(self, *names):
        """Events up to the first of one of these names, which is last; all that are left if none is given."""
        seen = []
        try:
            while not seen or seen[-1]["event"] not in names:
                seen.append(self.next_event())
        except Ended:
            if names:
                raise AssertionError(
                    "the worker ended before %s; events:\n%s\nlog:\n%s"
                    % (" or ".join(names), "\n".join(map(str, seen)), self.log())
                ) from None
        return seen

    def discovered(self):
        """The ids of the discovery, in its order."""
        events = self.until("discovered", "discovery_failed", "ended")
        assert events[-1]["event"] == "discovered", (events, self.log())
        return ids_of(events)

    def finish(self):
        """Lets the worker end; its last events."""
        self.send("finish")
        events = self.until()
        self.process.wait(PATIENCE)
        return events

    def log(self):
        with open(self.log_path, "rb") as file:
            return file.read().decode("utf-8", "replace")

    def interrupt(self):
        os.kill(self.process.pid, signal.SIGINT)

    def close(self):
        self.lines.close()
        self.socket.close()
        try:
            self.process.wait(PATIENCE)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            shutil.rmtree(self.dir, ignore_errors=True)
        return self.process.returncode


def environment(extra):
    """The caller's environment without what would make the worker a different one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON"))}
    return {**kept, **(extra or {})}


def ids_of(events):
    files = [event for event in events if event["event"] == "file"]
    return [file["path"] + suffix for file in files for suffix in file["suffixes"]]


def named(events, name):
    return [event for event in events if event["event"] == name]


def run_all(python, folder, args=(), tests=None, **settings):
    """Discovers (or takes `tests`), runs all in order, ends; the worker's events."""
    worker = Worker(python, folder, args, discover=tests is None, **settings)
    try:
        if tests is None:
            tests = worker.discovered()
        worker.run(*enumerate(tests))
        worker.finish()
        return worker.events
    finally:
        worker.close()


def outcomes(events, tests):
    """{id: outcome and detail, as one text} of the last execution of each test."""
    last = {}
    for event in named(events, "finished"):
        last[tests[event["test"]]] = (event["outcome"] + " " + event.get("detail", "")).strip()
    return last


def pythons():
    """The interpreters to test with, from SEAGULL_TEST_PYTHONS; else the one that runs the tests."""
    return [path for path in os.environ.get("SEAGULL_TEST_PYTHONS", "").split(":") if path] or [sys.executable]


def for_each_python(cls):
    """Makes a mixin with tests into one TestCase for each interpreter."""
    namespace = sys.modules[cls.__module__].__dict__
    for number, python in enumerate(pythons()):
        name = "%s_%d" % (cls.__name__, number)
        namespace[name] = type(name, (cls, AdapterCase), {"python": python, "__module__": cls.__module__})
    return cls


class AdapterCase(unittest.TestCase):
    """A test of the adapter in the pytest of one interpreter."""

    python = sys.executable
    maxDiff = None

    def suite(self, files):
        suite = Suite(files)
        self.addCleanup(suite.remove)
        return suite

    def worker(self, suite, args=(), **settings):
        worker = Worker(self.python, suite.folder, args, **settings)
        self.addCleanup(worker.close)
        return worker

    def run_suite(self, files, args=(), **settings):
        """Events and ids of a suite that is discovered and run whole."""
        events = run_all(self.python, self.suite(files).folder, args, **settings)
        return events, ids_of(events)

    def plain(self, suite, *args):
        """Runs plain pytest over the suite."""
        command = [self.python, "-m", "pytest", "-p", "no:cacheprovider", *args]
        return subprocess.run(
            command,
            cwd=suite.folder,
            env=environment(None),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        ).stdout.decode()

    def has(self, module):
        """Whether the interpreter has a module."""
        return subprocess.run([self.python, "-c", "import " + module], stderr=subprocess.DEVNULL, check=False).returncode == 0

    def pytest_version(self):
        code = "import pytest; print(pytest.__version__)"
        return tuple(map(int, subprocess.check_output([self.python, "-c", code]).decode().split(".")[:2]))
