#!/usr/bin/env python3
"""Compares seagull with plain pytest, pytest-xdist and pytest-split on public suites: whole process trees, in turn.

    benches/compare.py SUITE [--rounds 5] [--variants plain,seagull,xdist-load,...] [--slots 2]

Each round runs every variant once, in an order that rotates; what is reported is the median over the rounds of CPU
seconds (user + system of the whole tree) and wall seconds, and the median with its spread of the ratios to the first
variant of the same round. seagull's timings come from a run before the first round. Writes
benches/results/SUITE.md with machine and commit.

`--variants collect-only,discover` compares the discovery alone with `pytest --collect-only`.
"""

import argparse
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

import record

TOOLS = ["pytest==9.2.0", "pytest-xdist==3.8.0", "pytest-split==0.11.0"]
SUITES = {
    # name: (packages, sdist to unpack, pytest arguments)
    "networkx": (["networkx==3.6.1", "numpy==2.4.6"], None, ["--pyargs", "networkx"]),
    "jinja2": (["jinja2==3.1.6", "trio"], "jinja2==3.1.6", ["tests"]),
    "attrs": (["attrs==26.1.0", "hypothesis", "cloudpickle"], "attrs==26.1.0", ["tests"]),
    "pandas-series": (["pandas==3.1.1", "hypothesis"], None, ["--pyargs", "pandas.tests.series"]),
    "pandas-frame": (["pandas==3.1.1", "hypothesis"], None, ["--pyargs", "pandas.tests.frame"]),
    "pandas": (["pandas==3.1.1", "hypothesis"], None, ["--pyargs", "pandas"]),
    "empty": ([], None, []),
}
QUIET = ["-q", "--tb=no", "-o", "addopts=", "-p", "no:cacheprovider"]


def prepare(suite, empties):
    """The suite's virtual environment and directory."""
    packages, sdist, _ = SUITES[suite]
    venv = record.TARGET / "bench-venvs" / suite.partition("-")[0]
    if not (venv / "bin" / "pytest").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        pip = [venv / "bin" / "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, *TOOLS, *packages], check=True)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="bench-"))
    if sdist:
        fetch = [venv / "bin" / "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", directory, sdist]
        subprocess.run(fetch, check=True)
        with tarfile.open(next(directory.glob("*.tar.gz"))) as tar:
            for member in tar.getmembers():
                member.name = member.name.partition("/")[2]
                if member.name:
                    tar.extract(member, directory, filter="data")
    else:
        (directory / "pytest.ini").write_text("[pytest]\n")
    if suite == "empty":
        source = "import pytest\n@pytest.mark.parametrize('x', range(1000))\ndef test_empty(x): pass\n"
        for number in range(empties // 1000):
            (directory / f"test_{number}.py").write_text(source)
    return venv, directory


def commands(suite, venv, slots, state):
    """Each variant's commands, run side by side."""
    pytest, arguments = str(venv / "bin" / "pytest"), SUITES[suite][2]
    plain = [pytest, "-p", "no:xdist", "-p", "no:pytest_split", *QUIET, *arguments]
    xdist = [pytest, "-p", "no:pytest_split", "-n", str(slots), *QUIET, *arguments]
    split = [pytest, "-p", "no:xdist", *QUIET, "--splits", str(slots), "--durations-path", str(state / "split.json")]
    ours = [record.SEAGULL, "run", "--slots", str(slots), "--state", str(state / "seagull")]
    ours += ["--output", "plain", "--project", suite, "--"]
    ours += ["-p", "no:xdist", "-p", "no:pytest_split", *QUIET, *arguments]
    return {
        "plain": [plain],
        "seagull": [ours],
        "xdist-load": [[*xdist, "--dist", "load"]],
        "xdist-loadfile": [[*xdist, "--dist", "loadfile"]],
        "xdist-worksteal": [[*xdist, "--dist", "worksteal"]],
        "split": [[*split, "--group", str(group + 1), *arguments] for group in range(slots)],
        # Collection alone: a selection that matches nothing runs nothing.
        "collect-only": [[*plain, "--collect-only"]],
        "discover": [[*ours[:2], "--select", "nothing/matches/this", *ours[2:]]],
        "_learn": [[*split, "--store-durations", "--group", "1", *arguments]],
    }


def environment(venv):
    """The variables of every variant: the suite's interpreter, and one thread for its numerics."""
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL")}
    return {**os.environ, **threads, "VIRTUAL_ENV": str(venv)}


def measure(processes, directory, variables):
    """Wall and CPU seconds of commands side by side, with all their descendants."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = [subprocess.Popen(command, cwd=directory, env=variables, **quiet) for command in processes]
    codes = [process.wait() for process in running]
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, codes


def row(name, rounds, base):
    """One variant's line of the table."""
    wall, cpu = ([measured[name][key] for measured in rounds] for key in (0, 1))
    ratios = [measured[name][1] / measured[base][1] for measured in rounds]
    walls = [measured[name][0] / measured[base][0] for measured in rounds]
    spread = f"{statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})"
    walls = f"{statistics.median(walls):.3f} ({min(walls):.3f}-{max(walls):.3f})"
    codes = sorted({code for measured in rounds for code in measured[name][2]})
    return f"| {name} | {statistics.median(cpu):.2f} | {spread} | {statistics.median(wall):.2f} | {walls} | {codes} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--variants", default="plain,seagull,xdist-load,xdist-loadfile,xdist-worksteal,split")
    parser.add_argument("--empties", type=int, default=50_000)
    parser.add_argument("--name", help="the result's name, if not the suite's")
    options = parser.parse_args()
    names = options.variants.split(",")
    venv, directory = prepare(options.suite, options.empties)
    state = pathlib.Path(tempfile.mkdtemp(prefix="bench-state-"))
    variants = commands(options.suite, venv, options.slots, state)
    for name, lesson in {"seagull": "seagull", "split": "_learn"}.items():
        if name in names:
            measure(variants[lesson], directory, environment(venv))
    rounds = []
    for number in range(options.rounds):
        order = names[number % len(names):] + names[:number % len(names)]
        rounds.append({name: measure(variants[name], directory, environment(venv)) for name in order})
        print(number + 1, {name: (round(w, 1), round(c, 1)) for name, (w, c, _) in rounds[-1].items()}, flush=True)
    lines = [f"# {options.suite}, {options.slots} slots, {options.rounds} rounds", "", *record.circumstances(), ""]
    lines += [f"| variant | CPU s | CPU / {names[0]} (spread) | wall s | wall / {names[0]} (spread) | exit codes |"]
    lines += ["|---|---|---|---|---|---|", *(row(name, rounds, names[0]) for name in names)]
    record.write(options.name or options.suite, lines)
    for made in (state, directory):
        shutil.rmtree(made)


if __name__ == "__main__":
    main()
