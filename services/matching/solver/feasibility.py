"""The hard rules, one function each, over whole sides at once.

Candidates are rows, volunteers columns, both in the problem's order. Rules on single pairs return sets of
(row, column): they are sparse. The two rules on counts, one call per candidate and per slot, and the caps, are
capacities of the network (`flow`) and of the fallback (`greedy`).
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from services.matching.domain.availability import slot_indices
from services.matching.domain.model import Person, PersonId, Problem, Volunteer, cap_label

Bools = npt.NDArray[np.bool_]
Pairs = set[tuple[int, int]]


def stated_hours(people: Sequence[Person], problem: Problem) -> Bools:
    """[people, slots]: inside one of the person's windows, or one of the ready slots."""
    horizon = problem.horizon
    offered = np.zeros((len(people), horizon.slots), dtype=np.bool_)
    for row, person in enumerate(people):
        if person.slots is not None:
            for start in person.slots:
                number, off_grid = divmod(start - horizon.start, horizon.step)
                if not off_grid and 0 <= number < horizon.slots:
                    offered[row, number] = True
            continue
        for window in person.windows:
            found = slot_indices(window, person.zone, horizon.start, horizon.slots, horizon.slot_minutes, person.absent)
            offered[row, list(found)] = True
    return offered


def candidate_hours(problem: Problem) -> Bools:
    """[candidates, slots]: when each candidate offers to talk."""
    return stated_hours(problem.candidates, problem)


def volunteer_hours(problem: Problem) -> Bools:
    """[volunteers, slots]: when each volunteer offers to talk."""
    return stated_hours(problem.volunteers, problem)


def taken_by_candidate(problem: Problem) -> Bools:
    """[candidates, slots]: overlapped by a booking of the candidate."""
    rows = {c.id: row for row, c in enumerate(problem.candidates)}
    taken = np.zeros((len(rows), problem.horizon.slots), dtype=np.bool_)
    for booking in problem.bookings:
        if booking.candidate_id is not None and (row := rows.get(booking.candidate_id)) is not None:
            taken[row, list(problem.horizon.overlapped(booking.start, booking.end))] = True
    return taken


def taken_by_volunteer(problem: Problem) -> Bools:
    """[volunteers, slots]: overlapped by a booking of the volunteer."""
    rows = {v.id: row for row, v in enumerate(problem.volunteers)}
    taken = np.zeros((len(rows), problem.horizon.slots), dtype=np.bool_)
    for booking in problem.bookings:
        if (row := rows.get(booking.volunteer_id)) is not None:
            taken[row, list(problem.horizon.overlapped(booking.start, booking.end))] = True
    return taken


def room_left(volunteer: Volunteer, booked: int, label: str) -> int:
    """Calls the volunteer may still take in one cap period, `booked` ones counted; 0 or more."""
    if volunteer.room is not None and label in volunteer.room:
        return max(0, volunteer.room[label])
    return max(0, volunteer.weekly_cap - booked)


def booked_calls(problem: Problem) -> dict[PersonId, Counter[str]]:
    """How many bookings each volunteer has in each cap period, also outside the horizon."""
    zones = {v.id: v.zone for v in problem.volunteers}
    booked: dict[PersonId, Counter[str]] = defaultdict(Counter)
    for booking in problem.bookings:
        if (zone := zones.get(booking.volunteer_id)) is not None:
            booked[booking.volunteer_id][cap_label(problem.cap_period, booking.start, zone)] += 1
    return booked


def share_language(languages: frozenset[str], volunteers: Sequence[Volunteer]) -> Bools:
    """[volunteers]: speaks one of the candidate's languages."""
    return np.fromiter((not languages.isdisjoint(v.languages) for v in volunteers), np.bool_, len(volunteers))


def meet_requirement(required: str | None, volunteers: Sequence[Volunteer]) -> Bools:
    """[volunteers]: of the gender the candidate requires; an unknown one meets no requirement."""
    return np.fromiter((required is None or v.gender == required for v in volunteers), np.bool_, len(volunteers))


def blocked(problem: Problem) -> Pairs:
    """Pairs of which one has blocked the other."""
    rows = {c.id: row for row, c in enumerate(problem.candidates)}
    columns = {v.id: column for column, v in enumerate(problem.volunteers)}
    pairs = {(rows[c.id], columns[v]) for c in problem.candidates for v in c.blocks if v in columns}
    return pairs | {(rows[c], columns[v.id]) for v in problem.volunteers for c in v.blocks if c in rows}


def conflicting(problem: Problem) -> Pairs:
    """Pairs with a conflict of interest: the candidate's district, or the pair itself."""
    by_district: dict[str, list[int]] = defaultdict(list)
    for column, volunteer in enumerate(problem.volunteers):
        for district in volunteer.conflict_districts:
            by_district[district].append(column)
    pairs = {
        (row, column)
        for row, c in enumerate(problem.candidates)
        if c.district is not None
        for column in by_district.get(c.district, ())
    }
    return pairs | _known(problem, problem.conflicts)


def paired_before(problem: Problem) -> Pairs:
    """Pairs that must not be proposed again."""
    return _known(problem, problem.never_again)


def same_person(problem: Problem) -> Pairs:
    """One person in both roles does not call themself."""
    columns = {v.id: column for column, v in enumerate(problem.volunteers)}
    return {(row, columns[c.id]) for row, c in enumerate(problem.candidates) if c.id in columns}


def _known(problem: Problem, pairs: frozenset[tuple[PersonId, PersonId]]) -> Pairs:
    if not pairs:
        return set()
    rows = {c.id: row for row, c in enumerate(problem.candidates)}
    columns = {v.id: column for column, v in enumerate(problem.volunteers)}
    return {(rows[c], columns[v]) for c, v in pairs if c in rows and v in columns}


def forbidden(problem: Problem) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """All forbidden pairs as (rows, columns), sorted by row."""
    pairs = sorted(blocked(problem) | conflicting(problem) | paired_before(problem) | same_person(problem))
    array = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def candidate_free(problem: Problem) -> Bools:
    """[candidates, slots]: offered and not taken."""
    return candidate_hours(problem) & ~taken_by_candidate(problem)


def volunteer_free(problem: Problem) -> Bools:
    """[volunteers, slots]: offered and not taken; caps aside."""
    return volunteer_hours(problem) & ~taken_by_volunteer(problem)
