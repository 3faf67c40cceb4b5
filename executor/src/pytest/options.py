"""Options that own the session: those by which pytest would choose, distribute, stop early, or report on the whole run."""

import importlib.util
import os
import re
import sys
import types

WITHOUT_TESTS = {
    "collectonly": "--collect-only",
    "setupplan": "--setup-plan",
    "setuponly": "--setup-only",
    "showfixtures": "--fixtures",
    "show_fixtures_per_test": "--fixtures-per-test",
    "markers": "--markers",
    "cacheshow": "--cache-show",
    "version": "--version",
    "help": "--help",
}
"""Options under which pytest runs no tests."""

BY_TIME = {"newfirst": "--new-first"}
STEPWISE = ("stepwise", "stepwise_skip", "stepwise_reset")
BY_HAND = {"usepdb": "--pdb", "trace": "--trace", "looponfail": "--looponfail"}
REPORTS = {"report_log": "--report-log"}
WITHOUT_EFFECT = (
    (BY_TIME, "ignored: files have other times on other machines; use seagull's --changed"),
    (BY_HAND, "ignored: nobody sits at a worker; use pytest itself"),
    (REPORTS, "not written: no worker knows the whole run; use seagull's --junit FILE"),
)
"""Options that have no effect, and what does instead."""

PLUGINS = {
    "-n": "pytest-xdist (seagull's own is --slots N)",
    "--cov": "pytest-cov",
    "--no-cov": "pytest-cov",
    "--timeout": "pytest-timeout",
    "--reruns": "pytest-rerunfailures",
    "--only-rerun": "pytest-rerunfailures",
    "--randomly": "pytest-randomly",
    "--asyncio": "pytest-asyncio",
    "--html": "pytest-html",
    "--self-contained-html": "pytest-html",
    "--forked": "pytest-forked",
    "--benchmark": "pytest-benchmark",
    "--ds": "pytest-django",
    "--reuse-db": "pytest-django",
    "--create-db": "pytest-django",
    "--mypy": "pytest-mypy",
    "--order": "pytest-order",
    "--alluredir": "allure-pytest",
    "--snapshot": "syrupy",
    "--report-log": "pytest-reportlog",
    "--json-report": "pytest-json-report",
}
"""Which plugin has an option, or options that begin so."""

NEUTRAL = {
    **{"numprocesses": None, "maxprocesses": None, "dist": "no", "distload": False, "tx": [], "looponfail": False},
    **{"maxfail": 0, "usepdb": False, "trace": False, "continue_on_collection_errors": True, "lf": False},
    **dict.fromkeys(["failedfirst", *BY_TIME, *STEPWISE], False),
}
"""What takes back the options by which pytest would choose or distribute tests, stop early or wait for a person."""

MOST_FAILURES = (1 << 32) - 1


def given(option, flags):
    """Which of these flags the user gave, on the command line or in `addopts`."""
    return [flag for name, flag in flags.items() if getattr(option, name, None)]


def without_effect(config):
    """What the user asked for and does not get, a sentence each."""
    for flags, why in WITHOUT_EFFECT:
        found = given(config.option, flags)
        if found:
            yield "{} {}".format(", ".join(found), why)
    has_capture = config.pluginmanager.hasplugin("capturemanager")
    if not has_capture or config.option.capture == "no":
        asked_for = "-s" if has_capture else "-p no:capture"
        yield "{0}: what tests write is shown nowhere; without {0} it is with the test".format(asked_for)
    if getattr(config.option, "max_warnings", None) is not None:
        yield "--max-warnings ignored: no worker knows the warnings of all"
    if getattr(config.option, "randomly_seed", None) == "last":
        yield "--randomly-seed=last ignored: workers know of no earlier run; use seagull's --seed N"


def own_seed(option, seed):
    """pytest-randomly's seed where the user gave one, which it does not look at in xdist's workers; else the run's."""
    given_seed = getattr(option, "randomly_seed", None)
    return given_seed if isinstance(given_seed, int) else seed


def asked(option):
    """What the user asked of the run as a whole, which no worker can do."""
    stepwise = any(getattr(option, name, False) for name in STEPWISE)
    # One failure is skipped by the option of that name.
    steps = 1 + bool(getattr(option, "stepwise_skip", False)) if stepwise else 0
    most = getattr(option, "maxfail", None) or steps
    if most > 0:
        yield "fail_fast", min(most, MOST_FAILURES)
    if stepwise and not getattr(option, "stepwise_reset", False):
        yield "stepwise", True
    if getattr(option, "failedfirst", False):
        yield "failed_first", True
    if getattr(option, "lf", False):
        yield "last_failed", getattr(option, "last_failed_no_failures", "all")
    for wanted, name in (("junit", "xmlpath"), ("html", "htmlpath")):
        report = getattr(option, name, None)
        if report:
            yield wanted, clean(os.path.abspath(os.path.expanduser(os.path.expandvars(report))))


def one_process(option):
    """Makes pytest one process that runs what it is told to."""
    for name, value in NEUTRAL.items():
        if hasattr(option, name):
            setattr(option, name, value)


def of_controller(error, alone):
    """What a plugin needs that asks for what pytest-xdist's controller would have given it. Alone is who has none."""
    if not expects_controller(error):
        return ""
    needed = ["controller = true in seagull.toml starts one"] if alone else []
    if importlib.util.find_spec("xdist") is None:
        needed.append("a plugin may give it nothing where pytest-xdist is not installed")
    return "a plugin expects a controller, as pytest-xdist has one: {}".format("; ".join(needed)) if needed else ""


def expects_controller(error):
    trace = getattr(error, "__traceback__", None)
    while trace is not None:
        frame = trace.tb_frame
        asking = [frame.f_code]
        # What is missing there may be looked up elsewhere than it was asked for.
        if isinstance(error, KeyError) and frame.f_globals is not globals():
            asking += [known.__code__ for known in frame.f_globals.values() if isinstance(known, types.FunctionType)]
        if any("workerinput" in code.co_names for code in asking):
            return True
        trace = trace.tb_next
    return False


def of_plugin(message):
    """Which plugin has an option that pytest does not know."""
    unknown = message if message.startswith("unrecognized arguments:") else ""
    for option in re.findall(r" (-[\w-]+)", unknown):
        for start, plugin in PLUGINS.items():
            if option == start or option.startswith(start + "-"):
                return "{} is of {}, which is not installed for {}".format(option, plugin, sys.executable)
    return ""
