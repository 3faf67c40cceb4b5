#!/usr/bin/env python3
"""Compares the verdicts of one seagull run with two plain pytest runs on a public suite, test by test.

    benches/verdicts.py SUITE [--slots 2]

The two plain runs go side by side; a test that differs between them has no verdict of its own and is only counted.
Prints what differs, and how seagull's discovery, plan and memory were; writes benches/results/verdicts-SUITE.md. Its
exit code is 1 if a verdict differs.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import record
import suites

PLUGIN = '''
"""Writes each test's outcome, as the design defines it, to the file that RECORD names."""
import json, os

phases, worst = {}, {"passed": 0, "skipped": 1, "failed": 2}

def pytest_runtest_logreport(report):
    before = phases.get(report.nodeid, "passed")
    if report.when == "teardown" and report.outcome == "skipped":
        return
    phases[report.nodeid] = max(before, report.outcome, key=worst.get)

def pytest_sessionfinish():
    with open(os.environ["RECORD"], "w") as file:
        json.dump(phases, file)
'''


def start_plain(suite, folder, name):
    """A plain run, and the file with its outcomes when it has ended."""
    (folder / "record_outcomes.py").write_text(PLUGIN)
    outcomes = folder / f"{name}.json"
    own = {**suite.variables, "RECORD": str(outcomes), "PYTHONPATH": str(folder)}
    [plain] = suite.commands["plain"]
    command = [*plain, "-p", "record_outcomes", f"--basetemp={outcomes.with_suffix('')}"]
    return subprocess.Popen(command, cwd=suite.directory, env=own, stdout=subprocess.DEVNULL), outcomes


def plain_runs(suite, folder):
    """The outcomes of two plain runs, side by side."""
    runs = [start_plain(suite, folder, f"plain-{number}") for number in range(2)]
    for process, _ in runs:
        process.wait()
    return [json.loads(outcomes.read_text()) for _, outcomes in runs]


def our_run(suite):
    """The verdicts of a seagull run; when each kind of event first came, and how long planning took, in seconds; its
    peak memory in MB; and its exit code."""
    verdicts, first, peak, began = {}, {"plan": 0, "planning": 0, "run_finished": 0}, 0, time.monotonic()
    [command] = suite.commands["seagull"]
    command[command.index("plain")] = "json"
    process = subprocess.Popen(command, cwd=suite.directory, env=suite.variables, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        event = json.loads(line)
        if not first.get(event["event"]):
            first[event["event"]] = time.monotonic() - began
        if event["event"] == "verdict":
            assert event["test"] not in verdicts, event
            verdicts[event["test"]] = event["verdict"]
        elif event["event"] in ("executor_lost", "attempt_lost", "suite_error"):
            print(line, end="", file=sys.stderr)
        elif event["event"] == "plan":
            first["planning"] = event["planning_seconds"]
        elif event["event"] == "run_finished":
            peak = record.peak_mb(process.pid)
    return verdicts, first, peak, process.wait()


def differences(one, two, ours):
    """The tests whose verdict is not the framework's, and those that have none of their own: its two runs differ."""
    unstable = {test for test in one.keys() | two.keys() if one.get(test) != two.get(test)}
    return {test for test in one.keys() | ours.keys() if one.get(test) != ours.get(test)} - unstable, unstable


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=suites.SUITES)
    parser.add_argument("--slots", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = pathlib.Path(name)
        suite = suites.lay_out(options.suite, options.slots, folder, 50_000)
        verdicts, first, peak, code = our_run(suite)
        print(f"{len(verdicts)} verdicts, exit code {code}", flush=True)
        one, two = plain_runs(suite, folder)
    differ, unstable = differences(one, two, verdicts)
    lines = [f"# {options.suite}: verdicts, {options.slots} slots", "", *record.circumstances(), ""]
    lines += [f"- {len(verdicts)} verdicts, {len(one)} and {len(two)} tests of plain pytest, exit code {code}."]
    lines += [f"- {len(unstable)} tests differ between the two plain runs, {len(differ)} others from seagull's."]
    lines += [f"- Discovered and planned after {first['plan']:.1f} s (planning {first['planning']:.2f} s), ended after "
              f"{first['run_finished']:.1f} s."]
    lines += [f"- The scheduler's and executor's process had {peak:.0f} MB at its peak.", ""]
    lines += [f"- `{test}`: plain {one.get(test)}, seagull {verdicts.get(test)}" for test in sorted(differ)]
    lines += [f"- `{test}`: plain {one.get(test)} and {two.get(test)}" for test in sorted(unstable)]
    record.write(f"verdicts-{options.suite}", lines)
    return 1 if differ or not verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
