#!/usr/bin/env python3
"""How soon a scheduler is back: 40 runs of 100,000 tests, half done, in its journal.

    benches/recovery.py [--rounds 5]

Writes such a journal, as a scheduler of 1,000 executors of 4 slots would, and starts schedulers on it, one after the
other: each is killed once it listens. Then writes journals of 50,000 tests with ever more reports in a commit: what a test
costs, and how many are dispatched in a second. Writes benches/results/recovery.md.
"""

import argparse
import os
import pathlib
import subprocess
import tempfile
import time

import dispatch
import record

BOUND = 5.0


def measured(name, state):
    """What a measurement of the scheduler's crate prints, as lines."""
    command = ["cargo", "test", "--locked", "--workspace", "--lib", "--", "--ignored", "--nocapture", name]
    return subprocess.run(
        command,
        cwd=record.TOP, env={**os.environ, "SEAGULL_BENCH_STATE": str(state)}, text=True, stdout=subprocess.PIPE, check=True,
    ).stdout.splitlines()


def write_journal(state):
    """What writing it took, as lines."""
    figures = ("tests are decided", "µs a test", "a snapshot of", "MB resident")
    lines = measured("forty_large_runs_half_done", state)
    return [line for line in lines if any(figure in line for figure in figures)]


def shares(state):
    """What a test costs the journal, as a table."""
    return [line for line in measured("the_share_of_a_test", state) if line.startswith("|")]


def recover(state):
    """Seconds until it listens, those of CPU in it, and the most that was resident."""
    began = time.monotonic()
    scheduler, _ = dispatch.start_scheduler(state)
    took, cpu, peak = time.monotonic() - began, dispatch.cpu_seconds(scheduler.pid), record.peak_mb(scheduler.pid)
    scheduler.kill()
    scheduler.wait()
    return took, cpu, peak


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=record.TARGET) as folder:
        written = write_journal(pathlib.Path(folder))
        rounds = [recover(pathlib.Path(folder)) for _ in range(options.rounds)]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=record.TARGET) as folder:
        by_group = shares(pathlib.Path(folder))
    took, cpu, peak = zip(*rounds)
    lines = [f"# recovery: 40 runs of 100,000 tests, half done, {options.rounds} rounds", "", *record.circumstances(), ""]
    lines += ["Writing the journal:", "", *(f"- {line}" for line in written), ""]
    lines += ["| | median (spread) | bound | met |", "|---|---|---|---|"]
    lines += [f"| seconds until it listens | {record.spread(took, '.2f')} | {BOUND} | {'yes' if max(took) < BOUND else 'no'} |"]
    lines += [f"| seconds of CPU in it | {record.spread(cpu, '.2f')} | | |"]
    lines += [f"| MB resident at most | {record.spread(peak, '.0f')} | | |"]
    lines += ["", "## A test's share of the journal", ""]
    lines += ["50,000 tests of 40 runs, on 100 executors that report results of five tests of each of four slots: the core's"]
    lines += ["steps and the commits, one after the other. A scheduler commits what has come while it made the last commit durable.", ""]
    lines += by_group
    record.write("recovery", lines)


if __name__ == "__main__":
    main()
