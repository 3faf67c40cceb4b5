"""What is said of a test: outcome, cause, message, location and text, from pytest's reports and exceptions."""

import importlib.util
import io
import os
import re
import sys

AROUND = ("setup", "teardown")
"""The phases around a test's own; pytest-forked reports a crash in none that pytest has."""


NEAR = 4096
"""Bytes: a line that ends so near to where a text is cut is cut off whole. Its part might be half a secret."""


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
    head = head[: head.rfind(b"\n", max(0, len(head) - NEAR)) + 1] or head
    tail = tail[tail.find(b"\n", 0, NEAR) + 1 :] or tail
    marker = "\n[... {} bytes left out ...]\n".format(len(data) - len(head) - len(tail))
    return head.decode("utf-8", "ignore") + marker + tail.decode("utf-8", "ignore")


def without(prefix, text):
    return text[len(prefix) :] if text.startswith(prefix) else text


def first_line(text):
    return text.strip().split("\n", 1)[0][:500]


def message_and_location(report, rootdir):
    """The first line of what a report says went wrong, and the `file:line` where."""
    longrepr = report.longrepr
    crash = getattr(longrepr, "reprcrash", None)
    examples = getattr(longrepr, "reprlocation_lines", None)
    if isinstance(longrepr, tuple):
        path, line, message = longrepr
    elif crash is not None:
        path, line, message = crash.path, crash.lineno, crash.message
    elif examples:
        where, lines = examples[0]
        path, line, message = where.path, where.lineno, of_example(lines)
    else:
        errors = [line[1:].strip() for line in report.longreprtext.split("\n") if line.startswith("E  ")]
        path, line, message = "", 0, (errors[-1] if errors else report.longreprtext)
    # pytest itself raises the group of what several teardowns raised.
    foreign = path and os.path.basename(os.path.dirname(str(path))) != "_pytest"
    return first_line(message), place(str(path), line, rootdir) if foreign else ""


def of_example(lines):
    """What a doctest got wrong, without the source above it."""
    lines = [line.strip() for line in lines]
    for number, line in enumerate(lines):
        if line.startswith("UNEXPECTED EXCEPTION: "):
            return without("UNEXPECTED EXCEPTION: ", line)
        if line.startswith("Expected"):
            return " ".join(lines[number:])
    return lines[-1] if lines else ""


def place(path, line, rootdir):
    if path.startswith(rootdir + os.sep):
        path = path[len(rootdir) + 1 :]
    return "{}:{}".format(path, line)


def sections(captured):
    return "".join("----- {} -----\n{}\n".format(*section) for section in captured)


def long_text(report):
    """What pytest writes of a failure; `longreprtext` takes the first line's indent away."""
    from _pytest._io import TerminalWriter

    out = io.StringIO()
    writer = TerminalWriter(out)
    writer.hasmarkup = False
    report.toterminal(writer)
    return out.getvalue().strip("\n")


def failure_text(report):
    """What failed, headed where it is not the test's own call."""
    head = "{} of ".format(report.when) if report.when in AROUND else ""
    subtest = hasattr(report, "context")
    head += report.head_line if subtest or head else ""
    own_sections = sections(report.sections) if subtest else ""
    return ("===== {} =====\n".format(head) if head else "") + long_text(report) + "\n" + own_sections


def describe(reports, rootdir, limit):
    """Outcome, detail, cause, message, location and text of one execution."""
    phases = {report.when: report for report in reports}
    failures = [report for report in reports if report.outcome not in ("passed", "skipped")]
    captured = sections(reports[-1].sections) if reports else ""
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
    if report.when in AROUND:
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
        detail = "xfailed" if report.outcome == "skipped" else "xpassed"
        return {"outcome": report.outcome, "detail": detail, "message": first_line(without("reason: ", expected))}
    if report.outcome == "passed":
        return {"outcome": "passed"}
    message, location = message_and_location(report, rootdir)
    return {"outcome": "skipped", "message": without("Skipped: ", message), "location": location}


def suite_frames(error):
    """An exception as pytest has it, without pytest's own frames and ours."""
    excinfo = pytest.ExceptionInfo.from_exc_info((type(error), error, error.__traceback__))
    own = (os.path.dirname(os.path.abspath(pytest.__file__)), "_pytest", "pluggy", "importlib")

    def foreign(entry):
        return entry.frame.f_globals is not globals() and not any(part in str(entry.path) for part in own)

    visible = excinfo.traceback.filter(foreign)
    if len(visible):
        excinfo.traceback = visible
    return excinfo


def exception_text(error):
    """The traceback of an exception as pytest writes it; of wrong usage, what pytest says of it."""
    if isinstance(error, pytest.UsageError):
        # The first line is the message.
        return "\n".join(map(str, error.args)).rpartition(": error: ")[2].partition("\n")[2]
    return str(suite_frames(error).getrepr(style="short"))


def describe_interruption(error, item, rootdir, limit):
    """What interrupted a test: an exception that pytest makes no report of."""
    excinfo = suite_frames(error)
    where = excinfo.traceback[-1]
    message = first_line(str(error)) or type(error).__name__
    captured = [("Captured {} {}".format(key, when), text) for when, key, text in item._report_sections]
    text = "{}\n{}".format(excinfo.getrepr(style="short"), sections(captured))
    location = place(str(where.path), where.lineno + 1, rootdir)
    return {"message": message, "location": location, "text": bounded(text, limit)}


def exception_message(error):
    if isinstance(error, pytest.UsageError):
        # The lines before are argparse's usage.
        return first_line(str(error).rpartition(": error: ")[2])
    return first_line("{}: {}".format(type(error).__name__, error))


def of_missing(message, settings):
    """What to know of a module that is not found: whose it is to be, or that it is in the working directory, as
    `python -m pytest` finds it."""
    missing = re.search(r"ModuleNotFoundError: No module named '(\w+)", message)
    if missing is None:
        return ""
    name, here = missing.group(1), os.getcwd()
    if os.path.isdir(os.path.join(here, name)) or os.path.isfile(os.path.join(here, name + ".py")):
        if here in sys.path or "" in sys.path:
            return ""
        return (
            "{} is in the working directory, which is not on sys.path: `python -m pytest` puts it there, and so does"
            " `pythonpath = .` in pytest's configuration"
        ).format(name)
    if name in sys.modules:
        return ""
    return "{} is not installed for {} {}".format(name, sys.executable, lacking(settings))


def lacking(settings):
    """Where this runs, and what to do where something is not installed there."""
    if settings.get("image"):
        return "of the image {}: install it in that".format(settings["image"])
    here = "on {}".format(os.uname().nodename)
    if not settings.get("elsewhere"):
        return here + ": install it there, or have [setup] make an environment with it"
    return (
        '{}, where tests are discovered; those of [environment.{}] run in the image {}: with [environment.default] image = "{}"'
        " they are discovered in that too, else install it here, or have [setup] make an environment with it"
    ).format(here, *settings["elsewhere"], settings["elsewhere"][1])


def of_package(message):
    """What to know where a path that is not there is the name of an installed package. Nothing of it is imported."""
    missing = re.match(r"file or directory not found: ((\w+)(?:\.(?!py$)\w+)*)$", message)
    try:
        spec = importlib.util.find_spec(missing.group(2)) if missing else None
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.submodule_search_locations is None:
        return ""
    return "it is the name of an installed package, whose tests run by: -- --pyargs {}".format(missing.group(1))
