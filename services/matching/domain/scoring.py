"""How well two people fit, in points of the program's weights.

One function for each part, each of a few attributes: the solver tabulates them over the distinct values that
occur, the explanation calls `score` for one pair, so the two cannot disagree. What is unknown scores between
the best and the worst answer; a field left empty on purpose (undecided office, no preference) has a weight of
its own.
"""

from collections.abc import Set as AbstractSet

from services.matching.domain.model import Candidate, Horizon, ScoreParts, Volunteer, Weights

# The nine divisions of the US Census Bureau; it assigns the territories to none, so they form a tenth.
_DIVISIONS = (
    "CT ME MA NH RI VT",
    "NJ NY PA",
    "IL IN MI OH WI",
    "IA KS MN MO NE ND SD",
    "DE DC FL GA MD NC SC VA WV",
    "AL KY MS TN",
    "AR LA OK TX",
    "AZ CO ID MT NV NM UT WY",
    "AK CA HI OR WA",
    "PR VI GU AS MP",
)
DIVISION = {state: number for number, states in enumerate(_DIVISIONS, start=1) for state in states.split()}


def location(candidate: str | None, volunteer: str | None, weights: Weights) -> int:
    """Two postal state codes; an unknown one scores as the same division."""
    if candidate is None or volunteer is None:
        return weights.same_division
    if candidate == volunteer:
        return weights.same_state
    division = DIVISION.get(candidate)
    return weights.same_division if division is not None and division == DIVISION.get(volunteer) else 0


def office(candidate: str | None, volunteer: AbstractSet[str], weights: Weights) -> int:
    """The office sought against those the volunteer knows; undecided has its own weight."""
    if candidate is None:
        return weights.office_undecided
    return weights.office if candidate in volunteer else 0


def track(candidate: AbstractSet[str], volunteer: AbstractSet[str], weights: Weights) -> int:
    """Shared tracks, up to `track_max` of them."""
    return weights.track_each * min(weights.track_max, len(candidate & volunteer))


def place(candidate: str | None, volunteer: str | None, weights: Weights) -> int:
    """The same kind of place (rural, urban, …); unknown scores half."""
    if candidate is None or volunteer is None:
        return weights.urbanicity // 2
    return weights.urbanicity if candidate == volunteer else 0


def lived(wanted: AbstractSet[str], volunteer: AbstractSet[str], weights: Weights) -> int:
    """Any of the lived experiences the candidate asks for; no preference has its own weight."""
    if not wanted:
        return weights.lived_no_pref
    return weights.lived if wanted & volunteer else 0


def experience(needed: int | None, volunteer: int | None, weights: Weights) -> int:
    """Enough experience or too little; when the volunteer's is unknown, between the two."""
    if not needed:
        return weights.exp_ok
    if volunteer is None:
        return (weights.exp_ok + weights.exp_short) // 2
    return weights.exp_ok if volunteer >= needed else weights.exp_short


def soon(day: int, weights: Weights) -> int:
    """Points for a call `day` × 24 hours after the horizon's start."""
    return max(0, weights.soon_max - weights.soon_per_day * day)


def wait(candidate: Candidate, horizon: Horizon, weights: Weights) -> int:
    """Points for the full hours waited at the horizon's start, credit included; never negative."""
    hours = (horizon.start - candidate.waiting_since).total_seconds() // 3600 + candidate.credit_hours
    return max(0, int(hours * weights.wait_per_day // 24))


def score(candidate: Candidate, volunteer: Volunteer, slot: int, horizon: Horizon, weights: Weights) -> ScoreParts:
    """All parts for one call in slot number `slot`; says nothing about whether it is allowed."""
    return ScoreParts(
        base=weights.base,
        location=location(candidate.state, volunteer.state, weights),
        office=office(candidate.office, volunteer.offices, weights),
        track=track(candidate.tracks, volunteer.tracks, weights),
        place=place(candidate.urbanicity, volunteer.urbanicity, weights),
        lived=lived(candidate.wants_lived, volunteer.lived, weights),
        experience=experience(candidate.needs_experience, volunteer.experience, weights),
        soon=soon(slot // horizon.slots_per_day, weights),
        wait=wait(candidate, horizon, weights),
    )
