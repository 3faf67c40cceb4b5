"""A plugin for pytest: what becomes of the test that the file `test` beside it names, in the file `outcome`."""

import os
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
# The suite is to see its own search path, which stands behind this folder.
sys.path[:] = [path for path in sys.path if path != FOLDER]
REST = os.environ.pop("PYTHONPATH", "")[len(FOLDER) + 1 :]
if REST:
    os.environ["PYTHONPATH"] = REST

with open(os.path.join(FOLDER, "test"), encoding="utf-8", newline="") as file:
    TEST = file.read()
OUTCOME = os.open(os.path.join(FOLDER, "outcome"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def say(word, write=os.write):
    """Kept open, and not looked up when it is called: tests replace what is in `os`."""
    write(OUTCOME, (word + "\n").encode())


def pytest_runtest_logstart(nodeid):
    if nodeid == TEST:
        say("started")


def pytest_runtest_logreport(report):
    if report.nodeid == TEST:
        say(report.outcome)


def pytest_runtest_logfinish(nodeid):
    if nodeid == TEST:
        say("finished")


def pytest_collectreport(report):
    """A file that could not be collected is a test, which passes once it can be."""
    if report.nodeid == TEST:
        for word in ("started", report.outcome, "finished"):
            say(word)
