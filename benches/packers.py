#!/usr/bin/env python3
"""Other ways to pack tests beside seagull's, on the same lists of durations: the compact integer program of one binary for each
test and bundle (PuLP with CBC), OR-tools' CP-SAT, pytest-split's least duration, and first fit decreasing.

    benches/packers.py [--limit SECONDS]

All lists are made here, by a seed. Where modules have a setup, each way is charged for what its bundles pay."""

import argparse
import csv
import json
import random
import resource
import subprocess
import sys
import tempfile
import time

import record

CAP = 600_000
"""Milliseconds, as all durations here."""

CASES = [
    # name, tests, least and greatest duration, setup of a module of 13 tests
    ("2 to 4 a bundle", 50, 150_000, 300_000, 0),
    ("2 to 4 a bundle", 100, 150_000, 300_000, 0),
    ("2 to 4 a bundle", 500, 150_000, 300_000, 0),
    ("dense", 1_000, 1_000, 15_000, 0),
    ("modules of 4 s", 10_000, 500, 6_000, 4_000),
]


def made(tests, least, greatest, seed=1):
    """Durations, each test in one module of 13."""
    chance = random.Random(seed)
    return [chance.randint(least, greatest) for _ in range(tests)]


def charged(bundles, durations, setup):
    """The number of bundles and of those over the cap, once each pays for its modules."""
    over = 0
    for bundle in bundles:
        modules = {test // 13 for test in bundle}
        over += sum(durations[test] for test in bundle) + setup * len(modules) > CAP
    return len(bundles), over


def first_fit(durations):
    bundles, loads = [], []
    for test in sorted(range(len(durations)), key=lambda test: -durations[test]):
        for bundle, load in enumerate(loads):
            if load + durations[test] <= CAP:
                break
        else:
            bundle = len(loads)
            bundles.append([])
            loads.append(0)
        bundles[bundle].append(test)
        loads[bundle] += durations[test]
    return bundles


def least_duration(durations):
    """The fewest groups of pytest-split's that are no longer than the cap: it asks for a number, so it is asked again."""
    from pytest_split.algorithms import LeastDurationAlgorithm

    class Item:
        def __init__(self, nodeid):
            self.nodeid = nodeid

        def __hash__(self):
            return hash(self.nodeid)

        def __eq__(self, other):
            return self.nodeid == other.nodeid

    items = [Item(str(test)) for test in range(len(durations))]
    seconds = {str(test): duration / 1000 for test, duration in enumerate(durations)}
    groups = -(-sum(durations) // CAP)
    while True:
        split = LeastDurationAlgorithm()(groups, items, seconds)
        if max(group.duration for group in split) <= CAP / 1000 + 1e-9:
            return [[int(item.nodeid) for item in group.selected] for group in split]
        groups += 1


def compact(durations, limit):
    """PuLP's model with CBC: the bundles, and the bound that it says it has proven."""
    import pulp

    most = len(first_fit(durations))
    tests, bundles = range(len(durations)), range(most)
    model = pulp.LpProblem(sense=pulp.LpMinimize)
    is_open = [pulp.LpVariable(f"b{bundle}", cat="Binary") for bundle in bundles]
    has = [[pulp.LpVariable(f"x{test}_{bundle}", cat="Binary") for bundle in bundles] for test in tests]
    model += pulp.lpSum(is_open)
    for bundle in bundles:
        model += pulp.lpSum(durations[test] * has[test][bundle] for test in tests) <= CAP * is_open[bundle]
    for test in tests:
        model += pulp.lpSum(has[test]) == 1
    model.solve(pulp.PULP_CBC_CMD(msg=False, timeLimit=limit, threads=1))
    if any(variable.value() is None for variable in is_open):
        return None
    found = [[test for test in tests if has[test][bundle].value() > 0.5] for bundle in bundles]
    return [bundle for bundle in found if bundle] if sum(map(len, found)) == len(durations) else None


def cp_sat(durations, limit):
    from ortools.sat.python import cp_model

    most = len(first_fit(durations))
    tests, bundles = range(len(durations)), range(most)
    model = cp_model.CpModel()
    is_open = [model.new_bool_var("") for _ in bundles]
    has = [[model.new_bool_var("") for _ in bundles] for _ in tests]
    for bundle in bundles:
        model.add(sum(durations[test] * has[test][bundle] for test in tests) <= CAP * is_open[bundle])
    for test in tests:
        model.add_exactly_one(has[test])
    for before, after in zip(is_open, is_open[1:]):
        model.add_implication(after, before)
    model.minimize(sum(is_open))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = limit
    solver.parameters.num_workers = 1
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    found = [[test for test in tests if solver.value(has[test][bundle])] for bundle in bundles]
    return [bundle for bundle in found if bundle]


def seagull(durations, setup):
    """The bundles, and the bound."""
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        rows = csv.writer(file)
        rows.writerow(["test_id", "seconds", "module"])
        rows.writerows([test, duration / 1000, test // 13] for test, duration in enumerate(durations))
        file.flush()
        command = [record.SEAGULL, "plan", "--timings", file.name, "--output", "json", "--scope-setup", f"{setup}ms"]
        plan = json.loads(subprocess.run(command, capture_output=True, check=True, env={"RAYON_NUM_THREADS": "1"}).stdout)
    return [[int(test) for test in bundle["tests"]] for bundle in plan["bundles"]], plan["lower_bound"]


def cpu():
    """CPU seconds so far, those of programs that were run among them."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def measured(way):
    began, clock = cpu(), time.monotonic()
    found = way()
    return found, cpu() - began, time.monotonic() - clock


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=60, help="seconds that each solver has for each list")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.inside:
        python = record.venv("packers", ["pulp", "ortools", "pytest-split"]) / "bin" / "python"
        command = [python, __file__, "--inside", "--limit", str(args.limit)]
        sys.exit(subprocess.run(command, check=False).returncode)
    rows = []
    for name, tests, least, greatest, setup in CASES:
        durations = made(tests, least, greatest)
        (bundles, bound), used, took = measured(lambda: seagull(durations, setup))
        ways = [("seagull", bundles, bound, used, took)]
        others = {"first fit decreasing": lambda: first_fit(durations), "pytest-split": lambda: least_duration(durations)}
        if not setup:
            others["PuLP and CBC"] = lambda: compact(durations, args.limit)
            others["CP-SAT"] = lambda: cp_sat(durations, args.limit)
        for way, pack in others.items():
            found, used, took = measured(pack)
            ways.append((way, found, "", used, took))
        for way, found, bound, used, took in ways:
            count, over = charged(found, durations, setup) if found else ("none", "")
            rows.append([name, tests, way, count, bound, over, f"{used:.2f}", f"{took:.2f}"])
    lines = ["# packers: other ways to pack, on the same durations", "", *record.circumstances(), ""]
    lines += [f"The cap is 600 s; solvers have {args.limit} s and one thread each. *Over the cap* are bundles once each pays the"]
    lines += ["setup of its modules, which only seagull knows of; each module has 13 tests.", ""]
    lines += ["| durations | tests | way | bundles | proven bound | over the cap | CPU s | wall s |", "|---|---|---|---|---|---|---|---|"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    record.write("packers", lines)


if __name__ == "__main__":
    main()
