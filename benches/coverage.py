#!/usr/bin/env python3
"""Compares the coverage of one seagull run with plain pytest's on a public suite.

    benches/coverage.py SUITE [--slots 2]

Both measure branches. Prints the totals, and each file whose missing lines or branches differ; its exit code is 1 if there
is one.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import record
import suites

PACKAGES = ["pytest==9.2.0", "pytest-cov==7.1.0", "coverage==7.17.4"]
SUITES = {
    # name: (its package, other packages, pytest arguments)
    "attrs==26.1.0": ("attr", ["hypothesis==6.170.17", "cloudpickle==3.1.3"], ["tests"]),
    "jinja2==3.1.6": ("jinja2", ["trio==0.35.0"], ["tests"]),
    "itsdangerous==2.2.0": ("itsdangerous", ["freezegun==1.5.5"], ["tests"]),
}


def figures(command, directory, variables):
    """What a run's report says: the percentage, and what is missing of each file."""
    (directory / "report.json").unlink(missing_ok=True)
    # Where tests fail they fail in both.
    subprocess.run(command, cwd=directory, env=variables, stdout=subprocess.DEVNULL)
    report = json.loads((directory / "report.json").read_text())
    files = {name: (file["missing_lines"], file["missing_branches"]) for name, file in report["files"].items()}
    return report["totals"], files


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("--slots", type=int, default=2)
    options = parser.parse_args()
    package, others, arguments = SUITES[options.suite]
    venv = record.venv("coverage-" + package, [*PACKAGES, options.suite, *others])
    measure = ["-q", "-o", "addopts=", f"--cov={package}", "--cov-branch", "--cov-report=json:report.json", *arguments]
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = pathlib.Path(name)
        directory = folder / "suite"
        suites.unpack(suites.fetch(venv, options.suite, folder), directory)
        plain, theirs = figures([venv / "bin" / "pytest", *measure], directory, suites.variables(venv))
        ours = [record.SEAGULL, "run", "--slots", str(options.slots), "--state", str(folder / "state"), "--", *measure]
        total, files = figures(ours, directory, suites.variables(venv))
    differ = [name for name in theirs.keys() | files.keys() if theirs.get(name) != files.get(name)]
    print(f"{options.suite}: plain {plain['percent_covered']:.4f} %, seagull {total['percent_covered']:.4f} %, "
          f"{plain['missing_lines']} and {total['missing_lines']} missing lines, "
          f"{plain['missing_branches']} and {total['missing_branches']} missing branches, {len(theirs)} files")
    for name in sorted(differ):
        print(f"{name}: plain {theirs.get(name)}, seagull {files.get(name)}")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
