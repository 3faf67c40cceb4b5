"""As suites are written for xdist: its controller makes a database for each worker, and drops them all."""

import os
import time

import pytest

PLACE = os.environ["MEETING_PLACE"]


def log(*words):
    with open(os.path.join(PLACE, "log"), "a") as file:
        print(*words, file=file)


def database(name):
    return os.path.join(PLACE, f"database-{name}")


def pytest_configure(config):
    if hasattr(config, "workerinput"):
        assert os.path.exists(database(config.workerinput["dbname"]))
        assert os.environ["DATABASES"] == PLACE
        log("worker", config.workerinput["workerid"])
    else:
        os.environ["DATABASES"] = PLACE
        log("create")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    name = f"{os.getpid()}-{node.gateway.id}"
    open(database(name), "w").close()
    node.workerinput["dbname"] = name


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    assert error is None and node.workeroutput["torn"]
    os.remove(database(node.workerinput["dbname"]))


def pytest_sessionfinish(session, exitstatus):
    if hasattr(session.config, "workerinput"):
        session.config.workeroutput["torn"] = True
    else:
        log("drop", int(exitstatus))


@pytest.fixture
def meet():
    """Waits until a test elsewhere is there too."""

    def meet(own, other):
        open(os.path.join(PLACE, own), "w").close()
        deadline = time.monotonic() + 60
        while not os.path.exists(os.path.join(PLACE, other)):
            assert time.monotonic() < deadline, f"nobody came to {other}"
            time.sleep(0.01)

    return meet
