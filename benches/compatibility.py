#!/usr/bin/env python3
"""Runs the test suites of public projects with seagull and with their own framework, and compares the verdicts.

    benches/compatibility.py [PROJECT...] [--slots 2]

A project is its source archive and what its tests need; nothing else is configured than the arguments that PROJECTS
gives to both. What differs between two runs of the framework itself has no verdict of its own and is only counted.
Prints a line for each project as docs/compatibility.md has it, then what differs, test by test. Its exit code is 1 if
anything does.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from typing import NamedTuple

import record
import suites
import verdicts

RUN = ["run", "--output", "plain"]


class Project(NamedTuple):
    """A public project: what its tests need, which arguments, and the habits it is here for."""

    packages: list
    habits: str
    arguments: list = []
    pytest: str = suites.TOOLS[0]


PYTHON = {
    "attrs==26.1.0": Project(["hypothesis==6.170.17", "cloudpickle==3.1.3"], "src layout, hypothesis"),
    "jinja2==3.1.6": Project(["trio==0.35.0"], "fixtures and settings of a conftest"),
    "more-itertools==11.2.1": Project(
        [], "unittest classes, doctests", ["--doctest-modules", "more_itertools", "tests"]
    ),
    "asgiref==3.13.0": Project(["pytest-asyncio==1.5.0"], "pytest-asyncio"),
    "pytest-mock==3.17.0": Project(["pytest-asyncio==1.5.0", "mock==5.2.0"], "a plugin's own tests, by pytester"),
    "packaging==26.4": Project(
        ["pretend==1.0.9", "hypothesis==6.170.17", "tomli-w==1.2.0"], "thousands of cases whose ids come from objects"
    ),
    "flask==3.1.3": Project(
        ["asgiref==3.13.0", "python-dotenv"],
        "warnings are errors, a fixture for each test",
        # Its tests take from pytest what 9 does not have any more.
        pytest="pytest==8.4.2",
    ),
    "pygments==2.21.0": Project(["wcag-contrast-ratio"], "a conftest that collects tests from data files"),
    "markdown-it-py==4.3.0": Project(
        ["pytest-regressions", "linkify-it-py", "mdit-py-plugins"], "pytest_generate_tests from files"
    ),
    "pytest-httpserver==1.2.0": Project(["requests", "toml"], "servers of the session's, a plugin's own tests"),
}
RUST = {
    "semver==1.0.27": Project([], "unit, integration and documentation tests"),
    "itoa==1.0.15": Project([], "tests behind features"),
}


def python(specifier, project, folder, slots):
    """The outcomes of two plain pytest runs and of ours, each in a copy of the sources of its own."""
    name = specifier.partition("==")[0]
    venv = record.venv(f"project-{name}", [project.pytest, *project.packages, specifier])
    ours = [record.SEAGULL, *RUN, "--slots", str(slots), "--state", str(folder / "state"), "--", *project.arguments]
    commands = {"plain": [[str(venv / "bin" / "pytest"), *project.arguments]], "seagull": [ours]}
    copies = [suites.Suite(folder / kind, suites.variables(venv), commands) for kind in ("ours", "one", "two")]
    archive = suites.fetch(venv, specifier, folder)
    for copy in copies:
        copy.directory.mkdir()
        suites.unpack(archive, copy.directory)
    found, _, _, _ = verdicts.our_run(copies[0])
    outcomes = []
    for copy in copies[1:]:
        process, path = verdicts.start_plain(copy, folder, f"plain-{copy.directory.name}")
        process.wait()
        outcomes.append(json.loads(path.read_text()))
    return (*outcomes, found)


def crate(specifier, folder):
    """A copy of a crate's source, and what it is built with: nothing but cargo's own."""
    name, _, version = specifier.partition("==")
    subprocess.run(["cargo", "new", "-q", "--lib", folder / "fetch"], check=True)
    subprocess.run(["cargo", "add", "-q", f"{name}@={version}"], cwd=folder / "fetch", check=True)
    metadata = subprocess.run(
        ["cargo", "metadata", "--format-version", "1"], cwd=folder / "fetch", check=True, capture_output=True
    )
    packages = json.loads(metadata.stdout)["packages"]
    source = next(package["manifest_path"] for package in packages if package["name"] == name)
    directory = folder / name
    shutil.copytree(pathlib.Path(source).parent, directory)
    return directory, {key: value for key, value in os.environ.items() if key != "CARGO_TARGET_DIR"}


def rust(specifier, project, folder, slots):
    """The outcomes of two runs of cargo test and of ours."""
    directory, variables = crate(specifier, folder)
    ours = [record.SEAGULL, *RUN, "--slots", str(slots), "--state", str(folder / "state"), "--", *project.arguments]
    suite = suites.Suite(directory, variables, {"seagull": [ours]})
    command = ["cargo", "test", "--no-fail-fast", *project.arguments]
    runs = [
        subprocess.run(command, cwd=directory, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(2)
    ]
    found, _, _, _ = verdicts.our_run(suite)
    return (*(cargo_outcomes(directory.name, run.stdout) for run in runs), found)


def cargo_outcomes(package, printed):
    """What cargo test printed, by the ids that docs/rust.md describes."""
    outcomes, words, target = {}, {"ok": "passed", "FAILED": "failed", "ignored": "skipped"}, ""
    for line in printed.splitlines():
        if running := re.match(r" +Running (unittests )?(\S+) \(", line):
            path = pathlib.PurePath(running[2])
            kinds = {"tests": "test", "examples": "example", "benches": "bench", "src": "lib"}
            target = "lib" if path.name == "lib.rs" else f"{kinds[path.parts[0]]}/{path.stem}"
        elif line.lstrip().startswith("Doc-tests "):
            target = "doc"
        elif test := re.match(r"test (.+?)(?: - should panic)? \.\.\. (ok|FAILED|ignored)", line):
            if target == "doc":
                worst = "failed" if "failed" in (outcomes.get(f"{package}::doc"), words[test[2]]) else "passed"
                outcomes[f"{package}::doc"] = worst
            else:
                outcomes[f"{package}::{target}::{test[1]}"] = words[test[2]]
    return outcomes


def compare(specifier, slots):
    """The project's line, and what differs, if only that there is nothing to compare."""
    project, run = (PYTHON[specifier], python) if specifier in PYTHON else (RUST[specifier], rust)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        one, two, ours = run(specifier, project, pathlib.Path(folder), slots)
    differ, unstable = verdicts.differences(one, two, ours)
    name, _, version = specifier.partition("==")
    given = f"`{' '.join(project.arguments)}`" if project.arguments else "nothing"
    line = f"| {name} {version} | {project.habits} | {len(one)} | {len(differ)} | {len(unstable)} | {given} |"
    told = [f"- `{test}`: {one.get(test)}, seagull {ours.get(test)}" for test in sorted(differ)]
    return line, told if one else [*told, "- the framework itself runs no test"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = {specifier.partition("==")[0]: specifier for specifier in [*PYTHON, *RUST]}
    parser.add_argument("projects", nargs="*", metavar="PROJECT", help=", ".join(known))
    parser.add_argument("--slots", type=int, default=2)
    options = parser.parse_args()
    unknown = [name for name in options.projects if name not in known]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    failed = False
    for name in options.projects or known:
        line, differ = compare(known[name], options.slots)
        print("\n".join([line, *differ]), flush=True)
        failed |= bool(differ)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
