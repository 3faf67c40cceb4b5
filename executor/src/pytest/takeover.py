"""What is changed in pytest: it is one process, which has a slot's identity and prints nothing."""

import faulthandler
import io
import os
import socket
import sys
import types
import zlib


def replaced(module, name, value):
    """Puts a value into a module; returns what puts the old one back."""
    original = getattr(module, name)
    setattr(module, name, value)
    return lambda: setattr(module, name, original)


def found_with(config, versions):
    """What decides which tests there are, besides the suite's files and arguments; other words where that differs."""
    # The name of a distribution's directory says its version too, which would have to be read from a file.
    distributions = [dist for _, dist in config.pluginmanager.list_plugin_distinfo()]
    plugins = {os.path.basename(str(getattr(dist, "_path", None) or dist.project_name)) for dist in distributions}
    settings = os.environ.get("PYTEST_ADDOPTS", "").encode("utf-8", "replace")
    if config.inipath is not None:
        settings += config.inipath.read_bytes()
    interpreter = [sys.implementation.name, versions["python"], "pytest", versions["pytest"]]
    return " ".join([*interpreter, *sorted(plugins), "configuration", "%08x" % zlib.crc32(settings)])


def identify(config, settings, dump_fd, given):
    """Gives pytest what differs from slot to slot, and what the controller gave for this one."""
    slot = {
        **given,
        "workerid": os.environ["PYTEST_XDIST_WORKER"],
        "workercount": settings["slots"],
        "testrunuid": settings["run"],
        "mainargv": list(sys.argv),
        "randomly_seed": own_seed(config.option, settings["seed"]),
        # pytest-cov: this worker writes its data file where the run was started.
        "cov_master_host": socket.gethostname(),
        "cov_master_topdir": os.getcwd(),
        "cov_master_rsync_roots": [],
    }
    config.workerinput, config.workeroutput = slot, {}
    own_resources(config, settings)
    if not config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(slot_fixtures(slot))
    if not config.pluginmanager.hasplugin("faulthandler"):
        faulthandler.enable(dump_fd)


def own_resources(config, settings):
    """Gives the process directories of its own, and no server of anybody."""
    if settings.get("basetemp"):
        os.makedirs(os.path.dirname(settings["basetemp"]), exist_ok=True)
        config.option.basetemp = settings["basetemp"]
    if settings.get("cache_dir") and config.pluginmanager.hasplugin("cacheprovider"):
        config._inicache["cache_dir"] = settings["cache_dir"]
    rerunfailures = config.pluginmanager.getplugin("rerunfailures")
    if hasattr(rerunfailures, "HAS_PYTEST_HANDLECRASHITEM"):
        # Beside xdist it would connect to a server in xdist's controller, which counts reruns over crashes.
        rerunfailures.HAS_PYTEST_HANDLECRASHITEM = False


def slot_fixtures(slot):
    """xdist's fixtures, for where it is not there to provide them."""

    @pytest.fixture(scope="session")
    def worker_id():
        """The id of this worker (`gw0`, `gw1`, ...)."""
        return slot["workerid"]

    @pytest.fixture(scope="session")
    def testrun_uid():
        """The id of this run, the same in all its workers."""
        return slot["testrunuid"]

    # A module, because pytest warns of session fixtures in anything else.
    plugin = types.ModuleType("seagull_fixtures")
    plugin.worker_id, plugin.testrun_uid = worker_id, testrun_uid
    return plugin


class Nowhere(io.TextIOBase):
    """What the silent reporter writes to."""

    def write(self, text):
        return len(text)


def silent_reporter(base):
    """A terminal reporter for the plugins that want one, without hooks, whose output goes nowhere."""
    hooks = {name: None for name in dir(base) if name.startswith("pytest_")}

    def __init__(self, config, file=None):
        base.__init__(self, config, Nowhere())

    return type("TerminalReporter", (base,), {**hooks, "__init__": __init__})
