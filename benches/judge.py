"""What a comparison is held to: the bounds, and whether its rounds keep them.

A round has what each variant took, `{variant: Measured}`; what a round lacks the variants for is not judged.
All figures are of the same rounds: medians of CPU seconds, and medians of each round's ratios or slopes.
"""

from statistics import median
from typing import NamedTuple

import record

QUARTER = 0.25
"""Of xdist's CPU overhead, seagull may have so much."""
NOISE = 3
"""xdist's CPU overhead judges ours only if it is so many times the spread of plain pytest's CPU seconds."""
WALL_OF_XDIST = {"networkx": 0.92, "pandas-series": 0.65}
SHORT = 10
"""Where plain pytest takes no longer, in seconds, seagull may take a bit longer than split."""
WALL_OF_SPLIT_IF_SHORT = 1.1
DISCOVERY = 1.1
"""seagull's discovery, as a part of `pytest --collect-only`."""
MARGINAL_MS = 0.1
"""CPU of one more test that does nothing, beyond plain pytest's."""


class Judged(NamedTuple):
    what: str
    measured: str
    bound: str
    met: str


def table(rows):
    """The rows as Markdown, under a heading; nothing of nothing."""
    if not rows:
        return []
    lines = ["", "## Judged", "", "| what | measured | bound | met |", "|---|---|---|---|"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def judge(suite, rounds):
    """What is judged of the rounds of one suite."""
    ran, xdist, rows = set(rounds[0]), best_xdist(rounds), []
    if xdist and {"plain", "seagull"} <= ran:
        rows += overhead(rounds, xdist)
    if xdist and "seagull" in ran:
        rows.append(ratio(rounds, "wall", "seagull", xdist, WALL_OF_XDIST.get(suite)))
    if {"plain", "seagull", "split"} <= ran:
        short = median(column(rounds, "plain", "wall")) <= SHORT
        rows.append(ratio(rounds, "wall", "seagull", "split", WALL_OF_SPLIT_IF_SHORT if short else 1))
    if {"collect-only", "discover"} <= ran:
        rows += [ratio(rounds, kind, "discover", "collect-only", DISCOVERY) for kind in ("cpu", "wall")]
    return rows


def slope(sizes):
    """What one more test costs: rounds of the same suite in two sizes, `{tests: rounds}`."""
    (few, small), (many, large) = sorted(sizes.items())
    if not {"plain", "seagull"} <= set(small[0]):
        return []
    rises = [
        {name: (more[name].cpu - less[name].cpu) * 1000 / (many - few) for name in ("plain", "seagull")}
        for less, more in zip(small, large)
    ]
    beyond = [rise["seagull"] - rise["plain"] for rise in rises]
    plain = median(rise["plain"] for rise in rises)
    what = f"CPU of one more test, from {few} to {many}: seagull's beyond plain's {plain:.3f} ms"
    return [Judged(what, f"{record.spread(beyond)} ms", f"≤ {MARGINAL_MS} ms", word(median(beyond) <= MARGINAL_MS))]


def overhead(rounds, xdist):
    """CPU beyond plain pytest's: xdist's, which must stand out from the noise to judge by, and seagull's."""
    plain = column(rounds, "plain", "cpu")
    ours, theirs = (median(column(rounds, name, "cpu")) - median(plain) for name in ("seagull", xdist))
    noise = NOISE * (max(plain) - min(plain))
    bound, why = QUARTER * theirs, f"a quarter of {xdist}'s, {QUARTER * theirs:.2f} s"
    if "collect-only" in rounds[0]:
        start = median(column(rounds, "collect-only", "cpu"))
        bound, why = max(bound, start), f"{why}, or one more start and collection, {start:.2f} s"
    what = f"CPU overhead of {xdist}; below the bound, {NOISE} times plain's spread, it judges nothing"
    return [
        Judged(what, f"{theirs:.2f} s", f"≥ {noise:.2f} s", word(theirs >= noise)),
        Judged("CPU overhead of seagull", f"{ours:.2f} s", f"≤ {bound:.2f} s ({why})",
               word(ours <= bound) if theirs >= noise else "not judged"),
    ]


def ratio(rounds, kind, ours, theirs, bound):
    """A variant against another of the same round."""
    ratios = [getattr(measured[ours], kind) / getattr(measured[theirs], kind) for measured in rounds]
    what = f"{kind}, {ours} / {theirs}"
    if bound is None:
        return Judged(what, record.spread(ratios), "none", "not judged")
    return Judged(what, record.spread(ratios), f"≤ {bound}", word(median(ratios) <= bound))


def best_xdist(rounds):
    """xdist's variant with the lowest median wall time."""
    ran = [name for name in rounds[0] if name.startswith("xdist-")]
    return min(ran, key=lambda name: median(column(rounds, name, "wall")), default=None)


def column(rounds, name, kind):
    return [getattr(measured[name], kind) for measured in rounds]


def word(met):
    return "yes" if met else "no"
