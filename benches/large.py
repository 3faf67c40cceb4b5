#!/usr/bin/env python3
"""What a large fleet costs: 10,000 executors and 4 million tests in one scheduler's core, and 1,000 executors simulated.

    benches/large.py [--executors 10000] [--simulated 1000] [--tests 20000]

The first part is the bench `large` of the scheduler's core: what each step takes, and the memory. The second plays a history
of so many simulated executors and tests, with faults, in virtual time. Writes benches/results/large.md.
"""

import argparse
import os
import subprocess

import record


def core(executors):
    """What the bench prints, as lines."""
    command = ["cargo", "bench", "--locked", "--profile", "dev", "--workspace", "--bench", "large"]
    said = subprocess.run([*command, "--", str(executors)], cwd=record.TOP, text=True, stdout=subprocess.PIPE, check=True)
    return said.stdout.strip().splitlines()


def history(executors, tests):
    """What a history of a large fleet comes to, in a line."""
    command = ["cargo", "test", "--locked", "--workspace", "--test", "histories", "--", "a_large_fleet"]
    size = {"SEAGULL_SIM_EXECUTORS": str(executors), "SEAGULL_SIM_TESTS": str(tests)}
    said = subprocess.run(command, cwd=record.TOP, env={**os.environ, **size}, text=True, stderr=subprocess.PIPE, check=True)
    return next(line for line in said.stderr.splitlines() if "steps of cores" in line)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executors", type=int, default=10_000)
    parser.add_argument("--simulated", type=int, default=1000)
    parser.add_argument("--tests", type=int, default=20_000)
    options = parser.parse_args()
    steps, played = core(options.executors), history(options.simulated, options.tests)
    lines = [f"# large: {options.executors} executors", "", *record.circumstances(), "", *steps, ""]
    lines += [f"A history in virtual time, of {played}."]
    record.write("large", lines)


if __name__ == "__main__":
    main()
