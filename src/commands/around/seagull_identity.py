"""A plugin for pytest: tests and fixtures find the worker that the variables name, by xdist's names."""

import os
import sys
import traceback
import types

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

HAD_CONTROLLER = os.environ.pop("SEAGULL_CONTROLLER", None) != "false"
SERVED = ("_pytest", "xdist", "pytest_cov", "pytest_metadata", "pytest_randomly", "pytest_rerunfailures")
"""Packages whose node hooks are about xdist's own workers."""


class Spec(types.SimpleNamespace):
    """As execnet's: what it does not say is None."""

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)


def node_of(config):
    """The worker, as node hooks know it."""
    name = WORKER["workerid"]
    node = types.SimpleNamespace(config=config, workerinput={**WORKER, "randomly_seed": seed(config.option)})
    node.gateway = types.SimpleNamespace(id=name, spec=Spec(popen=True, id=name), node=node)
    node.workerinfo = {"id": name, "executable": sys.executable, "version": sys.version, "cwd": os.getcwd()}
    return node


def call(session, name, **arguments):
    """A node hook of the suite's, as its controller calls it. What goes wrong in it ends nothing, as in the run."""
    hook = getattr(session.config.hook, name, None)
    if hook is None or not HAD_CONTROLLER:
        return
    packages = [(one.plugin, (one.function.__module__ or "").partition(".")[0]) for one in hook.get_hookimpls()]
    served = [plugin for plugin, package in packages if package in SERVED]
    try:
        session.config.pluginmanager.subset_hook_caller(name, served)(**arguments)
    except pytest.exit.Exception:
        raise
    except Exception:
        traceback.print_exc()


def seed(option):
    """What pytest-randomly is given, else the hash seed, which is the run's unless it was set."""
    given, hashes = getattr(option, "randomly_seed", None), os.environ.get("PYTHONHASHSEED", "")
    return given if isinstance(given, int) else int(hashes) if hashes.isdigit() else 0


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session):
    """Not before: this one process also does what the suite has its controller do at the start and at the end."""
    config = session.config
    node = session.seagull_node = node_of(config)
    call(session, "pytest_xdist_setupnodes", config=config, specs=[node.gateway.spec])
    call(session, "pytest_xdist_newgateway", gateway=node.gateway)
    call(session, "pytest_configure_node", node=node)
    config.workerinput, config.workeroutput = node.workerinput, {}
    call(session, "pytest_testnodeready", node=node)


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    own, node = session.config.__dict__, getattr(session, "seagull_node", None)
    output = own.pop("workeroutput", {})
    own.pop("workerinput", None)
    if node is not None:
        node.workeroutput = output
        call(session, "pytest_testnodedown", node=node, error=None)
    yield


@pytest.fixture(scope="session")
def worker_id():
    """The id of this worker (`gw0`, `gw1`, ...)."""
    return WORKER["workerid"]


@pytest.fixture(scope="session")
def testrun_uid():
    """The id of this run, the same in all its workers."""
    return WORKER["testrunuid"]
