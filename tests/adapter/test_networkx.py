"""A real suite of thousands of tests has plain pytest's outcomes. Takes minutes: only if SEAGULL_TEST_NETWORKX is set."""

import json
import os
import unittest

from driver import for_each_python, named, outcomes, run_all, ids_of

TELLER = """
    import json
    found = {}
    def pytest_runtest_logreport(report):
        rank = ["passed", "skipped", "failed"]
        found[report.nodeid] = max(found.get(report.nodeid, "passed"), report.outcome, key=rank.index)
    def pytest_sessionfinish():
        with open("found", "w") as file:
            json.dump(found, file)
"""


@unittest.skipUnless(os.environ.get("SEAGULL_TEST_NETWORKX"), "SEAGULL_TEST_NETWORKX is not set")
@for_each_python
class Networkx:
    def test_outcomes_are_plain_pytests(self):
        if not self.has("networkx"):
            self.skipTest("no networkx here")
        suite = self.suite({"teller.py": TELLER})
        args = ["--pyargs", "networkx"]
        self.plain(suite, "-p", "teller", "-o", "pythonpath=.", *args)
        plain = json.loads(suite.read("found"))
        self.assertGreater(len(plain), 5000)
        events = run_all(self.python, suite.folder, args)
        tests = ids_of(events)
        lazy = run_all(self.python, suite.folder, args, tests=tests)
        for ran in (events, lazy):
            short = {test: outcome.split()[0] for test, outcome in outcomes(ran, tests).items()}
            self.assertEqual(short, plain)
            self.assertEqual(named(ran, "missing") + named(ran, "suite_error"), [])


if __name__ == "__main__":
    unittest.main()
