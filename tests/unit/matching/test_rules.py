"""Every hard rule holds on dense instances, and taking any one away is noticed by the oracle."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from random import Random
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from services.matching.domain.availability import Window
from services.matching.domain.model import (
    Booking,
    Candidate,
    Horizon,
    Problem,
    ProblemError,
    Reason,
    Volunteer,
    Weights,
)
from services.matching.solver import feasibility, flow
from services.matching.solver.batch import Options, optimize, solve, starting_edges
from services.matching.solver.instance import load_instance
from services.matching.solver.tables import Tables
from tests.unit.matching import instances, oracle


class Dense:
    """A dense instance with the rules the file format lacks: conflicting and earlier pairs, busy candidates, one
    person in both roles."""

    def __init__(self, seed: int) -> None:
        rng = Random(seed)
        self.raw = instances.dense(seed, candidates=250, volunteers=60)
        for candidate, volunteer in zip(self.raw["candidates"][:40], self.raw["volunteers"], strict=False):
            candidate |= {"id": volunteer["id"], "avail": volunteer["avail"], "tz": volunteer["tz"]}
        candidates = [c["id"] for c in self.raw["candidates"]]
        volunteers = [v["id"] for v in self.raw["volunteers"]]
        self.conflicts = frozenset((c, v) for c in candidates for v in rng.sample(volunteers, 6))
        self.never_again = frozenset((c, v) for c in candidates for v in rng.sample(volunteers, 6))
        plain = load_instance(self.raw)
        self.busy: list[tuple[str, str]] = []
        own: list[Booking] = []
        for candidate in plain.candidates:
            slots = np.flatnonzero(feasibility.stated_hours([candidate], plain)[0]).tolist()
            for slot in slots[::2]:
                start = plain.horizon.instant(slot)
                self.busy.append((str(candidate.id), instances.zulu(start)))
                own.append(Booking("someone else", start, start + plain.horizon.step, candidate.id))
        self.problem = replace(
            plain,
            conflicts=frozenset(self.conflicts),
            never_again=frozenset(self.never_again),
            bookings=(*plain.bookings, *own),
        )

    def broken(self) -> set[str]:
        """The rules that the solver's own choice breaks, before anything tidies it."""
        tables, options = Tables(self.problem), Options(floors=False)
        choice = optimize(tables, starting_edges(tables, options), options, lambda _: None, {})
        answer = [
            {
                "candidate": str(self.problem.candidates[c].id),
                "volunteer": str(self.problem.volunteers[tables.slot_volunteer[s]].id),
                "start_utc": instances.zulu(self.problem.horizon.instant(int(tables.slot_time[s]))),
            }
            for c, s in zip(choice.candidate.tolist(), choice.slot.tolist(), strict=True)
        ]
        assert answer
        broken, _ = oracle.judge(
            self.raw, answer, conflicts=self.conflicts, never_again=self.never_again, busy=self.busy
        )
        return broken


@pytest.fixture(scope="module")
def dense() -> Dense:
    return Dense(1)


def always(value: bool) -> Callable[..., Any]:
    return lambda problem: np.full((len(problem.candidates), problem.horizon.slots), value)


def always_for_volunteers(value: bool) -> Callable[..., Any]:
    return lambda problem: np.full((len(problem.volunteers), problem.horizon.slots), value)


def everybody(_: object, volunteers: list[object]) -> Any:
    return np.ones(len(volunteers), dtype=np.bool_)


def nobody(_: object) -> set[tuple[int, int]]:
    return set()


DELETIONS = [
    (feasibility, "candidate_hours", always(True), "candidate hours"),
    (feasibility, "volunteer_hours", always_for_volunteers(True), "volunteer hours"),
    (feasibility, "taken_by_candidate", always(False), "candidate busy"),
    (feasibility, "taken_by_volunteer", always_for_volunteers(False), "one call at a time"),
    (feasibility, "room_left", lambda *_: 99, "cap"),
    (feasibility, "booked_calls", lambda _: {}, "cap"),
    (feasibility, "share_language", everybody, "language"),
    (feasibility, "meet_requirement", everybody, "gender"),
    (feasibility, "blocked", nobody, "block"),
    (feasibility, "conflicting", nobody, "conflict"),
    (feasibility, "paired_before", nobody, "never again"),
    (feasibility, "same_person", nobody, "same person"),
    (flow, "CALLS_PER_CANDIDATE", 2, "one call per candidate"),
    (flow, "CALLS_PER_SLOT", 2, "one call at a time"),
]


def test_dense_instance_is_solved_within_every_rule(dense: Dense) -> None:
    assert dense.broken() == set()


@pytest.mark.parametrize(("module", "rule", "deleted", "name"), DELETIONS, ids=[d[1] for d in DELETIONS])
def test_deleting_a_rule_is_noticed(
    dense: Dense, monkeypatch: pytest.MonkeyPatch, module: Any, rule: str, deleted: Any, name: str
) -> None:
    monkeypatch.setattr(module, rule, deleted)
    assert dense.broken() == {name}


# A pair built by hand, as the live service builds it.

WEIGHTS = Weights.from_mapping(instances.WEIGHTS)
START = datetime(2027, 1, 11, tzinfo=UTC)  # a Monday; Sunday evening in Chicago
CHICAGO = ZoneInfo("America/Chicago")
ANN, VAL, VIC = (UUID(int=n) for n in (1, 2, 3))


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """A UTC instant of the horizon's day."""
    return START + timedelta(days=day, hours=hour, minutes=minute)


def ann(**changes: Any) -> Candidate:
    person = Candidate(
        id=ANN, zone=CHICAGO, slots=(at(1, 0), at(8, 0)), languages=frozenset({"en"}), waiting_since=START
    )
    return replace(person, **changes)


def val(**changes: Any) -> Volunteer:
    person = Volunteer(id=VAL, zone=CHICAGO, slots=(at(1, 0), at(8, 0)), languages=frozenset({"en"}), weekly_cap=1)
    return replace(person, **changes)


def problem(candidates: list[Candidate], volunteers: list[Volunteer], **changes: Any) -> Problem:
    made = Problem(Horizon(START, 21, 30), WEIGHTS, tuple(candidates), tuple(volunteers))
    return replace(made, **changes)


def reason(candidate: Candidate, *volunteers: Volunteer, **changes: Any) -> Reason:
    solution = solve(problem([candidate], list(volunteers), **changes))
    assert solution.assignments == ()
    return solution.unmatched[0].reason


def test_unknown_fields_score_between_best_and_worst() -> None:
    match = solve(problem([ann()], [val()])).assignments[0]
    parts = match.parts
    assert (parts.location, parts.office, parts.track, parts.place) == (90, 105, 0, 55)
    assert (parts.lived, parts.experience, parts.soon, parts.wait) == (70, 90, 72, 0)
    assert (match.start, match.end) == (at(1, 0), at(1, 0, 30))
    assert (match.rank, match.feasible_volunteers, match.earliest_shared) == (1, 1, True)
    assert match.utility == 1000 + 410 + 72


def test_reason_is_the_first_condition_that_left_nobody() -> None:
    assert reason(ann(slots=()), val()) == Reason.NO_HOURS
    assert reason(ann()) == Reason.NO_SUPPLY
    assert reason(ann(), val(slots=())) == Reason.NO_SUPPLY
    assert reason(ann(), val(weekly_cap=0)) == Reason.NO_SUPPLY
    assert reason(ann(), val(languages=frozenset({"es"}))) == Reason.NO_SHARED_LANGUAGE
    assert reason(ann(requires_gender="woman"), val(gender="man")) == Reason.GENDER_REQUIREMENT
    assert reason(ann(requires_gender="woman"), val(gender=None)) == Reason.GENDER_REQUIREMENT
    assert reason(ann(blocks=frozenset({VAL})), val()) == Reason.NOT_PERMITTED
    assert reason(ann(), val(blocks=frozenset({ANN}))) == Reason.NOT_PERMITTED
    assert reason(ann(), val(), never_again=frozenset({(ANN, VAL)})) == Reason.NOT_PERMITTED
    assert reason(ann(), val(), conflicts=frozenset({(ANN, VAL)})) == Reason.NOT_PERMITTED
    assert reason(ann(district="IL-001"), val(conflict_districts=frozenset({"IL-001"}))) == Reason.NOT_PERMITTED
    assert reason(ann(id=VAL), val()) == Reason.NOT_PERMITTED
    assert reason(ann(), val(slots=(at(2, 0),))) == Reason.NO_SHARED_HOURS
    booked = (Booking(VIC, at(1, 0), at(1, 1), ANN), Booking(VIC, at(8, 0), at(8, 1), ANN))
    assert reason(ann(), val(), bookings=booked) == Reason.NO_HOURS


def test_reason_counts_who_is_left_after_each_condition() -> None:
    first, second = ann(waiting_since=START - timedelta(days=9)), ann(id=UUID(int=9))
    solution = solve(problem([first, second], [val(), val(id=VIC, languages=frozenset({"es"}))]))
    assert [m.candidate_id for m in solution.assignments] == [ANN]
    left = solution.unmatched[0]
    assert left.reason == Reason.ALL_TAKEN
    assert (left.with_room, left.sharing_language, left.meeting_requirement) == (2, 1, 1)
    assert (left.permitted, left.sharing_hours) == (1, 1)


def test_cap_counts_by_iso_week_of_the_volunteer() -> None:
    # Sunday 17 January, 21:00 in Chicago, is Monday 03:00 in UTC: still week 2 for the volunteer.
    hours = (at(4, 0), at(7, 3), at(8, 0))
    people = [ann(id=UUID(int=n), slots=hours) for n in range(10, 13)]
    giver = val(slots=hours, weekly_cap=1)
    weekly = solve(problem(people, [giver], cap_period="iso_week"))
    assert sorted(m.start for m in weekly.assignments) == [at(4, 0), at(8, 0)]
    assert len(solve(problem(people, [giver])).assignments) == 1


def test_booking_counts_in_its_own_week_even_before_the_horizon() -> None:
    monday_noon = Booking(VAL, START - timedelta(days=3), START - timedelta(days=3, minutes=-30))
    sunday_start = replace(problem([ann(slots=(at(0, 1),))], [val(slots=(at(0, 1),))]), cap_period="iso_week")
    # The horizon begins on Sunday evening in Chicago: that week's call was on Thursday.
    assert len(solve(sunday_start).assignments) == 1
    assert solve(replace(sunday_start, bookings=(monday_noon,))).assignments == ()


def test_room_overrides_the_count_of_bookings() -> None:
    pair = problem([ann()], [val(room={"2027-W02": 0, "2027-W03": 1})], cap_period="iso_week")
    assert [m.start for m in solve(pair).assignments] == [at(8, 0)]


def test_booking_off_the_grid_takes_every_slot_it_overlaps() -> None:
    hours = (at(1, 0), at(1, 0, 30), at(1, 1))
    booking = Booking(VAL, at(1, 0, 15), at(1, 0, 45))
    pair = problem([ann(slots=hours)], [val(slots=hours, weekly_cap=9)], bookings=(booking,))
    assert [m.start for m in solve(pair).assignments] == [at(1, 1)]


def test_wait_credit_goes_first() -> None:
    waiting = ann(id=UUID(int=7), slots=(at(1, 0),), waiting_since=START - timedelta(days=3))
    stood_up = ann(slots=(at(1, 0),), credit_hours=7 * 24)
    solution = solve(problem([waiting, stood_up], [val()]))
    assert [(m.candidate_id, m.parts.wait) for m in solution.assignments] == [(ANN, 280)]


def test_windows_of_both_sides_meet_in_utc() -> None:
    evening = Window(1, time(18), time(19))
    candidate = ann(slots=None, windows=(evening,), zone=ZoneInfo("America/New_York"))
    volunteer = val(slots=None, windows=(replace(evening, start=time(17), end=time(17, 30)),))
    matches = solve(problem([candidate], [volunteer])).assignments
    assert [m.start for m in matches] == [at(1, 23)]
    assert matches[0].earliest_shared


def test_assignments_name_people_of_both_kinds_of_id() -> None:
    pairs = Counter((m.candidate_id, m.volunteer_id) for m in solve(problem([ann(id="ann")], [val()])).assignments)
    assert pairs == {("ann", VAL): 1}


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: problem([ann(), ann()], []), "Candidate 00000000-0000-0000-0000-000000000001 appears twice"),
        (lambda: problem([], [val(), val()]), "Volunteer 00000000-0000-0000-0000-000000000002 appears twice"),
        (lambda: Horizon(START.replace(tzinfo=None), 7, 30), "aware instant"),
        (lambda: Horizon(START, 0, 30), "1 to 92 days, not 0"),
        (lambda: Horizon(START, 7, 25), "Slots of 25 minutes do not divide a day"),
        (lambda: replace(WEIGHTS, base=-1), "Weight 'base' must be a whole number from 0 to 100000, not -1"),
        (lambda: Weights.from_mapping({**instances.WEIGHTS, "charm": 1}), "Unknown matching weights charm"),
        (lambda: Weights.from_mapping({"base": 1}), "Matching weights lack exp_ok, exp_short, lived"),
    ],
)
def test_contradictions_are_refused_with_a_sentence(build: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ProblemError, match=sentence):
        build()


def test_json_of_the_dense_instance_survives_a_round_trip(dense: Dense) -> None:
    again = load_instance(json.loads(json.dumps(dense.raw)))
    assert again.candidates == dense.problem.candidates
    assert again.volunteers == dense.problem.volunteers
