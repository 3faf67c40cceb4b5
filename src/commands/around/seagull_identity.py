"""A plugin for pytest: tests and fixtures find the worker that the variables name, by xdist's names."""

import os
import sys

import pytest

FOLDER = os.path.dirname(os.path.abspath(__file__))
# The suite is to see its own search path.
sys.path[:] = [path for path in sys.path if path != FOLDER]
REST = [path for path in os.environ.pop("PYTHONPATH", "").split(os.pathsep) if path != FOLDER]
if any(REST):
    os.environ["PYTHONPATH"] = os.pathsep.join(REST)

WORKER = {
    "workerid": os.environ["PYTEST_XDIST_WORKER"],
    "workercount": int(os.environ["PYTEST_XDIST_WORKER_COUNT"]),
    "testrunuid": os.environ["PYTEST_XDIST_TESTRUNUID"],
    "mainargv": list(sys.argv),
}


def seed(option):
    """What pytest-randomly is given, else the hash seed, which is the run's unless it was set."""
    given, hashes = getattr(option, "randomly_seed", None), os.environ.get("PYTHONHASHSEED", "")
    return given if isinstance(given, int) else int(hashes) if hashes.isdigit() else 0


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session):
    """Not before: this one process also does what the suite has its controller do at the start and at the end."""
    config = session.config
    config.workerinput, config.workeroutput = {**WORKER, "randomly_seed": seed(config.option)}, {}


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    for name in ("workerinput", "workeroutput"):
        session.config.__dict__.pop(name, None)
    yield


@pytest.fixture(scope="session")
def worker_id():
    """The id of this worker (`gw0`, `gw1`, ...)."""
    return WORKER["workerid"]


@pytest.fixture(scope="session")
def testrun_uid():
    """The id of this run, the same in all its workers."""
    return WORKER["testrunuid"]
