"""From a match to sentences: codes with arguments, which templates translate.

What may be said depends on who reads. A lived experience is named only to the candidate, and only when the
volunteer agreed to it. Blocks, a gender requirement, conflicts and earlier pairings are never told to either
person, nor is a candidate's own wish for a lived experience told to the volunteer; staff see the reason code.
"""

from typing import Literal

from services.matching.domain.model import Assignment, Candidate, Horizon, Reason, Unmatched, Volunteer
from services.matching.domain.scoring import DIVISION

Audience = Literal["candidate", "volunteer", "staff"]
Sentence = dict[str, str | int]

COMMON_LANGUAGE = "en"
"""Worth no sentence when it is the only shared one."""


def explain(
    match: Assignment, candidate: Candidate, volunteer: Volunteer, horizon: Horizon, audience: Audience
) -> list[Sentence]:
    """What the two share, strongest first; each `code` with the arguments its sentence needs.

    Codes: same_state(state), same_region, knows_office(office), shared_track(track), same_place(urbanicity),
    shared_lived(lived), experienced, speaks(language), earliest_shared_time, waited(days); for staff also
    rank(rank, of) and slot_price(points).
    """
    said: list[Sentence] = []
    if candidate.state is not None and volunteer.state is not None:
        division = DIVISION.get(candidate.state)
        if candidate.state == volunteer.state:
            said.append({"code": "same_state", "state": candidate.state})
        elif division is not None and division == DIVISION.get(volunteer.state):
            said.append({"code": "same_region"})
    if candidate.office is not None and candidate.office in volunteer.offices:
        said.append({"code": "knows_office", "office": candidate.office})
    said += [{"code": "shared_track", "track": t} for t in sorted(candidate.tracks & volunteer.tracks)]
    shared = candidate.languages & volunteer.languages
    if shared != {COMMON_LANGUAGE}:
        said += [{"code": "speaks", "language": x} for x in sorted(shared - {COMMON_LANGUAGE})]
    if audience == "candidate" and volunteer.lived_consent:
        said += [{"code": "shared_lived", "lived": x} for x in sorted(candidate.wants_lived & volunteer.lived)]
    if candidate.urbanicity is not None and candidate.urbanicity == volunteer.urbanicity:
        said.append({"code": "same_place", "urbanicity": candidate.urbanicity})
    if candidate.needs_experience and (volunteer.experience or 0) >= candidate.needs_experience:
        said.append({"code": "experienced"})
    if match.earliest_shared:
        said.append({"code": "earliest_shared_time"})
    days = (horizon.start - candidate.waiting_since).days
    if audience != "volunteer" and days >= 1:
        said.append({"code": "waited", "days": days})
    if audience == "staff":
        said.append({"code": "rank", "rank": match.rank, "of": match.feasible_volunteers})
        if match.slot_price is not None:
            said.append({"code": "slot_price", "points": match.slot_price})
    return said


_PUBLIC = {
    Reason.NO_HOURS: "add_hours",
    Reason.NO_SHARED_LANGUAGE: "no_shared_language",
    Reason.NO_SHARED_HOURS: "no_shared_hours",
}


def explain_waiting(left: Unmatched, audience: Audience) -> Sentence:
    """Why somebody still waits. To the person, whatever rests on a safety rule reads as plain waiting."""
    if audience == "staff":
        return {
            "code": left.reason.value,
            "with_room": left.with_room,
            "sharing_language": left.sharing_language,
            "meeting_requirement": left.meeting_requirement,
            "permitted": left.permitted,
            "sharing_hours": left.sharing_hours,
        }
    return {"code": _PUBLIC.get(left.reason, "waiting_for_volunteers")}
