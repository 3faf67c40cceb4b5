"""The controller: pytest without a slot's identity, which runs no test, and the node hooks of xdist."""

import binascii
import marshal
import os
import re
import sys
import types

NODE_HOOKS = (
    "pytest_xdist_setupnodes",
    "pytest_xdist_newgateway",
    "pytest_configure_node",
    "pytest_testnodeready",
    "pytest_testnodedown",
)
"""xdist's hooks that its controller alone calls, and that are about workers, not about which tests they run."""

SERVED = ("_pytest", "xdist", "pytest_cov", "pytest_metadata", "pytest_randomly", "pytest_rerunfailures")
"""Packages that have such hooks, and need no controller here: what these do for workers, workers have."""

ASKS = re.compile(rb"\b(?:workerinput|is_xdist_(?:worker|controller|master))\b")
"""What is written where a process finds out whether it is a worker."""

NODE_CHARACTERS = 1 << 20
"""Of what goes to a worker or comes from it."""

OWN_REPORTS = ("xmlpath", "htmlpath", "report_log")
"""Options by which pytest's one process would write a report of the run."""

PYTESTS_VARIABLES = ("PYTEST_CURRENT_TEST", "PYTEST_VERSION")


def has_controller(config, settings):
    """Whether the run has a controller on this executor."""
    wanted = settings.get("controller")
    runs = not given(config.option, WITHOUT_TESTS)
    return runs and (bool(wanted) if wanted is not None else shows_controller(config) is not None)


def shows_controller(config):
    """What of the suite says that it has something for a controller to do, if anything does."""
    for name in NODE_HOOKS:
        hook = getattr(config.hook, name, None)
        for implementation in hook.get_hookimpls() if hook is not None else ():
            module = getattr(implementation.function, "__module__", None) or ""
            if module.partition(".")[0] not in SERVED:
                return "{} in {}".format(name, called(config, implementation.plugin_name))
    for plugin in config.pluginmanager.get_plugins():
        path = own_source(config, plugin)
        found = path and ASKS.search(source_of(path))
        if found:
            return "{} in {}".format(found.group().decode(), called(config, path))
    return None


def once_per_executor(config, settings):
    """What to know where a run has several executors, if nobody says that it is known."""
    shown = shows_controller(config) if settings.get("spread") and settings.get("controller") is None else None
    if shown is not None:
        yield (
            "{}: each executor of the run has a controller of its own, so what must be there once for all of them has to be"
            " made once (seagull docs pytest says how); controller = true in [pytest] says that it is"
        ).format(shown)


def called(config, path):
    """A path as a person knows it; or a plugin's name."""
    return clean(os.path.relpath(path, config.rootpath) if os.path.isabs(path) else path)


def own_source(config, plugin):
    """The file of a plugin that is the suite's own: a conftest.py, or a module below the root directory."""
    path = getattr(plugin, "__file__", None) if isinstance(plugin, types.ModuleType) else None
    if not path or os.path.basename(path) == "conftest.py":
        return path
    installed = {"site-packages", "dist-packages"}.intersection(path.split(os.sep))
    return path if not installed and path.startswith(str(config.rootpath) + os.sep) else None


def source_of(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def packed(value):
    """As text; what can be sent is what xdist can send."""
    return binascii.b2a_base64(marshal.dumps(value), newline=False).decode("ascii")


def unpacked(text):
    return marshal.loads(binascii.a2b_base64(text))


def sendable(values):
    """The values that can be sent, and a name and a type of each other."""
    good, bad = {}, []
    for name, value in values.items():
        try:
            marshal.dumps((name, value))
            good[name] = value
        except ValueError:
            bad.append("{!r} is a {}".format(name, type(value).__name__))
    return good, bad


def changes(before, after):
    """What is in `after` and was not so before; None for what is gone."""
    names = {name: None for name in [*before, *after] if name not in PYTESTS_VARIABLES}
    return {name: after.get(name) for name in names if before.get(name) != after.get(name)}


def set_variables(values):
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def preside(config, settings):
    """Gives pytest what is the controller's own, and takes from it what is done once for the whole run, or by workers."""
    option = config.option
    for name in OWN_REPORTS:
        if hasattr(option, name):
            setattr(option, name, None)
    if hasattr(option, "dist"):
        # By these plugins know xdist's controller. Without `tx` xdist starts nothing.
        option.dist, option.testrunuid = "load", settings["run"]
    own_resources(config, settings)


class Spec(types.SimpleNamespace):
    """As execnet's: what it does not say is None."""

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)


class Node:
    """A worker, as xdist's hooks know it."""

    def __init__(self, config, number, settings):
        name = "gw{}".format(number)
        self.config = config
        self.gateway = types.SimpleNamespace(id=name, spec=Spec(popen=True, id=name), node=self)
        self.workerinfo = {"id": name, "executable": sys.executable, "version": sys.version, "cwd": os.getcwd()}
        self.workerinput = {
            "workerid": name,
            "workercount": max(settings["slots"], number + 1),
            "testrunuid": settings["run"],
            "mainargv": list(sys.argv),
        }

    def __repr__(self):
        return "<Node {}>".format(self.gateway.id)


class ControllerTrouble(Trouble):
    """All its errors are suite errors: it is not asked which tests there are."""

    def __init__(self, channel, limit, settings):
        super().__init__(channel, limit, settings)
        # That tests fail, its workers tell.
        self.collected = self.failed = True

    def suite_error(self, title, message, text):
        # The executor adds what was written.
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        super().suite_error(title, message, text)


class Controller(Worker):
    """The plugin object of a process that is no worker."""

    def __init__(self, channel, settings, dump_signal, dump_fd):
        super().__init__(channel, settings, dump_signal, dump_fd)
        self.trouble = ControllerTrouble(channel, self.limit, settings)
        self.stage = "configure"
        self.config, self.nodes, self.failed = None, {}, set()
        self.environ = dict(os.environ)

    @hookimpl(hookwrapper=True)
    def pytest_load_initial_conftests(self, early_config):
        known = early_config.known_args_namespace
        one_process(known)
        if hasattr(known, "cov_source"):
            # pytest-cov would combine what the workers measure, while they do.
            known.cov_source = []
        yield

    def await_node(self, config):
        """It is no node."""

    def take_identity(self, config):
        self.config = config
        preside(config, self.settings)

    @hookimpl(tryfirst=True)
    def pytest_configure(self, config):
        if hasattr(config.option, "numprocesses"):
            # Not before xdist has looked at it.
            config.option.numprocesses = self.settings["slots"]

    @hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session):
        super().pytest_sessionstart(session)
        self.stage = "session start"

    @hookimpl(tryfirst=True)
    def pytest_collection(self, session):
        return True

    @hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session):
        self.stage = "nodes"
        try:
            specs = [Spec(popen=True, id="gw{}".format(number)) for number in range(self.settings["slots"])]
            self.call("pytest_xdist_setupnodes", config=self.config, specs=specs)
            while not self.finish:
                self.receive(None)
        finally:
            self.stage = "session finish"
        return True

    def obey(self, commands):
        super().obey(commands)
        for command in commands:
            if command["command"] == "configure_node":
                self.configure_node(command["node"])
            elif command["command"] == "node_ready":
                self.call("pytest_testnodeready", node=self.nodes[command["node"]])
            elif command["command"] == "node_down":
                self.take_down(self.nodes.pop(command["node"]), command["error"], command["output"])

    def configure_node(self, number):
        node = self.nodes[number] = Node(self.config, number, self.settings)
        before = dict(node.workerinput)
        self.call("pytest_xdist_newgateway", gateway=node.gateway)
        self.call("pytest_configure_node", node=node)
        new = {name: value for name, value in node.workerinput.items() if name not in before or value is not before[name]}
        values, bad = sendable(new)
        given = packed({"workerinput": values, "environ": changes(self.environ, os.environ)})
        if bad:
            self.tell("pytest_configure_node", "workerinput cannot be sent: " + ", ".join(bad), "")
        if len(given) > NODE_CHARACTERS:
            self.tell("pytest_configure_node", "workerinput cannot be sent: it is over 1 MiB", "")
            given = packed({"workerinput": {}, "environ": {}})
        self.channel.event("node_input", node=number, input=given)
        self.channel.flush()

    def take_down(self, node, error, output):
        told = unpacked(output) if output else {}
        if "workeroutput" in told:
            node.workeroutput = told["workeroutput"]
        self.session.testscollected += told.get("tests", 0)
        self.session.testsfailed += told.get("failed", 0) + bool(error)
        self.call("pytest_testnodedown", node=node, error=error)

    def pytest_internalerror(self, excinfo):
        self.trouble.exception(self.stage, excinfo.value)

    def pytest_keyboard_interrupt(self, excinfo):
        if isinstance(excinfo.value, pytest.exit.Exception):
            self.trouble.exception(self.stage, excinfo.value)

    def call(self, name, **arguments):
        """A hook, if anybody has it. What goes wrong in it is told once, and ends nothing."""
        hook = getattr(self.config.hook, name, None)
        try:
            if hook is not None:
                hook(**arguments)
        except pytest.exit.Exception:
            raise
        except Exception as error:
            self.tell(name, exception_message(error), exception_text(error))

    def tell(self, title, message, text):
        if title not in self.failed:
            self.failed.add(title)
            self.trouble.suite_error(title, message, text)
