"""A price for groups that are served too rarely.

A group's served rate should reach a share of the whole batch's, `Options.floor`. The price is added to every call of
the group's members, so that the flow still decides who among them is called, and by whom; it is no part of the utility.
How much to add follows from the duals: a member left out would have been called for so many more points.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from services.matching.domain.model import Problem
from services.matching.solver.tables import Bools, Ints, Tables

MARGIN = 0.03
"""A price is raised for so much more than the floor, so that it need not be raised again and again."""
OVERSHOOT = 0.5
SMALLEST_STEP = 10
SMALLEST_GROUP = 20
"""Below this a rate is chance, and a price for it would favour single people."""


@dataclass(frozen=True)
class Groups:
    """Names and members, [G, C]."""

    names: tuple[str, ...]
    members: Bools

    def served(self, matched: Bools) -> dict[str, float]:
        """Each group's served rate over the whole batch's; empty when nobody is served."""
        overall = matched.mean() if len(matched) else 0.0
        if not overall:
            return {}
        rates = (self.members & matched).sum(axis=1) / self.members.sum(axis=1) / overall
        return dict(zip(self.names, rates.tolist(), strict=True))

    def bonus(self, prices: Mapping[str, int]) -> Ints:
        """[C]: the prices of each candidate's groups, added up."""
        price = np.array([prices.get(name, 0) for name in self.names], dtype=np.int64)
        return price @ self.members.astype(np.int64)


def watched(problem: Problem) -> Groups:
    """The groups that candidates name and that have at least SMALLEST_GROUP members, by name."""
    rows: dict[str, list[int]] = {}
    for row, candidate in enumerate(problem.candidates):
        for name in candidate.groups:
            rows.setdefault(name, []).append(row)
    names = sorted(name for name, members in rows.items() if len(members) >= SMALLEST_GROUP)
    members = np.zeros((len(names), len(problem.candidates)), dtype=np.bool_)
    for number, name in enumerate(names):
        members[number, rows[name]] = True
    return Groups(tuple(names), members)


def ceiling(tables: Tables) -> int:
    """No price is higher: it is worth more than any call, so more of it changes nothing but order."""
    return 3 * int((tables.weights.base + tables.wait).max(initial=0))


def raised(
    groups: Groups,
    prices: Mapping[str, int],
    matched: Bools,
    net: Ints,
    reachable: Bools,
    *,
    floor: float,
    ceiling: int,
) -> dict[str, int]:
    """The prices for the next round: equal to `prices` when every group is served enough or can't be.

    `floor` is the share of the whole batch's served rate that is enough;
    `net` [C] the most a candidate nets at the present prices, at most 0 for those left out; `reachable` [C] whether
    any call is possible. A group's price grows by what the last member still needed is short of, and once more by
    OVERSHOOT of it because the others then pay more as well.
    """
    overall = matched.mean() if len(matched) else 0.0
    after = dict(prices)
    for name, members in zip(groups.names, groups.members, strict=True):
        size, served = int(members.sum()), int((members & matched).sum())
        missing = int(np.ceil(min(1.0, floor + MARGIN) * overall * size)) - served
        out = np.sort(-np.minimum(0, net[members & ~matched & reachable]))
        if served < floor * overall * size and len(out):
            short = max(SMALLEST_STEP, int(out[min(missing, len(out)) - 1] * (1 + OVERSHOOT)))
            after[name] = min(ceiling, prices.get(name, 0) + short)
    return after
