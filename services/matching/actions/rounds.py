"""One round of matching: read what there is, and later commit what the solver proposes.

The solver works on a snapshot outside any transaction. What changed meanwhile is found at commit: people who no
longer wait, hours that were changed, pairs that were blocked; and, by the constraints of `bookings` and
`volunteer_weeks`, time and caps that others took. Who loses stays in the queue for the next round.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

from services.matching.domain import calls
from services.matching.domain.availability import zone_of
from services.matching.domain.explain import explain, explain_waiting
from services.matching.domain.fairness import with_groups
from services.matching.domain.model import (
    Assignment,
    Booking,
    Candidate,
    Horizon,
    Problem,
    Solution,
    Volunteer,
    Weights,
    cap_label,
)
from services.matching.store import availability, bookings, queue, rounds
from services.matching.store.bookings import Hold
from shared import timers
from shared.errors import TryAgain
from shared.events.envelope import new_id
from shared.events.matching import MatchOffered, Purpose
from shared.program import Program
from shared.program.pipeline import OneOnOne
from shared.work import Work

PURPOSE: Purpose = "one_on_one"
LOOK_AGAIN = timedelta(hours=1)
"""People who were left waiting are looked at again after this, even if nothing is known to have changed."""
NOBODY = "nobody"


class Superseded(TryAgain):
    """Another process leads by now: what this one solved is dropped, and nothing of it was written."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A problem, and the business time at which it was read."""

    problem: Problem
    taken_at: datetime


@dataclass(frozen=True, slots=True)
class Committed:
    """What a round led to: calls held, and proposals that lost to something that came in between."""

    held: tuple[UUID, ...]
    lost: int


async def due(work: Work, batch_minutes: int) -> bool:
    """Whether a round is due: somebody new waited long enough, many are new, hours changed, or an hour has passed."""
    pressure = await work.connection.fetchrow(queue.GET_PRESSURE, PURPOSE)
    assert pressure is not None
    if not pressure["waiting"]:
        return False
    ripe = work.now - timedelta(minutes=batch_minutes)
    considered = pressure["oldest_considered"]
    return bool(
        pressure["fresh"] >= work.program.one_on_one.batch_people
        or (pressure["oldest_fresh"] is not None and pressure["oldest_fresh"] <= ripe)
        or (pressure["supply_changed"] is not None and pressure["supply_changed"] <= ripe)
        or (considered is not None and considered <= work.now - max(LOOK_AGAIN, timedelta(minutes=batch_minutes)))
    )


async def snapshot(work: Work) -> Snapshot:
    """Everybody who waits with stated hours, everybody who gives hours, and what stands already."""
    rules = work.program.one_on_one
    horizon = Horizon(calls.first_start(work.now, rules), rules.horizon_days, rules.call_minutes)
    waiting = await work.connection.fetch(queue.FIND_WAITING, PURPOSE)
    giving = await work.connection.fetch(rounds.FIND_VOLUNTEERS)
    ids = [row["person_id"] for row in (*waiting, *giving)]
    hours = await availability.get_many(work.connection, ids)
    blocks, conflicts = await _blocks(work)
    used = await bookings.get_used(work.connection, [row["person_id"] for row in giving])
    candidates = tuple(_candidate(row, hours[row["person_id"]], blocks) for row in waiting)
    weeks = cache(lambda zone: _weeks(horizon, zone))
    volunteers = tuple(_volunteer(row, hours[row["person_id"]], blocks, used, weeks, rules) for row in giving)
    pairs = await work.connection.fetch(rounds.GET_PAIRS)
    problem = Problem(
        horizon=horizon,
        weights=Weights.from_mapping(rules.weights.model_dump()),
        candidates=with_groups(candidates, volunteers) if rules.fairness.floors else candidates,
        volunteers=volunteers,
        bookings=await _bookings(work, horizon),
        conflicts=conflicts,
        never_again=frozenset((row["prospect_id"], row["volunteer_id"]) for row in pairs),
        cap_period="iso_week",
    )
    return Snapshot(problem, work.now)


async def _blocks(work: Work) -> tuple[Mapping[UUID, set[UUID]], frozenset[tuple[Any, Any]]]:
    blocks: dict[UUID, set[UUID]] = defaultdict(set)
    conflicts: set[tuple[UUID, UUID]] = set()
    for row in await work.connection.fetch(rounds.GET_BLOCKS):
        one, other = row["person_id"], row["other_id"]
        if row["kind"] == "block":
            blocks[one].add(other)
        else:
            conflicts |= {(one, other), (other, one)}
    return blocks, frozenset(conflicts)


async def _bookings(work: Work, horizon: Horizon) -> tuple[Booking, ...]:
    """Taken time in either role, and hours that somebody let go, which are not offered to them again."""
    found: list[Booking] = []
    for prospect, volunteer, start, end in await bookings.find_taken(work.connection, horizon.start, horizon.end):
        found.append(Booking(volunteer, start, end, prospect))
        found.append(Booking(prospect, start, end, volunteer))  # somebody may be both, on either side
    for person, by_volunteer, start, end in await bookings.find_let_go(work.connection, horizon.start, horizon.end):
        found.append(Booking(person, start, end) if by_volunteer else Booking(NOBODY, start, end, person))
    return tuple(found)


def _candidate(row: Mapping[str, Any], hours: availability.Availability, blocks: Mapping[UUID, set[UUID]]) -> Candidate:
    facts = row["facts"]
    return Candidate(
        id=row["person_id"],
        zone=zone_of(hours.time_zone),
        windows=hours.windows,
        absent=frozenset(hours.away),
        languages=frozenset(row["languages"] or [row["language"]]),
        state=row["state"],
        urbanicity=facts.get("urbanicity"),
        tracks=frozenset(row["tracks"]),
        blocks=frozenset(blocks.get(row["person_id"], ())),
        waiting_since=row["since"],
        credit_hours=row["credit_hours"],
        district=facts.get("district"),
        office=row["office"],
        wants_lived=frozenset(facts.get("wants_lived") or ()),
        needs_experience=facts.get("needs_experience"),
        requires_gender=facts.get("requires_gender"),
    )


def _weeks(horizon: Horizon, zone: ZoneInfo) -> frozenset[str]:
    """The ISO weeks that the horizon touches in this zone."""
    days = range(horizon.days + 1)
    return frozenset(cap_label("iso_week", horizon.start + timedelta(days=day), zone) for day in days)


def _volunteer(
    row: Mapping[str, Any],
    hours: availability.Availability,
    blocks: Mapping[UUID, set[UUID]],
    used: Mapping[tuple[UUID, str], int],
    weeks: Callable[[ZoneInfo], frozenset[str]],
    rules: OneOnOne,
) -> Volunteer:
    facts, zone = row["facts"], zone_of(hours.time_zone)
    cap = rules.weekly_cap_default if hours.weekly_cap is None else hours.weekly_cap
    return Volunteer(
        id=row["person_id"],
        zone=zone,
        windows=hours.windows,
        absent=frozenset(hours.away),
        languages=frozenset(row["languages"] or [row["language"]]),
        state=row["state"],
        urbanicity=facts.get("urbanicity"),
        tracks=frozenset(row["tracks"]),
        blocks=frozenset(blocks.get(row["person_id"], ())),
        weekly_cap=cap,
        gender=facts.get("gender"),
        offices=frozenset(facts.get("offices") or ()) | frozenset({row["office"]} if row["office"] else ()),
        lived=frozenset(facts.get("lived") or ()),
        lived_consent=bool(facts.get("lived_consent")),
        experience=facts.get("experience"),
        conflict_districts=frozenset(facts.get("conflict_districts") or ()),
        room={week: cap - used.get((row["person_id"], week), 0) for week in weeks(zone)},
    )


async def commit(work: Work, epoch: int, taken: Snapshot, solution: Solution) -> Committed:
    """Hold what the solver proposes, in one transaction. Raises `Superseded` when another leader took over."""
    if await work.connection.fetchval(rounds.CHECK_EPOCH) != epoch:
        raise Superseded(f"Epoch {epoch} has ended.")
    batch_id = new_id()
    proposed = {new_id(): match for match in solution.assignments}
    holds = _holds(proposed, taken.problem, work)
    kept = await _still_possible(work, holds, taken.taken_at)
    program = (work.program.version, work.program.content_hash)
    inserted = await bookings.insert_held(work.connection, PURPOSE, kept, work.now, program)
    held = [hold for hold in kept if hold.call_id in inserted]
    await bookings.add_used(work.connection, Counter((hold.volunteer_id, hold.week) for hold in held))
    await queue.mark_held(work.connection, sorted(hold.prospect_id for hold in held), PURPOSE, work.now)
    left = {
        cast(UUID, one.candidate_id): {
            "staff": explain_waiting(one, "staff"),
            "person": explain_waiting(one, "candidate"),
        }
        for one in solution.unmatched
    }
    await queue.mark_considered(work.connection, PURPOSE, taken.taken_at, dict(sorted(left.items())))
    await _record(work, batch_id, epoch, taken, solution, len(held))
    candidates = {candidate.id: candidate for candidate in taken.problem.candidates}
    volunteers = {volunteer.id: volunteer for volunteer in taken.problem.volunteers}
    explanations = [
        _explanation(
            h.call_id, proposed[h.call_id], candidates[h.prospect_id], volunteers[h.volunteer_id], taken.problem.horizon
        )
        for h in held
    ]
    await rounds.insert_explanations(work.connection, batch_id, explanations)
    await _announce(work, held)
    return Committed(tuple(hold.call_id for hold in held), len(holds) - len(held))


def _holds(proposed: Mapping[UUID, Assignment], problem: Problem, work: Work) -> list[Hold]:
    """In one order for every leader: rivals that insert the same rows queue up instead of deadlocking."""
    zones = {volunteer.id: volunteer.zone for volunteer in problem.volunteers}
    rules = work.program.one_on_one
    # Many calls start at the same instants.
    until = cache(lambda start: calls.hold_until(work.now, start, rules))
    week = cache(lambda start, zone: cap_label("iso_week", start, zone))
    holds = [
        Hold(
            call_id=call_id,
            prospect_id=cast(UUID, match.candidate_id),
            volunteer_id=cast(UUID, match.volunteer_id),
            starts_at=match.start,
            ends_at=match.end,
            week=week(match.start, zones[match.volunteer_id]),
            expires_at=until(match.start),
        )
        for call_id, match in proposed.items()
        if until(match.start) > work.now
    ]
    return sorted(holds, key=lambda hold: (hold.volunteer_id, hold.starts_at))


async def _still_possible(work: Work, holds: list[Hold], read_at: datetime) -> list[Hold]:
    """Those whose prospect still waits, whose pair is still allowed, and for whom the week has room."""
    waiting = await queue.lock_waiting(work.connection, sorted(hold.prospect_id for hold in holds), PURPOSE)
    rows = await work.connection.fetch(
        rounds.FIND_SPOILED,
        [hold.call_id for hold in holds],
        [hold.prospect_id for hold in holds],
        [hold.volunteer_id for hold in holds],
        read_at,
    )
    spoiled = {row["call_id"] for row in rows}
    able = [hold for hold in holds if hold.prospect_id in waiting and hold.call_id not in spoiled]
    room = await bookings.lock_weeks(
        work.connection,
        [(hold.volunteer_id, hold.week) for hold in able],
        work.program.one_on_one.weekly_cap_default,
    )
    kept: list[Hold] = []
    for hold in able:
        if room[hold.volunteer_id, hold.week] > 0:
            room[hold.volunteer_id, hold.week] -= 1
            kept.append(hold)
    return kept


def _explanation(
    call_id: UUID, match: Assignment, candidate: Candidate, volunteer: Volunteer, horizon: Horizon
) -> dict[str, Any]:
    return {
        "call_id": call_id,
        "parts": vars(match.parts),
        "utility": match.utility,
        "rank": match.rank,
        "feasible": match.feasible_volunteers,
        "slot_price": match.slot_price,
        "group_price": match.group_price,
        "said": {
            "prospect": explain(match, candidate, volunteer, horizon, "candidate"),
            "volunteer": explain(match, candidate, volunteer, horizon, "volunteer"),
            "staff": explain(match, candidate, volunteer, horizon, "staff"),
        },
    }


async def _record(work: Work, batch_id: UUID, epoch: int, taken: Snapshot, solution: Solution, committed: int) -> None:
    detail = {
        "edges": solution.edges,
        "rounds": solution.rounds,
        "group_prices": dict(solution.group_prices),
        "served": dict(solution.served),
        "seconds": dict(solution.seconds),
    }
    await work.connection.execute(
        rounds.INSERT_BATCH,
        batch_id,
        epoch,
        taken.taken_at,
        solution.method,
        len(taken.problem.candidates),
        len(taken.problem.volunteers),
        len(solution.assignments),
        committed,
        solution.utility,
        solution.bound,
        detail,
    )


async def _announce(work: Work, held: list[Hold]) -> None:
    await timers.schedule_many(work, "hold_expiry", {str(hold.call_id): hold.expires_at for hold in held})
    work.emit(
        *(
            MatchOffered(
                call_id=hold.call_id,
                prospect_id=hold.prospect_id,
                volunteer_id=hold.volunteer_id,
                purpose=PURPOSE,
                starts_at=hold.starts_at,
                ends_at=hold.ends_at,
                expires_at=hold.expires_at,
            )
            for hold in held
        )
    )


def effective_minutes(program: Program, override: int | None, environment: str) -> int:
    """The program's batch_minutes; outside production the setting, or 0, so that a trial need not wait."""
    if environment == "production":
        return program.one_on_one.batch_minutes
    return 0 if override is None else override
