"""Runs what the file with the ids names, and reports it as JUnit XML. A test's name says what it comes to."""

import os
import subprocess
import sys
import time
from xml.sax.saxutils import quoteattr

BODIES = {
    "fails": '<failure message="1 is not 2">at cart.txt:3</failure><system-out>said &amp; done</system-out>',
    "breaks": '<error message="no connection"/>',
    "skips": '<skipped message="not today"/>',
    "recovers": '<flakyFailure message="the first time"/>',
}


def is_first(name):
    """Whether a test has never run before."""
    try:
        os.close(os.open(os.path.join(os.environ["MEETING_PLACE"], name), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def main(ids, junit):
    tests = [line.rstrip("\n").split("::") for line in open(ids)]
    with open(os.path.join(os.environ["MEETING_PLACE"], "batches"), "a") as batches:
        batches.write("%d\n" % len(tests))
    cases = []
    for scope, name in tests:
        if name.startswith("crashes"):
            os.kill(os.getpid(), 9)
        if name.startswith("shakes") and is_first(name):
            print("it shook", flush=True)
            os.kill(os.getpid(), 9)
        if name.startswith("hangs"):
            subprocess.run(["sleep", "600"])
        if name.startswith("bails"):
            break
        if name.startswith("is_left_out"):
            continue
        time.sleep(0.001)
        case = "<testcase classname=%s name=%s time='0.001'>%s</testcase>"
        cases.append(case % (quoteattr(scope), quoteattr(name), BODIES.get(name.split("_")[0], "")))
    with open(junit, "w") as report:
        report.write("<testsuite>%s</testsuite>" % "".join(cases))
    bad = any(name.startswith(("fails", "breaks", "bails", "spoils")) for _, name in tests)
    sys.exit(3 if bad else 0)


main(*sys.argv[1:])
