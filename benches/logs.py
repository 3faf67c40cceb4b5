#!/usr/bin/env python3
"""What the logs of a run take in a bucket: objects, bytes, requests, time; and how soon one test's text is read out of it.

    benches/logs.py [--tests 100000] [--keep]

Packs the logs of so many tests, 250 in an attempt, and sends them to a MinIO on this machine, which takes of the same cores;
reads the texts of 2,000 tests by chance; and writes 5,000 objects, one a test, for comparison. With --keep, writes
benches/results/logs.md.
"""

import argparse
import os
import subprocess

import record

BOUND = 100.0
P99 = "milliseconds for one test's text, p99"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tests", type=int, default=100_000)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    command = ["cargo", "test", "--locked", "--workspace", "--test", "integration", "--"]
    arguments = ["--ignored", "--nocapture", "--exact", "stores::measure::logs_in_a_bucket"]
    output = subprocess.run(
        [*command, *arguments],
        cwd=record.TOP, env={**os.environ, "SEAGULL_BENCH_TESTS": str(options.tests)}, text=True, stdout=subprocess.PIPE,
        check=True,
    ).stdout
    rows = dict(line.split("|") for line in output.splitlines() if line.count("|") == 1)
    p99 = float(rows[P99])
    lines = [f"# logs: {options.tests:,} tests", "", *record.circumstances(), "", "| | |", "|---|---|"]
    lines += [f"| {what} | {float(value):,.1f} |" if "." in value else f"| {what} | {int(value):,} |" for what, value in rows.items()]
    lines += ["", "| judged | | bound | met |", "|---|---|---|---|"]
    lines += [f"| {P99} | {p99:.1f} | {BOUND:.0f} | {'yes' if p99 <= BOUND else 'no'} |"]
    record.write("logs" if options.keep else None, lines)


if __name__ == "__main__":
    main()
