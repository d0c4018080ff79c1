"""Whose served rate is watched.

Maximizing fit starves people whose supply is thin, which a queue would not. Every candidate belongs to a few
groups; the solver pays a price for the ones that fall behind (see `services.matching.solver.floors`).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from services.matching.domain.model import Candidate, Volunteer

NARROW_MINUTES = 120
"""Stated hours a week up to which they count as narrow: four half-hour calls."""


def with_groups(candidates: Iterable[Candidate], volunteers: Iterable[Volunteer]) -> tuple[Candidate, ...]:
    """The candidates with `groups` set: place, language, narrow hours, states with few volunteers.

    A state has few volunteers when it has less than half as many per candidate as the whole batch.
    """
    people = tuple(candidates)
    supply = Counter(v.state for v in volunteers)
    demand = Counter(c.state for c in people)
    overall = supply.total() / max(1, len(people))
    scarce = {s for s, n in demand.items() if s is not None and supply[s] / n < overall / 2}
    return tuple(replace(c, groups=_groups(c, scarce)) for c in people)


def _groups(candidate: Candidate, scarce: set[str]) -> tuple[str, ...]:
    groups = [f"place:{candidate.urbanicity}"] if candidate.urbanicity else []
    groups.append("language:english" if "en" in candidate.languages else "language:other")
    if candidate.slots is None and sum(w.minutes for w in candidate.windows) <= NARROW_MINUTES:
        groups.append("hours:narrow")
    if candidate.state in scarce:
        groups.append("state:few_volunteers")
    return tuple(groups)
