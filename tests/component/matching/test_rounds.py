"""Rounds of matching beside everything that may come in between."""

import asyncio
import datetime as dt
import gc
import signal
from dataclasses import asdict
from typing import Any
from uuid import UUID

import pytest

from services.matching.actions import rounds
from services.matching.actions.rounds import Snapshot, Superseded
from services.matching.domain.model import Person, Solution
from services.matching.leader import Leader, solved
from services.matching.settings import Settings
from services.matching.solver.batch import Options, solve
from services.matching.solver.child import Child, start
from services.matching.store.bookings import Hold, insert_held
from shared.db import TRANSIENT
from shared.events.envelope import new_id
from shared.events.matching import MatchOffered
from tests.component.matching.world import World, me, world
from tests.conftest import DatabaseFactory
from tests.harness import as_records, client_of, outbox_events, take_outbox
from tests.unit.matching import oracle
from tests.unit.matching.instances import zulu

OVERLAPS = """
    SELECT count(*) FROM bookings a JOIN bookings b ON a.call_id < b.call_id AND a.during && b.during
        AND (a.volunteer_id = b.volunteer_id OR a.prospect_id = b.prospect_id)
    WHERE a.state IN ('held', 'confirmed') AND b.state IN ('held', 'confirmed')
"""
BROKEN_WEEKS = """
    SELECT count(*) FROM volunteer_weeks w WHERE used > cap OR used <> (
        SELECT count(*) FROM bookings b WHERE b.volunteer_id = w.volunteer_id AND b.week = w.week
            AND b.state IN ('held', 'confirmed', 'completed', 'missed'))
"""


LEFTOVERS = """
    SELECT (SELECT count(*) FROM bookings), (SELECT count(*) FROM match_explanations),
           (SELECT count(*) FROM timers WHERE kind = 'hold_expiry'),
           (SELECT coalesce(sum(used), 0) FROM volunteer_weeks),
           (SELECT count(*) FROM queue_entries WHERE state = 'waiting')
"""


async def crowd(w: World, prospects: int, volunteers: int, **stated: tuple[tuple[int, str, str], ...]) -> None:
    for number in range(prospects):
        await w.add(f"P{number}", "prospect", **stated)  # type: ignore[arg-type]
    for number in range(volunteers):
        await w.add(f"V{number}", "volunteer", **stated)  # type: ignore[arg-type]
    await w.refresh()


async def read(w: World) -> tuple[Snapshot, Solution]:
    async with w.service.context.workshop.begin() as work:
        taken = await rounds.snapshot(work)
    return taken, solve(taken.problem)


async def test_sixteen_writers_at_once_never_overlap(databases: DatabaseFactory) -> None:
    async with world(databases, database_connections=20) as w:
        await crowd(w, 12, 4)
        taken, solution = await read(w)
        async with w.leader.leadership() as epoch:
            assert epoch is not None

            async def write() -> int:
                async with w.service.context.workshop.begin() as work:
                    return len((await rounds.commit(work, epoch, taken, solution)).held)

            held = await asyncio.gather(*(write() for _ in range(16)), return_exceptions=True)
        faults = [h for h in held if isinstance(h, BaseException) and not isinstance(h, TRANSIENT)]
        assert faults == []
        assert sum(h for h in held if isinstance(h, int)) == len(solution.assignments) == 12
        assert await w.database.fetch(OVERLAPS) == [(0,)]
        assert await w.database.fetch(BROKEN_WEEKS) == [(0,)]


async def test_constraint_alone_refuses_what_sixteen_racing_writers_try(databases: DatabaseFactory) -> None:
    """No code in front of it: writers insert overlapping half-hours for one volunteer."""
    async with world(databases, database_connections=20) as w:
        await crowd(w, 16, 1)
        rows = await w.database.fetch("SELECT person_id, roles FROM people ORDER BY person_id")
        prospects = [person for person, roles in rows if "prospect" in roles]
        (volunteer,) = [person for person, roles in rows if "volunteer" in roles]
        start = (await w.now()).replace(minute=0, second=0, microsecond=0) + dt.timedelta(days=2)

        async def write(number: int) -> int:
            begins = start + dt.timedelta(minutes=7 * number)
            hold = Hold(
                call_id=new_id(), prospect_id=prospects[number], volunteer_id=volunteer, starts_at=begins,
                ends_at=begins + dt.timedelta(minutes=30), week="2027-W01", expires_at=start,
            )  # fmt: skip
            async with w.service.context.workshop.begin() as work:
                return len(await insert_held(work.connection, "one_on_one", [hold], work.now, ("v", "h")))

        inserted = await asyncio.gather(*(write(number) for number in range(16)))
        assert 1 <= sum(inserted) <= 4
        assert await w.database.fetch(OVERLAPS) == [(0,)]


async def test_prospect_has_one_active_match_whoever_writes(databases: DatabaseFactory) -> None:
    """No code in front of it: writers hold hours of eight volunteers, none overlapping, for one prospect."""
    async with world(databases, database_connections=20) as w:
        await crowd(w, 1, 8)
        rows = await w.database.fetch("SELECT person_id, roles FROM people ORDER BY person_id")
        (prospect,) = [person for person, roles in rows if "prospect" in roles]
        volunteers = [person for person, roles in rows if "volunteer" in roles]
        start = (await w.now()).replace(minute=0, second=0, microsecond=0) + dt.timedelta(days=2)

        async def write(number: int) -> int:
            begins = start + dt.timedelta(hours=number)
            hold = Hold(
                call_id=new_id(), prospect_id=prospect, volunteer_id=volunteers[number], starts_at=begins,
                ends_at=begins + dt.timedelta(minutes=30), week="2027-W01", expires_at=start,
            )  # fmt: skip
            async with w.service.context.workshop.begin() as work:
                return len(await insert_held(work.connection, "one_on_one", [hold], work.now, ("v", "h")))

        inserted = await asyncio.gather(*(write(number) for number in range(8)))
        assert sum(inserted) == 1
        assert await w.database.fetch("SELECT count(*) FROM bookings WHERE state IN ('held', 'confirmed')") == [(1,)]


async def test_second_leader_waits_and_superseded_one_writes_nothing(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        await crowd(w, 3, 2)
        settings = w.service.context.settings
        assert isinstance(settings, Settings)
        rival = Leader(w.service.context.workshop, settings)
        async with w.leader.leadership() as epoch:
            assert epoch == 1
            async with rival.leadership() as other:
                assert other is None
            taken, solution = await read(w)
        async with rival.leadership() as following:
            assert following == 2
            async with w.service.context.workshop.begin() as work:
                with pytest.raises(Superseded):
                    await rounds.commit(work, epoch, taken, solution)
            assert await w.database.fetch("SELECT count(*) FROM bookings") == [(0,)]
            assert len((await rival.round(following)).held) == 3


async def test_worker_holds_a_call_by_itself_and_the_next_one_takes_over(databases: DatabaseFactory) -> None:
    async with world(databases, batch_seconds=0.2) as w:
        await crowd(w, 1, 1)
        first = asyncio.create_task(w.leader.run())
        try:
            async with asyncio.timeout(15):
                while await w.database.fetch("SELECT count(*) FROM bookings WHERE state = 'held'") != [(1,)]:
                    await asyncio.sleep(0.05)
        finally:
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
        async with w.leader.leadership() as epoch:
            assert epoch == 2


async def test_leader_killed_before_its_commit_leaves_nothing(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        await crowd(w, 4, 2)
        await take_outbox(w.service)
        taken, solution = await read(w)
        async with w.leader.leadership() as epoch:
            assert epoch is not None

            async def die_before_the_commit() -> None:
                async with w.service.context.workshop.begin() as work:
                    assert len((await rounds.commit(work, epoch, taken, solution)).held) == 4
                    await work.flush()
                    raise asyncio.CancelledError

            with pytest.raises(asyncio.CancelledError):
                await die_before_the_commit()
        assert await w.database.fetch(LEFTOVERS) == [(0, 0, 0, 0, 4)]
        assert await outbox_events(w.service) == []
        assert len(await w.round()) == 4


async def test_records_delivered_twice_change_nothing(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        person = await w.add("Ana", "prospect")
        await w.refresh()
        before = await w.database.fetch("SELECT * FROM queue_entries")
        records = await as_records(w.service, [w.confirmed(person)], first_offset=50)
        assert await w.service._inbox.take(records, cluster_id="test-cluster") == 1
        assert await w.service._inbox.take(records, cluster_id="test-cluster") == 0
        assert await w.refresh() == 1
        assert await w.refresh() == 0
        assert await w.database.fetch("SELECT * FROM queue_entries") == before


async def test_event_for_an_unknown_person_waits_for_their_profile(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        person = await w.add("Ana", "prospect")
        profile = w.signup.profiles.pop(person)
        assert await w.refresh() == 1
        assert await w.refresh() == 0, "put off, not asked for in a loop"
        w.signup.profiles[person] = profile
        await w.database.execute("UPDATE people SET fetch_after = '-infinity'")
        assert await w.refresh() == 1
        assert await w.database.fetch("SELECT person_id, state FROM queue_entries") == [(person, "waiting")]


async def test_cap_holds_over_many_rounds(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        await crowd(w, 12, 1)
        for _ in range(3):
            for call_id in await w.round():
                prospect: UUID = (await w.call(call_id))["prospect_id"]
                async with client_of(w.service, me(prospect)) as client:
                    assert (await client.post(f"/v1/calls/{call_id}/accept")).status_code == 200
        weeks = await w.database.fetch("SELECT used, cap FROM volunteer_weeks WHERE used > 0")
        assert {cap for _, cap in weeks} == {2}
        assert all(used <= cap for used, cap in weeks)
        assert await w.database.fetch(BROKEN_WEEKS) == [(0,)]


async def test_commit_drops_what_changed_while_the_solver_ran(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        prospect, volunteer = await w.add("Ana", "prospect"), await w.add("Bo", "volunteer")
        await w.refresh()
        taken, solution = await read(w)
        assert len(solution.assignments) == 1
        async with client_of(w.service, me(volunteer)) as client:
            hours = (await client.get("/v1/availability")).json()
            hours.pop("stated")
            saved = await client.put("/v1/availability", json={**hours, "paused": True})
            assert saved.status_code == 200
        async with w.leader.leadership() as epoch:
            assert epoch is not None
            async with w.service.context.workshop.begin() as work:
                committed = await rounds.commit(work, epoch, taken, solution)
        assert (committed.held, committed.lost) == ((), 1)
        assert await w.database.fetch("SELECT person_id, state FROM queue_entries") == [(prospect, "waiting")]


async def test_round_is_due_after_the_batch_minutes_of_business_time(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        await crowd(w, 1, 1)
        async with w.service.context.workshop.begin() as work:
            assert (await rounds.due(work, 15), await rounds.due(work, 0)) == (False, True)
        await w.database.advance_clock(dt.timedelta(minutes=16))
        async with w.service.context.workshop.begin() as work:
            assert await rounds.due(work, 15) is True
        assert len(await w.round()) == 1
        async with w.service.context.workshop.begin() as work:
            assert await rounds.due(work, 0) is False


def as_instance(taken: Snapshot) -> oracle.Instance:
    """The snapshot in the form that the oracle reads; caps out of the way, since it counts them per horizon."""
    problem = taken.problem

    def person(p: Person) -> dict[str, Any]:
        avail = [{"dow": w.dow, "start": f"{w.start:%H:%M}", "end": f"{w.end:%H:%M}"} for w in p.windows]
        return {
            "id": str(p.id), "tz": p.zone.key, "avail": avail, "langs": sorted(p.languages), "state": p.state,
            "urbanicity": p.urbanicity, "tracks": sorted(p.tracks), "blocks": [],
        }  # fmt: skip

    return {
        "horizon": {"start_utc": zulu(problem.horizon.start), "days": problem.horizon.days, "slot_minutes": 30},
        "weights": asdict(problem.weights),
        "candidates": [
            {**person(c), "signed_up_utc": zulu(c.waiting_since), "district": None, "office": c.office,
             "wants_lived": [], "need_exp": 0, "require_gender": None}
            for c in problem.candidates
        ],
        "volunteers": [
            {**person(v), "weekly_cap": 99, "gender": None, "offices": sorted(v.offices), "lived": [], "exp": 0,
             "conflict_districts": []}
            for v in problem.volunteers
        ],
    }  # fmt: skip


async def test_round_that_cannot_read_ends_the_child_it_started(
    databases: DatabaseFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    children: list[Child] = []

    def started() -> Child:
        children.append(start())
        return children[-1]

    async def unreadable(_: object) -> Snapshot:
        raise ConnectionResetError

    monkeypatch.setattr("services.matching.leader.start", started)
    monkeypatch.setattr(rounds, "snapshot", unreadable)
    async with world(databases) as w:
        with pytest.raises(ConnectionResetError):
            await w.leader.round(1)
    assert gc.isenabled()
    assert [child.returncode for child in children] == [-signal.SIGKILL]


async def test_child_process_finds_what_the_oracle_calls_the_best(databases: DatabaseFactory) -> None:
    """What the service reads from its database, judged by rules that share no code with it."""
    urban = {"urbanicity": "urban"}
    async with world(databases) as w:
        for number in range(4):
            hours = ((number % 3, "18:00", "18:30"), ((number + 1) % 3, "18:00", "18:30"))
            await w.add(f"P{number}", "prospect", hours=hours, state=("IL", "NY", "CA")[number % 3], answers=urban)
        for number in range(2):
            hours = ((number, "18:00", "18:30"), (number + 1, "18:00", "18:30"))
            await w.add(f"V{number}", "volunteer", hours=hours, state=("IL", "NY")[number], answers=urban)
        await w.refresh()
        async with w.service.context.workshop.begin() as work:
            taken = await rounds.snapshot(work)
        solution = await solved(taken, 20.0, Options(floors=False))
        instance = as_instance(taken)
        answer = [
            {"candidate": str(a.candidate_id), "volunteer": str(a.volunteer_id), "start_utc": zulu(a.start)}
            for a in solution.assignments
        ]
        assert (solution.method, len(answer)) == ("flow", 4)
        assert oracle.judge(instance, answer) == (set(), oracle.best_utility(instance))
        held = [await w.call(call_id) for call_id in await w.round()]
        stored = [
            {"candidate": str(c["prospect_id"]), "volunteer": str(c["volunteer_id"]), "start_utc": zulu(c["starts_at"])}
            for c in held
        ]
        assert oracle.judge(instance, stored) == (set(), oracle.best_utility(instance))
        assert sum(isinstance(e, MatchOffered) for e in await take_outbox(w.service)) == 4
