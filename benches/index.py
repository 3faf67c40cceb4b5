#!/usr/bin/env python3
"""What an index takes: a run's results with messages into SQLite and into Elasticsearch, against the server's own limit.

    benches/index.py [--tests 100000] [--keep]

Writes the documents of runs of so many tests, one in ten of which failed. The limit is what the same server takes of the
same documents as finished bulk requests on one connection, in turn with ours. Then asks what people ask. With --keep, writes
benches/results/index.md.
"""

import argparse
import os
import statistics
import subprocess

import record

BOUND = 0.8


def measured(tests):
    """What the measurement prints, as rows."""
    command = ["cargo", "test", "--locked", "--workspace", "--test", "integration", "--"]
    arguments = ["--ignored", "--nocapture", "--exact", "index::measure::documents_a_second"]
    output = subprocess.run(
        [*command, *arguments],
        cwd=record.TOP, env={**os.environ, "SEAGULL_BENCH_TESTS": str(tests)}, text=True, stdout=subprocess.PIPE, check=True,
    ).stdout
    return [line.split("|") for line in output.splitlines() if "|" in line]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tests", type=int, default=100_000)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    rows = measured(options.tests)
    rates = {}
    for row in rows:
        if len(row) == 4:
            rates.setdefault(row[0], []).append(float(row[3]))
    lines = [f"# index: runs of {options.tests:,} tests", "", *record.circumstances(), ""]
    lines += ["| into | documents a second: median (spread) |", "|---|---|"]
    lines += [f"| {name} | {record.spread(rate, ',.0f')} |" for name, rate in rates.items()]
    if "raw bulk" in rates:
        ratio = statistics.median(ours / raw for ours, raw in zip(rates["elasticsearch"], rates["raw bulk"]))
        lines += ["", "| judged | | bound | met |", "|---|---|---|---|"]
        lines += [f"| ours to raw, median of the rounds | {ratio:.2f} | {BOUND} | {'yes' if ratio >= BOUND else 'no'} |"]
    lines += ["", "| asked | of | seconds |", "|---|---|---|"]
    lines += [f"| {what} | {backend} | {seconds} |" for backend, what, seconds in (row for row in rows if len(row) == 3)]
    lines += ["", *(f"- {row[0]}: {row[1]}" for row in rows if len(row) == 2)]
    record.write("index" if options.keep else None, lines)


if __name__ == "__main__":
    main()
