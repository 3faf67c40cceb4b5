#!/usr/bin/env python3
"""How long a run takes over the least that is possible, and what losses of executors add: 100 slots in virtual time.

    benches/makespan.py DURATIONS... [--tests 100000] [--seeds 20]

DURATIONS are CSV files, or gzipped ones, with a column `cpu_seconds` or `seconds`: a row for each test of a suite. Tests
are drawn from each suite by seed, and scaled to two days of work. The program is an example of the simulation's crate: the
production cores of scheduler and executors, packed by the production packer. Writes benches/results/makespan.md.
"""

import argparse
import csv
import gzip
import json
import pathlib
import statistics
import subprocess

import judge
import record

NOISES = {
    "S1": "durations off by a factor of e^0.3 (one standard deviation)",
    "S2": "by e^0.6",
    "S3": "S2, and slots up to 15 % faster or slower",
    "S4": "S3, and 3 % of the slots three times as slow",
}
BOUNDS = {0: 1.06, 1: 1.08, 5: 1.12}
"""The makespan over its bound, by the share of executors lost, under S1 to S3."""


def program():
    """The example, built."""
    command = ["cargo", "build", "--locked", "--workspace", "--example", "makespan"]
    subprocess.run(command, cwd=record.TOP, check=True)
    return record.TARGET / "debug" / "examples" / "makespan"


def durations(path):
    """The seconds of each test that took any."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", newline="") as file:
        rows = [float(row.get("cpu_seconds") or row["seconds"]) for row in csv.DictReader(file)]
    return [seconds for seconds in rows if seconds > 0]


def measure(path, options, example):
    """What the program says of each noise and share of losses."""
    text = "\n".join(map(str, durations(path)))
    command = [example, str(options.tests), str(options.seeds)]
    said = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in said.splitlines()]


def table(suite, cells):
    lines = ["", f"## {suite}", "", "| noise | lost | makespan / bound | makespan, s | bundles | taken back | copies |"]
    lines.append("|---|---|---|---|---|---|---|")
    for cell in cells:
        makespan, attempts, moves, copies = (
            f"{statistics.median(cell[name]):.0f}" for name in ("makespan", "attempts", "moves", "copies")
        )
        ratios = record.spread(cell["ratios"])
        lines.append(f"| {cell['noise']} | {cell['lost']} % | {ratios} | {makespan} | {attempts} | {moves} | {copies} |")
    return lines


def judged(suite, cells):
    """Medians against the bounds, for each share of losses the noise that is worst."""
    rows = []
    for lost, bound in BOUNDS.items():
        medians = {
            cell["noise"]: statistics.median(cell["ratios"])
            for cell in cells
            if cell["lost"] == lost and cell["noise"] != "S4"
        }
        worst = max(medians, key=medians.get)
        what = f"{suite}: {lost} % lost, the worst of S1 to S3"
        met = "yes" if medians[worst] <= bound else "no"
        rows.append(judge.Judged(what, f"{medians[worst]:.3f} ({worst})", f"{bound}", met))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("durations", type=pathlib.Path, nargs="+")
    parser.add_argument("--tests", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    example = program()
    measured = {path.name.partition(".")[0]: measure(path, options, example) for path in options.durations}
    shape = f"100 slots, {options.tests} tests, 2 days of work, 20 s a bundle, {options.seeds} seeds"
    lines = [f"# makespan: {shape}", "", *record.circumstances(), ""]
    lines += ["Median (least-most) of the makespan over its bound: the later of the longest test on the fastest slot, and the"]
    lines += ["earliest time at which what the slots that live can do reaches the work, each test once. Lost executors of one slot"]
    lines += ["die at a random time, are given up 15 s later, and are not replaced. Other columns: medians."]
    lines += ["", *(f"- {noise}: {meaning}" for noise, meaning in NOISES.items())]
    for suite, cells in measured.items():
        lines += table(suite, cells)
    lines += judge.table([row for suite, cells in measured.items() for row in judged(suite, cells)])
    record.write("makespan", lines)


if __name__ == "__main__":
    main()
