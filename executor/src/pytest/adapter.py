"""Makes one pytest process a worker: it runs the tests it is told over a socket and reports events about them.

Executed by bootstrap.py, never imported: what suites see is pytest started by its own script, with one more plugin
object. The protocol is specified in docs/adapter-protocol.md. Needs Python 3.8 and pytest 7.4 or later.

Nothing here may cost a passing test more than some microseconds, start a thread, raise a warning, or leave a file open.
"""

import collections
import contextlib
import faulthandler
import fcntl
import io
import json
import os
import resource
import select
import signal
import socket
import sys
import sysconfig
import time
import types

try:
    import pytest
except ImportError as error:
    pytest, import_error = None, error

# Bound here because tests patch the modules (freezegun, gevent, mock) while a teardown of theirs may need these.
clock, read, write = time.perf_counter, os.read, os.write
getrusage, RUSAGE_SELF = resource.getrusage, resource.RUSAGE_SELF
hookimpl = pytest.hookimpl if pytest else lambda **options: lambda function: function

SUCCESSOR_WAIT = 0.15
"""Seconds a worker without a successor keeps module and class fixtures up."""
STRETCH_CHARACTERS = 40_000
"""Of ids in one event; JSON makes at most six bytes of one, so that a line stays below 256 KiB."""
BLOCKING_WRITE = 32 * 1024
"""Longer writes can end half way when a signal comes, so SIGINT waits for them."""
RSS_UNIT = 1024 if sys.platform == "darwin" else 1


class Channel:
    """Lines of JSON over the socket, by its bare descriptor; a forked child does not take part."""

    def __init__(self, path):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            # Away from the low numbers that tests dup onto or expect to get.
            self.fd = fcntl.fcntl(connection.fileno(), fcntl.F_DUPFD_CLOEXEC, 64)
        self.unsent, self.received = [], b""
        self.poll = select.poll()
        self.poll.register(self.fd, select.POLLIN)
        os.register_at_fork(after_in_child=self.close)

    def event(self, name, **fields):
        """Holds an event until the next flush."""
        self.unsent.append(json.dumps({"event": name, **fields}, ensure_ascii=False) + "\n")

    def flush(self):
        data, self.unsent = "".join(self.unsent).encode("utf-8", "replace"), []
        if len(data) <= BLOCKING_WRITE:
            self.write(data)
            return
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            self.write(data)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def write(self, data):
        try:
            while data and self.fd >= 0:
                data = data[write(self.fd, data) :]
        except (BrokenPipeError, ConnectionResetError):
            self.close()

    def receive(self, timeout):
        """Commands that have come, waiting `timeout` seconds (None: for ever) for the first; none if none came."""
        while b"\n" not in self.received:
            if self.fd < 0:
                return [{"command": "finish"}]
            if not self.poll.poll(None if timeout is None else timeout * 1000):
                return []
            try:
                data = read(self.fd, 1 << 16)
            except ConnectionResetError:
                data = b""
            if not data:
                self.close()
            self.received += data
        lines, _, self.received = self.received.rpartition(b"\n")
        return [json.loads(line) for line in lines.split(b"\n")]

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


# What is said of a test.


def clean(text):
    """The text as it arrives at the other end: without what UTF-8 cannot say (lone surrogates)."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def bounded(text, limit):
    """At most about `limit` bytes of a text, its middle left out."""
    if len(text) * 4 <= limit:
        return text
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return text
    head, tail = data[: limit // 2], data[-(limit // 2) :]
    marker = "\n[... {} bytes left out ...]\n".format(len(data) - len(head) - len(tail))
    return head.decode("utf-8", "ignore") + marker + tail.decode("utf-8", "ignore")


def first_line(text):
    return text.strip().split("\n", 1)[0][:500]


def message_and_location(report, rootdir):
    """The first line of what a report says went wrong, and the `file:line` where."""
    longrepr = report.longrepr
    crash = getattr(longrepr, "reprcrash", None)
    if isinstance(longrepr, tuple):
        path, line, message = longrepr
    elif crash is not None:
        path, line, message = crash.path, crash.lineno, crash.message
    else:
        errors = [line[1:].strip() for line in report.longreprtext.split("\n") if line.startswith("E  ")]
        path, line, message = "", 0, (errors[-1] if errors else report.longreprtext)
    path = str(path)
    if path.startswith(rootdir + os.sep):
        path = path[len(rootdir) + 1 :]
    return first_line(message), "{}:{}".format(path, line) if path else ""


def sections(report):
    return "".join("----- {} -----\n{}\n".format(*section) for section in report.sections)


def failure_text(report):
    """What failed, headed where it is not the test's own call."""
    head = "{} of ".format(report.when) if report.when != "call" else ""
    subtest = hasattr(report, "context")
    head += report.head_line if subtest or head else ""
    own_sections = sections(report) if subtest else ""
    return ("===== {} =====\n".format(head) if head else "") + report.longreprtext + "\n" + own_sections


def describe(reports, rootdir, limit):
    """Outcome, detail, cause, message, location and text of one execution."""
    phases = {report.when: report for report in reports}
    failures = [report for report in reports if report.outcome not in ("passed", "skipped")]
    captured = sections(reports[-1]) if reports else ""
    if failures:
        fields = describe_failure(failures[0], rootdir)
        captured = "".join(map(failure_text, failures)) + captured
    elif not reports:
        message = "the test ended without a report"
        fields = {"outcome": "failed", "cause": "error", "message": message}
    else:
        fields = describe_good(phases.get("call") or reports[0], rootdir)
    text = bounded(captured, limit)
    return {**fields, "text": text} if text else fields


def describe_failure(report, rootdir):
    message, location = message_and_location(report, rootdir)
    fields = {"outcome": "failed", "cause": "error", "message": message, "location": location}
    if report.when != "call":
        fields["detail"] = "error at {}".format(report.when)
    elif message.startswith(("assert ", "AssertionError", "Failed", "[XPASS")):
        fields["cause"] = "assertion"
    if message.startswith("[XPASS(strict)]"):
        fields["detail"] = "xpassed"
    elif report.outcome == "rerun":
        fields["detail"] = "rerun"
    return fields


def describe_good(report, rootdir):
    expected = getattr(report, "wasxfail", None)
    if expected is not None:
        reason = expected[len("reason: ") :] if expected.startswith("reason: ") else expected
        detail = "xfailed" if report.outcome == "skipped" else "xpassed"
        return {"outcome": report.outcome, "detail": detail, "message": first_line(reason)}
    if report.outcome == "passed":
        return {"outcome": "passed"}
    message, location = message_and_location(report, rootdir)
    message = message[len("Skipped: ") :] if message.startswith("Skipped: ") else message
    return {"outcome": "skipped", "message": message, "location": location}


def exception_text(error):
    """The traceback of an exception as pytest writes it, without pytest's own frames."""
    excinfo = pytest.ExceptionInfo.from_exc_info((type(error), error, error.__traceback__))
    own = (os.path.dirname(os.path.abspath(pytest.__file__)), "_pytest", "pluggy", "importlib")
    visible = excinfo.traceback.filter(lambda entry: not any(part in str(entry.path) for part in own))
    if len(visible):
        excinfo.traceback = visible
    return str(excinfo.getrepr(style="short"))


def exception_message(error):
    if isinstance(error, pytest.UsageError):
        # The lines before are argparse's usage.
        return first_line(str(error).rpartition(": error: ")[2])
    return first_line("{}: {}".format(type(error).__name__, error))


# Which tests there are.


class Collection:
    """The items that are collected, and the files whose turn has not come. Files are collected whole, once."""

    def __init__(self, channel, lazy):
        self.channel, self.lazy = channel, lazy
        self.session = None
        self.index = {}
        self.deferred = {}
        self.duplicates, self.deselected = [], 0
        self.uncollected, self.skipped = {}, {}

    def start(self, session):
        self.session = session
        if self.lazy:
            session.genitems = self.genitems

    def genitems(self, node):
        """In place of the session's: files are put aside, everything else is collected as always."""
        is_file = isinstance(node, pytest.File) and not isinstance(node, pytest.Package)
        if is_file and self.lazy:
            nodes = self.deferred.setdefault(clean(node.nodeid), [])
            if node not in nodes:
                nodes.append(node)
            return ()
        return type(self.session).genitems(self.session, node)

    def add(self, items):
        for item in items:
            nodeid = clean(item.nodeid)
            if self.index.setdefault(nodeid, item) is not item:
                self.duplicates.append(nodeid)

    def find(self, nodeid):
        """The item of an id, its file collected if need be; None if there is none."""
        item = self.index.get(nodeid)
        if item is None and self.deferred:
            path = self.deferred_file(nodeid)
            if path is not None:
                self.collect(path)
                item = self.index.get(nodeid)
        return item

    def deferred_file(self, nodeid):
        end = nodeid.find("::")
        while end >= 0:
            if nodeid[:end] in self.deferred:
                return nodeid[:end]
            end = nodeid.find("::", end + 1)
        return nodeid if nodeid in self.deferred else None

    def collect(self, path):
        session, config, nodes = self.session, self.session.config, self.deferred.pop(path)
        self.channel.event("collecting", path=path)
        self.channel.flush()
        began, items, self.lazy = clock(), [], False
        with collection_warnings(config):
            for node in nodes:
                items.extend(session.genitems(node))
            config.hook.pytest_collection_modifyitems(session=session, config=config, items=items)
        self.lazy = True
        session.items.extend(items)
        session.testscollected += len(items)
        self.add(items)
        self.channel.event("collected", path=path, seconds=round(clock() - began, 6))

    def chain(self, nodeid):
        """The collectors above a test, as far as they are known without collecting its file; None if none are."""
        item = self.index.get(nodeid)
        if item is None:
            path = self.deferred_file(nodeid)
            item = self.deferred[path][0] if path is not None else None
        return item.listchain() if item is not None else None

    def why_missing(self, nodeid):
        path = nodeid.partition("::")[0]
        if path in self.uncollected:
            return "{} cannot be collected: {}".format(path, self.uncollected[path]["message"])
        if path in self.skipped:
            return "{} is skipped: {}".format(path, self.skipped[path])
        known = sum(other == path or other.startswith(path + "::") for other in self.index)
        return "not among the {} tests of {}".format(known, path) if known else "no tests in {}".format(path)

    def relations(self):
        """The tests of each xdist_group, of those with two or more."""
        groups = collections.defaultdict(list)
        for nodeid, item in self.index.items():
            if "xdist_group" not in item.keywords:
                continue
            marks = item.iter_markers("xdist_group")
            names = {str(mark.args[0] if mark.args else mark.kwargs.get("name", "default")) for mark in marks}
            if names:
                groups["_".join(sorted(names))].append(nodeid)
        return [tests for tests in groups.values() if len(tests) > 1]

    def report(self):
        """Sends the discovery: the tests in the session's order and what a person should know of them."""
        event = self.channel.event
        for path, suffixes in stretches(self.index):
            event("file", path=path, suffixes=suffixes)
            self.channel.flush()
        entries = [path for path in self.uncollected if path not in self.index]
        for path, suffixes in stretches(entries):
            event("file", path=path, suffixes=suffixes)
        for path, problem in self.uncollected.items():
            event("uncollected", path=path, **problem)
        for tests in self.relations():
            event("relation", tests=tests)
        for path, reason in self.skipped.items():
            event("skipped", path=path, reason=reason)
        for nodeid in dict.fromkeys(self.duplicates):
            event("duplicate", id=nodeid)
        event("discovered", tests=len(self.index) + len(entries), deselected=self.deselected)
        self.channel.flush()


def collection_warnings(config):
    """The suite's warning filters, which pytest has in force while it collects."""
    if not config.pluginmanager.hasplugin("warnings"):
        return contextlib.ExitStack()
    from _pytest.warnings import catch_warnings_for_item

    return catch_warnings_for_item(config=config, ihook=config.hook, when="collect", item=None)


def stretches(ids):
    """Consecutive ids of one path as (path, suffixes), none too long for a line."""
    path, suffixes, size = None, [], 0
    for nodeid in ids:
        head, mark, tail = nodeid.partition("::")
        if suffixes and (head != path or size + len(nodeid) > STRETCH_CHARACTERS):
            yield path, suffixes
            suffixes, size = [], 0
        path, size = head, size + len(nodeid)
        suffixes.append(mark + tail)
    if suffixes:
        yield path, suffixes


class Successor:
    """Stands for the next item where it is not known yet: asks for it when something wants to know.

    pytest asks in the teardown phase, by `listchain`; so the executor decides after the call phase what comes next.
    """

    def __init__(self, worker):
        self._worker = worker
        self._chain = None

    def listchain(self):
        if self._chain is None:
            self._chain = self._worker.next_chain()
        return self._chain

    def __getattr__(self, name):
        return getattr(self._worker.next_item(), name)


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


# The plugin.


class Worker:
    """The plugin object: takes pytest over where the executor decides, and reports what happens."""

    __name__ = "seagull"

    def __init__(self, channel, settings, dump_fd):
        self.channel, self.settings, self.dump_fd = channel, settings, dump_fd
        lazy = not (settings.get("discover") or settings.get("whole"))
        self.collection = Collection(channel, lazy)
        self.limit = settings.get("output_limit") or 1 << 20
        self.queue, self.finish, self.asked = collections.deque(), False, False
        self.session, self.rootdir = None, ""
        self.reports, self.raised, self.ordinal, self.waited = [], [], 0, 0.0
        self.current = self.promised = None
        self.collected = self.interrupted = False
        self.told = None
        self.restore = lambda: None

    # Taking over.

    @hookimpl(hookwrapper=True)
    def pytest_cmdline_parse(self):
        outcome = yield
        if outcome.excinfo:
            self.broken("configuration", outcome.excinfo[1])

    @hookimpl(hookwrapper=True)
    def pytest_load_initial_conftests(self, early_config):
        one_process(early_config.known_args_namespace)
        yield

    @hookimpl(hookwrapper=True)
    def pytest_cmdline_main(self, config):
        self.rootdir = str(config.rootpath)
        signal_number = dump_signal()
        versions = {"python": sys.version.split()[0], "pytest": pytest.__version__}
        self.channel.event("hello", pid=os.getpid(), rootdir=self.rootdir, dump_signal=signal_number, **versions)
        self.channel.flush()
        one_process(config.option)
        self.identify(config)
        terminal = sys.modules.get("_pytest.terminal")
        if terminal is not None:
            self.restore = replaced(terminal, "TerminalReporter", silent_reporter(terminal.TerminalReporter))
        outcome = yield
        self.restore()
        if outcome.excinfo:
            self.broken("session finish", outcome.excinfo[1])

    def identify(self, config):
        """Gives pytest what differs from slot to slot."""
        settings = self.settings
        slot = {
            "workerid": os.environ["PYTEST_XDIST_WORKER"],
            "workercount": settings["slots"],
            "testrunuid": settings["run"],
            "mainargv": list(sys.argv),
            "randomly_seed": settings["seed"],
            # pytest-cov: this worker writes its data file where the run was started.
            "cov_master_host": socket.gethostname(),
            "cov_master_topdir": os.getcwd(),
            "cov_master_rsync_roots": [],
        }
        config.workerinput, config.workeroutput = slot, {}
        if settings.get("basetemp"):
            os.makedirs(os.path.dirname(settings["basetemp"]), exist_ok=True)
            config.option.basetemp = settings["basetemp"]
        if settings.get("cache_dir") and config.pluginmanager.hasplugin("cacheprovider"):
            config._inicache["cache_dir"] = settings["cache_dir"]
        if not config.pluginmanager.hasplugin("xdist"):
            config.pluginmanager.register(slot_fixtures(slot))
        if not config.pluginmanager.hasplugin("faulthandler"):
            faulthandler.enable(self.dump_fd)
        rerunfailures = config.pluginmanager.getplugin("rerunfailures")
        if hasattr(rerunfailures, "HAS_PYTEST_HANDLECRASHITEM"):
            # Beside xdist it would connect to a server in xdist's controller, which counts reruns over crashes.
            rerunfailures.HAS_PYTEST_HANDLECRASHITEM = False

    @hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session):
        self.restore()
        self.session = session

    # Collection.

    @hookimpl(tryfirst=True)
    def pytest_collection(self, session):
        self.collection.start(session)

    def pytest_deselected(self, items):
        self.collection.deselected += len(items)

    def pytest_collectreport(self, report):
        if report.outcome == "passed":
            return
        message, _ = message_and_location(report, self.rootdir)
        path = clean(report.nodeid)
        text = bounded(report.longreprtext + "\n" + sections(report), self.limit)
        if report.outcome == "skipped":
            message = message[len("Skipped: ") :] if message.startswith("Skipped: ") else message
            self.collection.skipped[path] = message
        elif path in ("", "."):
            self.tell_broken("collection", message, text)
        else:
            self.collection.uncollected.setdefault(path, {"message": message, "text": text})

    # The run loop.

    @hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session):
        if self.told is not None:
            return True
        self.collected = True
        self.collection.add(session.items)
        if self.settings.get("discover"):
            self.collection.report()
        try:
            self.run_tests()
        except (KeyboardInterrupt, pytest.exit.Exception) as error:
            self.tell_interrupted(error)
            raise
        finally:
            self.channel.event("finishing")
            self.channel.flush()
            self.tear_down_to(None, "session fixture teardown")
        return True

    def run_tests(self):
        session = self.session
        while True:
            test = self.take()
            if test is None:
                return
            self.run_test(*test)
            if session.shouldfail or session.shouldstop:
                raise session.Interrupted(session.shouldfail or session.shouldstop)

    def take(self):
        """The next test, waiting for it; None at the end."""
        while not self.queue:
            if self.finish:
                return None
            if not self.await_command(SUCCESSOR_WAIT):
                self.tear_down_to(self.session, "fixture teardown")
                self.receive(None)
        return self.queue.popleft()

    def run_test(self, test, nodeid):
        item = self.collection.find(nodeid)
        if item is None:
            self.tell_absent(test, nodeid)
            return
        if self.promised is not item:
            self.tear_down_to(item, "fixture teardown")
        nextitem = self.promised = self.collection.index.get(self.queue[0][1]) if self.queue else None
        self.current, self.ordinal, self.waited, self.reports, self.raised = test, 0, 0.0, [], []
        self.channel.unsent.append('{"event":"started","test":%d}\n' % test)
        self.channel.flush()
        protocol = item.config.hook.pytest_runtest_protocol
        protocol(item=item, nextitem=nextitem if nextitem is not None else Successor(self))
        self.tell_finished(True)
        self.current = None

    def pytest_runtest_logreport(self, report):
        reports = self.reports
        if report.when == "setup" and reports:
            # A plugin runs the item once more.
            if all(report.outcome == "passed" for report in reports):
                # pytest-rerunfailures keeps the reason to itself where xdist is not installed.
                reports.extend(failure for failure in self.raised if failure.outcome == "rerun")
            self.tell_finished(False)
            self.raised = [failure for failure in self.raised if failure.outcome != "rerun"]
            self.ordinal, self.waited, self.reports = self.ordinal + 1, 0.0, [report]
        else:
            reports.append(report)

    def pytest_exception_interact(self, report):
        if report.outcome != "passed" and hasattr(report, "when"):
            self.raised.append(report)

    def tear_down_to(self, node, title):
        """Takes fixtures down outside of any test, to what `node` needs. What they write is of interest if they fail."""
        capture = self.session.config.pluginmanager.getplugin("capturemanager")
        failure, captured = None, ""
        try:
            if capture:
                capture.resume_global_capture()
            self.session._setupstate.teardown_exact(node)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            failure = error
        finally:
            if capture:
                capture.suspend_global_capture(in_=False)
                captured = "".join(capture.read_global_capture())
        if failure is not None:
            text = exception_text(failure) + ("\n----- Captured output -----\n" + captured if captured else "")
            self.tell_suite_error(title, exception_message(failure), text)

    # The successor.

    def receive(self, timeout):
        """Takes the commands that come within `timeout`; whether any did."""
        commands = self.channel.receive(timeout)
        self.obey(commands)
        return bool(commands)

    def obey(self, commands):
        for command in commands:
            self.asked = False
            if command["command"] == "run":
                self.queue.extend(command["tests"])
            elif command["command"] == "finish":
                self.finish = True

    def await_command(self, timeout):
        """As `receive`, after saying that a successor is needed."""
        if self.receive(0):
            return True
        if not self.asked:
            self.asked = True
            self.channel.event("next")
        self.channel.flush()
        return self.receive(timeout)

    def await_successor(self):
        began = clock()
        if not self.queue and not self.finish:
            self.await_command(SUCCESSOR_WAIT)
        self.waited += clock() - began

    def next_chain(self):
        """The collectors that the next test needs: at least the session, whose fixtures are never a test's to end."""
        self.await_successor()
        chains = (self.collection.chain(nodeid) for _, nodeid in self.queue)
        return next((chain for chain in chains if chain is not None), [self.session])

    def next_item(self):
        self.await_successor()
        began = clock()
        item = self.collection.find(self.queue[0][1]) if self.queue else None
        self.waited += clock() - began
        return item if item is not None else self.session

    # What is told.

    def tell_finished(self, last):
        reports, rss = self.reports, getrusage(RUSAGE_SELF).ru_maxrss // RSS_UNIT
        if len(reports) == 3 and last and self.ordinal == 0:
            setup, call, teardown = reports
            passed = setup.outcome == call.outcome == teardown.outcome == "passed"
            if passed and not teardown.sections and not hasattr(call, "wasxfail"):
                self.channel.unsent.append(
                    f'{{"event":"finished","test":{self.current},"ordinal":0,"last":true,"outcome":"passed",'
                    f'"setup":{setup.duration:.6f},"call":{call.duration:.6f},'
                    f'"teardown":{max(0.0, teardown.duration - self.waited):.6f},"rss":{rss}}}\n'
                )
                return
        seconds = {"setup": 0.0, "call": 0.0, "teardown": 0.0}
        seconds.update((report.when, round(report.duration, 6)) for report in reports)
        seconds["teardown"] = round(max(0.0, seconds["teardown"] - self.waited), 6)
        fields = describe(reports, self.rootdir, self.limit)
        known_by = {"test": self.current, "ordinal": self.ordinal, "last": last}
        self.channel.event("finished", **known_by, **seconds, rss=rss, **fields)

    def tell_absent(self, test, nodeid):
        """A file that cannot be collected is a test that fails; any other id without an item is missing."""
        problem = self.collection.uncollected.get(nodeid)
        if problem is None:
            self.channel.event("missing", test=test, reason=self.collection.why_missing(nodeid))
            return
        self.channel.event("started", test=test)
        seconds = {"setup": 0.0, "call": 0.0, "teardown": 0.0, "rss": 0}
        fields = {"outcome": "failed", "detail": "not collected", "cause": "error", **problem}
        self.channel.event("finished", test=test, ordinal=0, last=True, **seconds, **fields)

    def tell_interrupted(self, error):
        self.interrupted = True
        reason = "exit" if isinstance(error, pytest.exit.Exception) or str(error) else "keyboard"
        self.channel.event("interrupted", test=self.current, reason=reason, message=first_line(str(error)))

    def tell_suite_error(self, title, message, text):
        self.channel.event("suite_error", title=title, message=message, text=bounded(text, self.limit))
        self.channel.flush()

    def tell_broken(self, title, message, text):
        """An error outside of all tests: before the collection is done it is the end of it, after it a suite error."""
        if self.collected:
            self.tell_suite_error(title, message, text)
        elif self.told is None:
            self.channel.event("discovery_failed", message=message, text=bounded(text, self.limit))
            self.channel.flush()
            self.told = message

    def broken(self, title, error):
        """Tells of an exception that ends pytest, once."""
        if error is self.told:
            return
        # A conftest's own exception says more than the one that says a conftest failed.
        cause = getattr(error, "cause", None) or getattr(error, "excinfo", (None, None))[1] or error
        self.tell_broken(title, exception_message(error), exception_text(cause))
        self.told = error

    def pytest_internalerror(self, excinfo):
        self.broken("internal error", excinfo.value)

    def pytest_keyboard_interrupt(self, excinfo):
        if not self.interrupted:
            self.tell_interrupted(excinfo.value)
            self.channel.flush()

    def ended(self, code):
        if not self.collected and self.told is None:
            self.tell_broken("pytest", "pytest ended with exit code {} without collecting".format(code), "")
        self.channel.event("ended", exit=code)
        self.channel.flush()
        self.channel.close()


def one_process(option):
    """Takes back the options by which pytest would distribute tests, stop early or wait for a person."""
    ours = {"numprocesses": None, "maxprocesses": None, "dist": "no", "distload": False, "tx": [], "looponfail": False}
    ours.update(maxfail=0, usepdb=False, trace=False, continue_on_collection_errors=True)
    for name, value in ours.items():
        if hasattr(option, name):
            setattr(option, name, value)


def replaced(module, name, value):
    """Puts a value into a module; returns what puts the old one back."""
    original = getattr(module, name)
    setattr(module, name, value)
    return lambda: setattr(module, name, original)


# The process.


def dump_signal():
    """The signal that makes the worker write all its stacks to stderr; None where there is none to spare."""
    first = getattr(signal, "SIGRTMIN", None)
    return None if first is None else int(first) + 11


def arm_signals():
    """The stack dump, on a descriptor that capturing does not move, and SIGINT where the parent ignored it."""
    dump_fd = fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, 64)
    if dump_signal() is not None:
        faulthandler.register(dump_signal(), file=dump_fd, all_threads=True)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return dump_fd


def pose_as_script(args):
    """Makes argv, path and `__main__` what they are when pytest's own script is run."""
    folders = [os.path.dirname(sys.executable), sysconfig.get_path("scripts")]
    scripts = [os.path.join(folder, "pytest") for folder in folders if folder]
    script = next(filter(os.path.isfile, scripts), scripts[0])
    sys.argv[:] = [script, *args]
    if not (getattr(sys.flags, "safe_path", False) or sys.flags.isolated):
        sys.path.insert(0, os.path.dirname(os.path.realpath(script)))
    names = vars(sys.modules["__main__"])
    for name in [name for name in names if not name.startswith("__")]:
        del names[name]
    if os.path.isfile(script):
        names["__file__"] = script


def take_slot(settings):
    os.environ.update(
        PYTEST_XDIST_WORKER="gw{}".format(settings["slot"]),
        PYTEST_XDIST_WORKER_COUNT=str(settings["slots"]),
        PYTEST_XDIST_TESTRUNUID=settings["run"],
        SEAGULL_SLOT=str(settings["slot"]),
    )


def main(folder):
    dump_fd = arm_signals()
    channel = Channel(folder + "/socket")
    settings, *commands = channel.receive(None)
    if settings["command"] != "configure":
        return 2
    take_slot(settings)
    pose_as_script(settings["args"])
    worker = Worker(channel, settings, dump_fd)
    worker.obey(commands)
    if pytest is None:
        worker.tell_broken("pytest", "pytest cannot be imported: {}".format(import_error), sys.executable)
        return 1
    code = 1
    try:
        code = int(pytest.main(settings["args"], plugins=[worker]))
    except BaseException as error:
        worker.broken("pytest", error)
        raise
    finally:
        worker.ended(code)
    return code


sys.exit(main(sys.argv[1]))
