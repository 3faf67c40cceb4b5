#!/usr/bin/env python3
"""Holds a run's JUnit report against those of plain pytest runs: the same tests, each with the same verdict.

    tests/same_verdicts.py OURS PLAIN...

A test that differs between the plain runs has no verdict of its own, and is only counted. Exit code 1 if a verdict
differs.
"""

import sys
import xml.etree.ElementTree as xml

WORSE = ["passed", "skipped", "failed"]
KINDS = {"skipped": "skipped", "failure": "failed", "error": "failed"}


def verdicts(path):
    """The verdict of each testcase. A test whose teardown failed too is in a plain report twice, and a file that skips
    itself is in it, without a class, though it is no test."""
    worst = {}
    for case in xml.parse(path).iter("testcase"):
        if not case.get("classname"):
            continue
        test = f"{case.get('classname')}::{case.get('name')}"
        verdict = max((KINDS.get(child.tag, "passed") for child in case), key=WORSE.index, default="passed")
        worst[test] = max(verdict, worst.get(test, "passed"), key=WORSE.index)
    return worst


def main(ours, *plain):
    ours, first, *others = [verdicts(path) for path in (ours, *plain)]
    unstable = {test for other in others for test in first.keys() | other.keys() if first.get(test) != other.get(test)}
    differ = {test for test in first.keys() | ours.keys() if first.get(test) != ours.get(test)} - unstable
    print(f"{len(ours)} tests here, {len(first)} in plain pytest: {len(differ)} verdicts differ"
          f"{f', and {len(unstable)} between the plain runs' if others else ''}")
    for test in sorted(differ)[:50]:
        print(f"  {test}: plain {first.get(test)}, here {ours.get(test)}")
    return 1 if differ or not ours else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
