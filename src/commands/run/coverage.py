# Run as `PYTHON -c THIS`, where the suite is, by whoever asked for a run: combines what workers told of its coverage,
# and reports and judges it as pytest-cov does.
#
# Standard input has what is asked (see `main`), as JSON; standard output the answer. `told` is a file with what workers
# told, a JSON string a line. That may come from other machines: nothing of it is executed, and nothing believed.
import base64
import io
import json
import os
import sys
import warnings
import zlib

if sys.path[:1] == [""]:
    # What lies here must not shadow a library.
    del sys.path[0]

import pytest

UNPACKED = 64 << 20
"""Bytes that a text may have unpacked."""
LINES = 10_000_000
"""Lines that a file may have."""


def main():
    answer = os.dup(1)
    os.dup2(2, 1)
    asked = json.load(sys.stdin)
    options, plugins = options_for(asked["arguments"])
    data = Data(asked["folder"], asked["inside"], asked["trusted"])
    with open(asked["told"], encoding="utf-8") as texts:
        for text in texts:
            data.take(json.loads(text))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report, problem = combined(options, plugins, data, asked["failed"])
    told = {"report": report, "problem": problem, "warnings": [str(warning.message) for warning in caught]}
    with open(answer, "wb") as out:
        out.write(json.dumps({**told, "tests": sorted(data.tests)}).encode())


class Options(Exception):
    """pytest's options and its plugins, before any conftest is loaded."""


class Asker:
    @pytest.hookimpl(hookwrapper=True)
    def pytest_load_initial_conftests(self, early_config):
        raise Options(early_config.known_args_namespace, early_config.pluginmanager)
        yield


def options_for(arguments):
    try:
        code = int(pytest.main(arguments, plugins=[Asker()]))
    except Options as found:
        options, plugins = found.args
    else:
        sys.exit("pytest does not take the suite's options here, it ended with {}".format(code))
    if not getattr(options, "cov_source", None):
        sys.exit("pytest-cov is not installed for {}".format(sys.executable))
    return options, plugins


class Data:
    """What workers told, as coverage's own files."""

    def __init__(self, folder, inside, trusted):
        self.folder, self.inside = folder, inside or ""
        self.root = self.above(os.getcwd())
        # Other machines know of the suite and of what is installed for it; nothing else here is their business.
        self.within = None if trusted else [self.root, sys.prefix]
        self.kinds, self.tests = {}, set()

    def above(self, directory):
        """Where the suite's repository is, by where the suite is in it."""
        end = os.sep + self.inside
        return directory[: -len(end)] if self.inside and directory.endswith(end) else directory

    def take(self, text):
        """What cannot be read is lost, and so are its tests."""
        try:
            top, branches, rows, tests = opened(text)
        except (ValueError, TypeError, KeyError, RecursionError, zlib.error):
            return
        there, contexts, tracers = self.above(top), {}, {}
        for name, tracer, context, numbers in rows:
            name = self.here(name, there)
            if name is not None:
                contexts.setdefault(context, {}).setdefault(name, set()).update(numbers)
                if tracer:
                    tracers[name] = tracer
        data, add = self.of_kind("arcs" if branches else "lines")
        for context, measured in contexts.items():
            data.set_context(context)
            add({name: numbers for name, numbers in measured.items() if numbers})
            data.touch_files(measured)
        data.add_file_tracers(tracers)
        self.tests.update(tests)

    def of_kind(self, kind):
        from coverage.data import CoverageData

        if kind not in self.kinds:
            self.kinds[kind] = CoverageData(os.path.join(self.folder, "." + kind))
        data = self.kinds[kind]
        add = getattr(data, "add_" + kind)
        # Files can be touched from now on.
        add({})
        return data, add

    def here(self, name, there):
        """What a file is called here; None for one that nobody there can have measured."""
        name = os.path.normpath(name)
        if not os.path.isabs(name):
            return None if name.startswith(os.pardir) else name
        if name.startswith(there + os.sep):
            name = self.root + name[len(there) :]
        if self.within is None or not os.path.lexists(name):
            return name
        real = os.path.realpath(name)
        return name if any(real.startswith(os.path.realpath(place) + os.sep) for place in self.within) else None

    def files(self):
        return [data.data_filename() for data in self.kinds.values()]


def opened(text):
    """What a worker told; ValueError and the like where it is nothing that one tells."""
    inflate = zlib.decompressobj()
    told = json.loads(inflate.decompress(base64.b64decode(text, validate=True), UNPACKED))
    require(not inflate.unconsumed_tail)
    top, branches, tests = told["top"], told["branches"], told["tests"]
    require(isinstance(top, str) and os.path.isabs(top) and isinstance(branches, bool))
    require(all(type(test) is int and 0 <= test < 1 << 32 for test in tests))
    return top, branches, [row(*told_row, branches) for told_row in told["rows"]], tests


def row(name, tracer, context, numbers, branches):
    require(all(isinstance(word, str) for word in (name, tracer, context)) and "\0" not in name)
    if branches:
        numbers = [(start, end) for start, end in numbers]
        require(all(type(line) is int and abs(line) < LINES for arc in numbers for line in arc))
    else:
        require(all(type(line) is int and 0 <= line < LINES for line in numbers))
    return name, tracer, context, numbers


def require(true):
    if not true:
        raise ValueError


def combined(options, plugins, data, failed):
    """The report as text, and what is wrong, if anything."""
    import coverage
    from coverage.exceptions import CoverageException
    from pytest_cov.engine import CovController
    from pytest_cov.plugin import CovPlugin

    class Controller(CovController):
        def start(self):
            chosen = {"source": self.cov_source, "branch": self.cov_branch, "config_file": self.cov_config}
            self.cov = coverage.Coverage(**chosen)
            self.node_descs.add(self.get_node_desc(sys.platform, sys.version_info))

    plugin = CovPlugin(options, plugins, start=False)
    try:
        plugin.start(Controller)
        combine(plugin.cov_controller.cov, data.files(), options.cov_append)
    except CoverageException as error:
        return "", "it cannot be combined: {}".format(error)
    if not (options.cov_report or options.cov_fail_under) or (failed and options.no_cov_on_fail):
        return "", None
    try:
        return reported(plugin.cov_controller, options)
    except CoverageException as error:
        warnings.warn("no report: {}".format(error))
        least = options.cov_fail_under
        return "", "there is nothing to hold against --cov-fail-under={}".format(least) if least else None


def combine(cov, files, onto_what_is_there):
    if onto_what_is_there:
        cov.load()
    else:
        cov.erase()
    # Without any it would look for some in the tree.
    if files:
        cov.combine(files)
        cov.save()


def reported(controller, options):
    from coverage.results import should_fail_under

    text = io.StringIO()
    total, least = controller.summary(text), options.cov_fail_under
    if not least:
        return text.getvalue(), None
    precision = getattr(options, "cov_precision", None) or controller.cov.get_option("report:precision") or 0
    short = should_fail_under(total, least, precision)
    reached = "FAIL Required test coverage of {}% not reached." if short else "Required test coverage of {}% reached."
    text.write("{} Total coverage: {:.2f}%\n".format(reached.format(least), total))
    rounded = round(total, 2)
    problem = "a total of {} % is less than --cov-fail-under={}".format(rounded if rounded < least else total, least)
    return text.getvalue(), problem if short else None


if __name__ == "__main__":
    main()
