#!/usr/bin/env python3
"""How soon a scheduler is back: 40 runs of 100,000 tests, half done, in its journal.

    benches/recovery.py [--rounds 5]

Writes such a journal, as a scheduler of 1,000 executors of 4 slots would, and starts schedulers on it, one after the
other: each is killed once it listens. Writes benches/results/recovery.md.
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


def write_journal(state):
    """What writing it took, as lines."""
    command = ["cargo", "test", "--locked", "-p", "seagull-scheduler", "--lib", "--", "--ignored", "--nocapture"]
    output = subprocess.run(
        [*command, "forty_large_runs_half_done"],
        cwd=record.TOP, env={**os.environ, "SEAGULL_BENCH_STATE": str(state)}, text=True, stdout=subprocess.PIPE, check=True,
    ).stdout
    figures = ("tests are decided", "µs a test", "a snapshot of", "MB resident")
    return [line for line in output.splitlines() if any(figure in line for figure in figures)]


def recover(state):
    """Seconds until it listens, and the most that was resident."""
    began = time.monotonic()
    scheduler, _ = dispatch.start_scheduler(state)
    took, peak = time.monotonic() - began, record.peak_mb(scheduler.pid)
    scheduler.kill()
    scheduler.wait()
    return took, peak


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=record.TARGET) as folder:
        written = write_journal(pathlib.Path(folder))
        rounds = [recover(pathlib.Path(folder)) for _ in range(options.rounds)]
    took, peak = zip(*rounds)
    lines = [f"# recovery: 40 runs of 100,000 tests, half done, {options.rounds} rounds", "", *record.circumstances(), ""]
    lines += ["Writing the journal:", "", *(f"- {line}" for line in written), ""]
    lines += ["| | median (spread) | bound | met |", "|---|---|---|---|"]
    lines += [f"| seconds until it listens | {record.spread(took, '.2f')} | {BOUND} | {'yes' if max(took) < BOUND else 'no'} |"]
    lines += [f"| MB resident at most | {record.spread(peak, '.0f')} | | |"]
    record.write("recovery", lines)


if __name__ == "__main__":
    main()
