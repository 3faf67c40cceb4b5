"""What benchmarks are judged by: bounds, best variants, noise, slopes."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "benches"))

import judge
from compare import Measured


def rounds(**variants):
    """Rounds from each variant's (wall, CPU) in them."""
    names = [name.replace("_", "-") for name in variants]
    return [
        {name: Measured(wall, cpu, [0]) for name, (wall, cpu) in zip(names, taken)} for taken in zip(*variants.values())
    ]


def judged(suite, **variants):
    return {row.what: row[1:] for row in judge.judge(suite, rounds(**variants))}


PLAIN = [(12.0, 12.0), (12.1, 12.1), (12.2, 12.2)]
SEAGULL = [(6.5, 13.0)] * 3
LOAD = [(9.0, 16.1)] * 3
LOADFILE = [(10.0, 14.1)] * 3


class Overhead(unittest.TestCase):
    def overheads(self, **variants):
        return [row for what, row in judged("attrs", **variants).items() if "overhead" in what]

    def test_it_may_be_a_quarter_of_the_xdist_with_the_best_wall(self):
        xdist, ours = self.overheads(plain=PLAIN, seagull=SEAGULL, xdist_load=LOAD, xdist_loadfile=LOADFILE)
        self.assertEqual(xdist, ("4.00 s", "≥ 0.60 s", "yes"))
        self.assertEqual(ours, ("0.90 s", "≤ 1.00 s (a quarter of xdist-load's, 1.00 s)", "yes"))

    def test_it_may_be_one_more_start_and_collection_if_that_is_more(self):
        slow = [(6.5, 13.6)] * 3
        for cpu, met in ((1.6, "yes"), (0.2, "no")):
            collected = [(cpu, cpu)] * 3
            _, ours = self.overheads(plain=PLAIN, seagull=slow, xdist_load=LOAD, collect_only=collected)
            bound = f"a quarter of xdist-load's, 1.00 s, or one more start and collection, {cpu:.2f} s"
            self.assertEqual(ours, ("1.50 s", f"≤ {max(cpu, 1):.2f} s ({bound})", met))

    def test_it_is_not_judged_where_plain_varies_as_much(self):
        noisy = [(12.0, 10.0), (12.1, 12.1), (12.2, 12.2)]
        xdist, ours = self.overheads(plain=noisy, seagull=SEAGULL, xdist_load=LOAD)
        self.assertEqual((xdist[1:], ours[2]), (("≥ 6.60 s", "no"), "not judged"))


class Ratios(unittest.TestCase):
    def test_walls_are_ratios_of_the_same_round(self):
        ours = [(6.0, 13.0), (9.0, 13.0), (4.0, 13.0)]
        theirs = [(12.0, 14.0), (10.0, 14.0), (10.0, 14.0)]
        row = judged("pandas-series", seagull=ours, xdist_load=theirs)["wall, seagull / xdist-load"]
        self.assertEqual(row, ("0.500 (0.400-0.900)", "≤ 0.65", "yes"))
        row = judged("attrs", seagull=ours, xdist_load=theirs)["wall, seagull / xdist-load"]
        self.assertEqual(row, ("0.500 (0.400-0.900)", "none", "not judged"))

    def test_split_is_to_be_beaten_on_what_takes_long(self):
        ours, split, short = [(6.5, 13.0)] * 3, [(6.25, 13.0)] * 3, [(9.9, 9.9)] * 3
        for plain, bound in ((PLAIN, ("≤ 1", "no")), (short, ("≤ 1.1", "yes"))):
            row = judged("attrs", plain=plain, seagull=ours, split=split)["wall, seagull / split"]
            self.assertEqual(row, ("1.040 (1.040-1.040)", *bound))

    def test_discovery_is_held_to_collection_alone(self):
        rows = judged("pandas", collect_only=[(10.0, 10.0)], discover=[(10.5, 11.5)])
        self.assertEqual([row[1:] for row in rows.values()], [("≤ 1.1", "no"), ("≤ 1.1", "yes")])

    def test_what_did_not_run_is_not_judged(self):
        self.assertEqual(judged("attrs", plain=PLAIN, collect_only=PLAIN), {})
        self.assertEqual(judge.table([]), [])


class Slope(unittest.TestCase):
    def test_one_more_test_costs_what_two_sizes_differ_by(self):
        sizes = {
            50_000: rounds(plain=[(1, 10.0), (1, 10.0)], seagull=[(1, 20.0), (1, 20.0)]),
            250_000: rounds(plain=[(1, 50.0), (1, 54.0)], seagull=[(1, 82.0), (1, 70.0)]),
        }
        [row] = judge.slope(sizes)
        self.assertEqual(row.what, "CPU of one more test, from 50000 to 250000: seagull's beyond plain's 0.210 ms")
        self.assertEqual(row[1:], ("0.070 (0.030-0.110) ms", "≤ 0.1 ms", "yes"))
