#!/usr/bin/env python3
"""Compares seagull with plain pytest, pytest-xdist and pytest-split on public suites: whole process trees, in turn.

    benches/compare.py SUITE [--rounds 5] [--variants plain,seagull,xdist-load,...] [--slots 2]

Each round runs every variant once, in an order that rotates; what is reported is the median over the rounds of CPU
seconds (user + system of the whole tree) and wall seconds, and the median with its spread of the ratios to the first
variant of the same round; then what is judged of it (judge.py). seagull's timings come from a run before the first
round. Writes benches/results/SUITE.md with machine and commit.

`--variants collect-only,discover` compares the discovery alone with `pytest --collect-only`. The suite `empty` is run
in each of the sizes of `--empties`, and judged by the slope between two.
"""

import argparse
import pathlib
import resource
import subprocess
import tempfile
import time
from statistics import median
from typing import NamedTuple

import judge
import record
import suites

VARIANTS = "plain,seagull,xdist-load,xdist-loadfile,xdist-worksteal,split,collect-only"


class Measured(NamedTuple):
    """What a variant took once, in seconds, and its processes' exit codes."""

    wall: float
    cpu: float
    codes: list


def measure(suite, variant):
    """Runs a variant's commands side by side, and counts all their descendants."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    how = {"cwd": suite.directory, "env": suite.variables, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = [subprocess.Popen(command, **how) for command in suite.commands[variant]]
    codes = [process.wait() for process in running]
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Measured(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, codes)


def learn(suite, names):
    """The runs before the first round, from which seagull and split have their timings."""
    for name, lesson in {"seagull": "seagull", "split": "learn-split"}.items():
        if name in names:
            measure(suite, lesson)


def table(names, rounds):
    """What each variant took, as Markdown."""
    base = names[0]
    lines = [f"| variant | CPU s | CPU / {base} (spread) | wall s | wall / {base} (spread) | exit codes |"]
    lines.append("|---|---|---|---|---|---|")
    for name in names:
        cells = [name]
        for kind in ("cpu", "wall"):
            taken, least = judge.column(rounds, name, kind), judge.column(rounds, base, kind)
            cells += [f"{median(taken):.2f}", record.spread([one / other for one, other in zip(taken, least)])]
        cells.append(str(sorted({code for measured in rounds for code in measured[name].codes})))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=suites.SUITES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--variants", default=VARIANTS)
    parser.add_argument("--empties", default="50000,250000", help="how many tests the suite `empty` has")
    parser.add_argument("--name", help="the result's name, if not the suite's")
    options = parser.parse_args()
    names = options.variants.split(",")
    sizes = [int(size) for size in options.empties.split(",")] if options.suite == "empty" else [0]
    taken = {size: [] for size in sizes}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        laid = {
            size: suites.lay_out(options.suite, options.slots, pathlib.Path(folder, str(size)), size) for size in sizes
        }
        for suite in laid.values():
            learn(suite, names)
        for number in range(options.rounds):
            order = record.rotated(names, number)
            for size, suite in laid.items():
                taken[size].append({name: measure(suite, name) for name in order})
                shown = {name: f"{one.wall:.1f} s, CPU {one.cpu:.1f} s" for name, one in taken[size][-1].items()}
                print(number + 1, size or "", shown, flush=True)
            # After each round: what is broken off has measured something.
            record.keep(options.name or options.suite, result(options, names, taken))
    print("\n".join(result(options, names, taken)))


def result(options, names, taken):
    """What the rounds so far come to."""
    done = len(next(iter(taken.values())))
    lines = [f"# {options.suite}, {options.slots} slots, {done} rounds", "", *record.circumstances()]
    for size, rounds in taken.items():
        lines += ["", *([f"## {size} tests", ""] if size else []), *table(names, rounds)]
        lines += judge.table(judge.judge(options.suite, rounds))
    return lines + (judge.table(judge.slope(taken)) if len(taken) == 2 else [])


if __name__ == "__main__":
    main()
