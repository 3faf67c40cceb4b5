"""Coverage: what pytest-cov measures in this worker, told bit by bit to whoever combines it for the whole run.

What is told is JSON and no database, so that nobody has to open one of another machine.
"""

import base64
import contextlib
import glob
import os
import re
import sys
import zlib

SPACING = 10.0
"""Seconds between two times that a busy worker tells: what one that dies may take along."""
SHARE = 20
"""Telling takes at most one of so many seconds."""
PIECE = 200_000
"""Lines, or branches, in one event."""
WRITER = re.compile(r"\.(?:pid)?(\d+)\.\w+(?:\.H\w+h)?$")
"""The process in the name of a data file."""


class Coverage:
    """pytest-cov in this worker, if the suite asks for it."""

    def __init__(self, channel, basetemp):
        self.channel = channel
        self.directory = os.path.join(os.path.dirname(basetemp), "coverage") if basetemp else ""
        self.plugin = self.cov = None
        self.top, self.elsewhere, self.began = "", "", 0.0
        self.tests, self.told_at, self.cost = [], clock(), 0.0

    @contextlib.contextmanager
    def begun(self, early_config):
        """In here pytest-cov begins to measure, before any conftest is loaded."""
        options = early_config.known_args_namespace
        if not self.directory or not getattr(options, "cov_source", None) or getattr(options, "no_cov", False):
            yield
            return
        from pytest_cov import engine

        os.makedirs(self.directory)
        self.began = os.stat(self.directory).st_mtime
        restore = replaced(engine, "Central", measuring(self, engine.CovController))
        try:
            yield
        finally:
            restore()
        self.take(early_config.pluginmanager.getplugin("_cov"))

    def take(self, plugin):
        """What was begun goes on: another beginning, as in a worker of xdist, would lose what conftests imported."""
        if plugin is None or plugin.cov_controller is None:
            return
        self.plugin, self.cov = plugin, plugin.cov_controller.cov
        plugin.start = lambda *arguments, **options: None
        plugin.cov_controller.finish = self.finish
        # What a forked child measures is coverage's own to save.
        os.register_at_fork(after_in_child=self.leave)

    def leave(self):
        self.cov = None

    def asked(self):
        """What whoever combines it has to know: that there is something, and an interpreter that can."""
        if self.plugin is not None:
            yield "coverage", clean(sys.executable)

    def covers(self, test):
        """A test is about to be executed."""
        if self.cov is not None:
            self.tests.append(test)

    def between_tests(self):
        """What follows is part of no test."""
        if self.cov is not None:
            if getattr(self.plugin.options, "cov_context", None) and self.plugin.cov_controller.started:
                self.cov.switch_context("")
            self.tell_after(SPACING)

    def tell_after(self, spacing):
        """Tells, if there is something, so much time has passed since the last time, and it is cheap enough."""
        if self.cov is None or not self.tests or clock() - self.told_at < max(spacing, SHARE * self.cost):
            return
        # It may take longer than what came of the test should wait.
        self.channel.flush()
        began = clock()
        # What cannot be told stays untold: the tests it is of are missed, or it is told later.
        with contextlib.suppress(Exception):
            self.tell(False)
        self.told_at = clock()
        self.cost = self.told_at - began

    def finish(self):
        """Once, when the tests are done."""
        if self.cov is None:
            return
        self.plugin.cov_controller.started = False
        self.cov.stop()
        with contextlib.suppress(Exception):
            self.tell(True)
        self.cov = None

    def tell(self, all_have_ended):
        """What was measured since the last time, by this process and by those that its tests started."""
        data, branches, others = self.cov.get_data(), bool(self.cov.get_option("run:branch")), []
        own = data.data_filename()
        found = [*measured(own, branches)] if os.path.exists(own) else []
        for path in self.of_others(own, all_have_ended):
            # A process that was killed leaves what nobody can read.
            with contextlib.suppress(Exception):
                found += [*measured(path, branches)]
                others.append(path)
        pieces = [(kind, piece) for kind in (True, False) for piece in split(row for of, row in found if of is kind)]
        if self.tests and not pieces:
            pieces = [(branches, [])]
        for number, (kind, piece) in enumerate(pieces, 1):
            tests = self.tests if number == len(pieces) else []
            told = encode({"top": self.top, "branches": kind, "rows": piece, "tests": tests})
            self.channel.event("coverage", data=base64.b64encode(zlib.compress(told.encode())).decode())
        self.tests = []
        self.channel.flush()
        data.erase()
        for path in others:
            os.remove(path)

    def of_others(self, own, all_have_ended):
        """The data files of processes that tests started, which go where this one's is, or else where they always do."""
        for path in glob.glob(glob.escape(self.elsewhere) + ".*"):
            with contextlib.suppress(OSError):
                if os.stat(path).st_mtime >= self.began and has_ended(path):
                    self.claim(path)
        for path in glob.glob(os.path.join(glob.escape(self.directory), ".coverage*")):
            if path != own and (all_have_ended or has_ended(path)):
                yield path

    def claim(self, path):
        with open(path, "rb") as file:
            data = file.read()
        if data.startswith(b"SQLite format 3\0"):
            # Of several workers one gets it.
            os.remove(path)
            with open(os.path.join(self.directory, ".coverage" + os.path.basename(path)), "wb") as file:
                file.write(data)


def measuring(worker, base):
    """pytest-cov's controller for a process that is the only one, but for its data."""
    adapter = os.path.join(os.path.dirname(measuring.__code__.co_filename), "*")

    class Controller(base):
        def start(self):
            import coverage

            options = {"source": self.cov_source, "branch": self.cov_branch, "config_file": self.cov_config}
            self.cov = cov = coverage.Coverage(data_suffix=True, **options)
            worker.top, worker.elsewhere = os.getcwd(), os.path.abspath(cov.get_option("run:data_file"))
            cov.set_option("run:data_file", os.path.join(worker.directory, ".coverage"))
            cov.set_option("run:omit", [*(cov.get_option("run:omit") or []), adapter])
            # One worker need not come to all modules.
            cov._warn_unimported_source = cov._warn_no_data = False
            cov.start()
            self.started = True

    return Controller


def has_ended(path):
    """Whether the process that wrote a data file has ended, as far as its name tells."""
    writer = WRITER.search(path)
    if writer is None:
        return True
    process = int(writer[1])
    try:
        os.kill(process, 0)
        # A child of this one that nobody has waited for is still there.
        return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ProcessLookupError:
        return True
    except (OSError, OverflowError, AttributeError):
        return False


def measured(path, branches):
    """What a data file says: whether it knows branches (else lines), and file, plugin, context, and these."""
    import sqlite3
    import urllib.request

    from coverage.numbits import numbits_to_nums

    place = "file:{}?mode=ro".format(urllib.request.pathname2url(path))
    with contextlib.closing(sqlite3.connect(place, uri=True)) as data:
        ask = data.execute
        plugins = dict(ask("SELECT file_id, tracer FROM tracer"))
        files = {file: (name, plugins.get(file) or "") for file, name in ask("SELECT id, path FROM file")}
        contexts = dict(ask("SELECT id, context FROM context"))
        lines, arcs = {}, {}
        for file, context, numbits in ask("SELECT file_id, context_id, numbits FROM line_bits"):
            lines[file, context] = numbits_to_nums(numbits)
        for file, context, *arc in ask("SELECT file_id, context_id, fromno, tono FROM arc"):
            arcs.setdefault((file, context), []).append(arc)
    branches, numbers = bool(arcs) or (branches and not lines), arcs or lines
    for file in files.keys() - {file for file, _ in numbers}:
        yield branches, [*files[file], "", []]
    for (file, context), found in numbers.items():
        yield branches, [*files[file], contexts[context], found]


def split(rows):
    """Rows in pieces, none too large for an event."""
    piece, size = [], 0
    for row in rows:
        piece.append(row)
        size += 1 + len(row[3])
        if size > PIECE:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece
