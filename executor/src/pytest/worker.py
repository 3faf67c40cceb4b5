"""The plugin: takes pytest over where the executor decides, runs the tests it sends, and reports each."""

import collections
import itertools
import os
import sys

SUCCESSOR_WAIT = 0.15
"""Seconds a worker without a successor keeps module and class fixtures up."""
RSS_UNIT = 1024 if sys.platform == "darwin" else 1


def peak_memory():
    """The highest resident memory of this process so far, in KiB."""
    return getrusage(RUSAGE_SELF).ru_maxrss // RSS_UNIT


def processor_time():
    """Seconds of this process on a core, and of those of its children that have ended."""
    own, ended = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime


class Worker:
    """The plugin object: takes pytest over where the executor decides, and reports what happens."""

    __name__ = "seagull"
    stage = "session finish"

    def __init__(self, channel, settings, dump_signal, dump_fd):
        self.channel, self.settings = channel, settings
        self.dump_signal, self.dump_fd = dump_signal, dump_fd
        lazy = not (settings.get("discover") or settings.get("whole"))
        self.collection = Collection(channel, lazy, settings.get("tests") or 0)
        self.limit = settings.get("output_limit") or 1 << 20
        self.trouble = Trouble(channel, self.limit, settings)
        self.coverage = Coverage(channel, settings.get("basetemp"))
        self.attachments = Attachments()
        self.queue, self.finish, self.asked = collections.deque(), False, False
        self.red = set()
        self.session, self.rootdir, self.advice = None, "", set()
        self.reports, self.raised, self.ordinal, self.waited, self.spent = [], [], 0, 0.0, 0.0
        self.current = self.item = self.promised = None
        self.interrupted, self.stopped = False, None
        self.restore = lambda: None
        self.node = None

    # Taking over.

    # Innermost: pluggy before 1.6 goes past the wrappers around one that raises, as one of pytest 7.4's does.
    @hookimpl(hookwrapper=True, trylast=True)
    def pytest_cmdline_parse(self):
        outcome = yield
        if outcome.excinfo:
            self.trouble.exception("configuration", outcome.excinfo[1])

    @hookimpl(hookwrapper=True)
    def pytest_load_initial_conftests(self, early_config):
        one_process(early_config.known_args_namespace)
        with self.coverage.begun(early_config):
            yield

    @hookimpl(hookwrapper=True)
    def pytest_cmdline_main(self, config):
        self.rootdir = str(config.rootpath)
        self.await_node(config)
        versions = {"python": sys.version.split()[0], "pytest": pytest.__version__}
        versions["found_with"] = found_with(config, versions)
        self.channel.event("hello", pid=os.getpid(), rootdir=self.rootdir, dump_signal=self.dump_signal, **versions)
        self.channel.flush()
        config.addinivalue_line("markers", "seagull(environment): the environment of seagull.toml that the test needs")
        self.weigh(config)
        one_process(config.option)
        self.take_identity(config)
        terminal = sys.modules.get("_pytest.terminal")
        if terminal is not None:
            self.restore = replaced(terminal, "TerminalReporter", silent_reporter(terminal.TerminalReporter))
        outcome = yield
        self.restore()
        if outcome.excinfo:
            self.trouble.exception(self.stage, outcome.excinfo[1])

    def await_node(self, config):
        """Waits for what the controller has for this worker, if the suite wants one."""
        self.trouble.alone = not has_controller(config, self.settings)
        if not self.trouble.alone:
            self.channel.event("node")
            self.channel.flush()
            while self.node is None and not self.finish:
                self.receive(None)

    def is_node(self):
        return bool(self.node and self.node["input"])

    def take_identity(self, config):
        given = unpacked(self.node["input"]) if self.is_node() else {}
        set_variables(given.get("environ", {}))
        identify(config, self.settings, self.dump_fd, given.get("workerinput", {}))

    def weigh(self, config):
        """Refuses options under which nothing runs, warns of those without effect, and tells what is asked of the run."""
        refused = given(config.option, WITHOUT_TESTS)
        if refused:
            message = "{} runs no tests; use pytest itself".format(refused[0])
            self.trouble.broken("configuration", message, "")
            raise pytest.UsageError(message)
        if self.settings.get("discover"):
            for message in [*without_effect(config), *once_per_executor(config, self.settings)]:
                self.channel.event("warning", message=message)
        asks = dict([*asked(config.option), *self.coverage.asked()])
        if asks:
            self.channel.event("asks", **asks)

    @hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session):
        self.restore()
        self.session = session
        if self.is_node():
            self.channel.event("node_ready")

    @hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session):
        yield
        if self.is_node():
            values, bad = sendable(session.config.workeroutput)
            output = packed({"workeroutput": values, "tests": session.testscollected, "failed": session.testsfailed})
            if bad or len(output) > NODE_CHARACTERS:
                why = ", ".join(bad) or "it is over 1 MiB"
                self.trouble.suite_error("session finish", "workeroutput cannot be sent: " + why, "")
            self.channel.event("node_output", output=output if len(output) <= NODE_CHARACTERS else packed({}))

    # Collection.

    @hookimpl(tryfirst=True)
    def pytest_collection(self, session):
        self.collection.start(session)

    @hookimpl(tryfirst=True)
    def pytest_collectstart(self, collector):
        """Where a discovery dies, the file that it was at says more than how it died."""
        if self.settings.get("discover") and isinstance(collector, pytest.File):
            self.tell_import(clean(collector.nodeid))

    @hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, session, items):
        discovers = self.settings.get("discover")
        if discovers:
            self.tell_import("")
            before = Before(session.config, items)
        yield
        if discovers:
            self.collection.hooked = before.changes(items)
        elif self.collection.lazy:
            session.items = Items(self.collection, items)

    def tell_import(self, path):
        self.channel.event("importing", path=path)
        self.channel.flush()

    def pytest_deselected(self, items):
        self.collection.deselected += len(items)

    def pytest_collectreport(self, report):
        if report.outcome == "passed":
            return
        self.trouble.explains(report)
        message, _ = message_and_location(report, self.rootdir)
        path = clean(report.nodeid)
        text = report.longreprtext + "\n" + sections(report.sections)
        if report.outcome == "skipped":
            self.collection.skipped[path] = without("Skipped: ", message)
        elif path in ("", "."):
            self.trouble.broken("collection", message, text)
        else:
            self.collection.uncollected.setdefault(path, {"message": message, "text": bounded(text, self.limit)})
            self.advise(of_missing(message, self.settings))

    def advise(self, advice):
        if advice and self.settings.get("discover") and advice not in self.advice:
            self.advice.add(advice)
            self.channel.event("warning", message=advice)

    # The run loop.

    @hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session):
        if self.trouble.told is not None:
            return True
        self.collection.begin()
        discovers = self.settings.get("discover")
        needs = self.collection.environments() if discovers else {}
        self.trouble.collected = True
        self.take_teardown(session)
        if discovers:
            self.collection.report(needs)
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
            if self.stopped is not None:
                raise self.stopped
            if session.shouldfail or session.shouldstop:
                raise session.Interrupted(session.shouldfail or session.shouldstop)

    def take(self):
        """The next test, waiting for it; None at the end."""
        while not self.queue:
            if self.finish:
                return None
            if not self.await_command(SUCCESSOR_WAIT):
                self.tear_down_to(self.session, "fixture teardown")
                self.coverage.tell_after(0)
                self.receive(None)
        return self.queue.popleft()

    def run_test(self, test, nodeid):
        item = self.collection.find(nodeid)
        if item is None:
            self.tell_absent(test, nodeid)
            return
        if test in self.red:
            self.forget_failures(item)
        if self.promised is not item:
            self.tear_down_to(item, "fixture teardown")
        nextitem = self.promised = self.collection.index.get(self.queue[0][1]) if self.queue else None
        self.current, self.item, self.began = test, item, now()
        self.ordinal, self.waited, self.reports, self.raised = 0, 0.0, [], []
        self.channel.unsent.append('{"event":"started","test":%d}\n' % test)
        self.spent = processor_time()
        self.channel.flush()
        self.coverage.covers(test)
        # pytest keeps here what an item writes, and has no run of it twice: an earlier attempt's is not this one's.
        item._report_sections.clear()
        protocol = item.config.hook.pytest_runtest_protocol
        protocol(item=item, nextitem=nextitem if nextitem is not None else Successor(self))
        self.tell_finished(True)
        self.current = None
        self.coverage.between_tests()

    def forget_failures(self, item):
        """pytest keeps what a fixture has raised for as long as the fixture. A test that runs again has it set up again."""
        self.promised = None
        self.tear_down_to(self.session, "fixture teardown")
        fixtures = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
        for definition in itertools.chain.from_iterable(fixtures.values()):
            if definition.cached_result and definition.cached_result[2] is not None:
                item._initrequest()
                try:
                    definition.finish(item._request)
                except Exception as error:
                    self.trouble.suite_error("fixture teardown", exception_message(error), exception_text(error))

    def pytest_runtest_logreport(self, report):
        reports = self.reports
        self.trouble.explains(report)
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
            self.teardown_exact(node)
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
            self.trouble.suite_error(title, exception_message(failure), text)

    # The successor.

    def take_teardown(self, session):
        """A test's teardown is told what comes next when it is due, and never ends the session's fixtures: an error in these
        is no test's."""
        state = session._setupstate
        self.teardown_exact = exact = state.teardown_exact
        state.teardown_exact = lambda nextitem: exact(session if nextitem is None else nextitem)
        hooks_of, everywhere = session.gethookproxy, session.config.hook
        shared = Hooks(everywhere, self.due)

        def gethookproxy(path):
            hooks = hooks_of(path)
            return shared if hooks is everywhere else Hooks(hooks, self.due)

        session.gethookproxy = gethookproxy

    def due(self, nextitem):
        """What pytest would have said is next: nothing at the end, and the item where it is collected."""
        if type(nextitem) is not Successor:
            return nextitem
        self.await_successor()
        if not self.queue:
            return None if self.finish else nextitem
        item = self.collection.index.get(self.queue[0][1])
        return nextitem if item is None else item

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
                self.collection.hooked.update(command.get("hooked", {}))
            elif command["command"] == "node":
                self.node = command
            elif command["command"] == "finish":
                self.finish = True

    def await_command(self, timeout):
        """As `receive`, after saying that a successor is needed."""
        if self.receive(0):
            return True
        if not self.asked:
            self.asked = True
            failed = any(report.outcome == "failed" for report in self.reports)
            self.channel.event("next", rss=peak_memory(), failed=failed)
        self.channel.flush()
        return self.receive(timeout)

    def await_successor(self):
        began = clock()
        if not self.queue and not self.finish:
            try:
                self.await_command(SUCCESSOR_WAIT)
            except KeyboardInterrupt as error:
                # The test has passed its call, and ends as if it were the last.
                self.stopped, self.finish = error, True
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
        return item

    # What is told.

    def tell_finished(self, last):
        reports, rss, before, self.spent = self.reports, peak_memory(), self.spent, processor_time()
        cpu = self.spent - before
        attached = self.attachments.put_aside() if last else None
        if len(reports) == 3 and last and self.ordinal == 0 and attached is None:
            setup, call, teardown = reports
            passed = setup.outcome == call.outcome == teardown.outcome == "passed"
            if passed and not teardown.sections and not hasattr(call, "wasxfail"):
                self.channel.unsent.append(
                    f'{{"event":"finished","test":{self.current},"ordinal":0,"last":true,"outcome":"passed",'
                    f'"setup":{setup.duration:.6f},"call":{call.duration:.6f},'
                    f'"teardown":{max(0.0, teardown.duration - self.waited):.6f},"rss":{rss},"cpu":{cpu:.6f}}}\n'
                )
                return
        seconds = {"setup": 0.0, "call": 0.0, "teardown": 0.0}
        seconds.update((report.when, round(report.duration, 6)) for report in reports if report.when in seconds)
        seconds["teardown"] = round(max(0.0, seconds["teardown"] - self.waited), 6)
        fields = describe(reports, self.rootdir, self.limit)
        if fields["outcome"] == "failed":
            self.red.add(self.current)
        known_by = {"test": self.current, "ordinal": self.ordinal, "last": last, "began": self.began}
        if attached is not None:
            known_by["attached"] = attached
        self.channel.event("finished", **known_by, **seconds, rss=rss, cpu=round(cpu, 6), **fields)

    def tell_absent(self, test, nodeid):
        """A file that cannot be collected is a test that fails; any other id without an item is missing."""
        problem = self.collection.uncollected.get(nodeid)
        if problem is None:
            self.channel.event("missing", test=test, reason=self.collection.why_missing(nodeid))
            return
        self.channel.event("started", test=test)
        self.coverage.covers(test)
        seconds = {"setup": 0.0, "call": 0.0, "teardown": 0.0, "rss": 0}
        fields = {"outcome": "failed", "detail": "not collected", "cause": "error", **problem}
        self.channel.event("finished", test=test, ordinal=0, last=True, **seconds, **fields)

    def tell_interrupted(self, error):
        """In a test or, if there is no current one, between tests; goes with the next flush."""
        self.interrupted = self.trouble.interrupted = True
        fields = {"message": first_line(str(error))}
        if self.current is not None:
            fields = describe_interruption(error, self.item, self.rootdir, self.limit)
        self.channel.event("interrupted", test=self.current, **fields)

    def pytest_internalerror(self, excinfo):
        self.trouble.exception("internal error", excinfo.value)

    def pytest_keyboard_interrupt(self, excinfo):
        if not self.interrupted:
            self.tell_interrupted(excinfo.value)
            self.channel.flush()


class Successor:
    """Stands for the next item where it is not known yet: asks for it when something wants to know.

    pytest asks in the teardown phase, by `listchain`; so the executor decides after the call phase what comes next. As long
    as nobody knows, it is an item without a module, a class, a parent.
    """

    def __init__(self, worker):
        self._worker = worker
        self._chain = None

    def listchain(self):
        if self._chain is None:
            self._chain = self._worker.next_chain()
        return self._chain

    @property
    def __class__(self):
        return type(self._worker.next_item() or self)

    def __getattr__(self, name):
        item = self._worker.next_item()
        if item is None and not name.startswith("__"):
            return None
        return getattr(item, name)


class Hooks:
    """The hooks for a path; that of the teardown says what is next as it is known then."""

    def __init__(self, hooks, due):
        self._hooks, self._due = hooks, due

    def __getattr__(self, name):
        hook = getattr(self._hooks, name)
        setattr(self, name, hook)
        return hook

    def pytest_runtest_teardown(self, item, nextitem):
        __tracebackhide__ = True
        return self._hooks.pytest_runtest_teardown(item=item, nextitem=self._due(nextitem))
