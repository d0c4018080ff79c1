"""Holds and calls.

Locks are taken in one order everywhere: the prospect's queue entry, the volunteer's weeks, the booking. A round of
matching that inserts beside an answer that is being given then waits, and never deadlocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from services.matching.domain.calls import State
from shared.db import Connection, Pool
from shared.events.matching import Party, Purpose

COLUMNS = """
    call_id, purpose, prospect_id, volunteer_id, lower(during) AS starts_at, upper(during) AS ends_at, week, state,
    hold_expires_at, offered_at, confirmed_at, closed_at, closed_by, close_reason, missed_by, outcome, follow_ups,
    replaces, replaced_by, calendar_uid, sequence
"""
# Served by the primary key.
GET_CALLS = f"SELECT {COLUMNS} FROM bookings WHERE call_id = ANY($1::uuid[])"  # noqa: S608 (our own constant)
LOCK_CALL = f"SELECT {COLUMNS} FROM bookings WHERE call_id = $1 FOR UPDATE"  # noqa: S608
# Served by bookings_prospect_id_idx and bookings_volunteer_id_idx; aliases of the person are included.
FIND_OF_PERSON = f"""
    SELECT {COLUMNS} FROM bookings WHERE prospect_id = ANY($1::uuid[]) OR volunteer_id = ANY($1::uuid[])
    ORDER BY lower(during) DESC, call_id LIMIT $2
"""  # noqa: S608
GET_ALIASES_OF = "SELECT alias_id FROM person_aliases WHERE person_id = $1"
# For the board. Served by bookings_one_active_uq's condition; few rows are active at a time.
FIND_ACTIVE = f"""
    SELECT {COLUMNS} FROM bookings WHERE state IN ('held', 'confirmed') ORDER BY lower(during), call_id LIMIT $1
"""  # noqa: S608
# Inserts in the order given; whatever conflicts with a constraint of bookings is left out. Nobody is locked by a
# row that is left out.
INSERT_HELD = """
    INSERT INTO bookings (call_id, purpose, prospect_id, volunteer_id, during, week, state, hold_expires_at,
                          offered_at, calendar_uid, program_version, program_hash)
    SELECT call_id, $1, prospect_id, volunteer_id, tstzrange(starts_at, ends_at), week, 'held', hold_expires_at, $2,
           call_id, $3, $4
    FROM unnest($5::uuid[], $6::uuid[], $7::uuid[], $8::timestamptz[], $9::timestamptz[], $10::text[],
                $11::timestamptz[]) WITH ORDINALITY
         AS row (call_id, prospect_id, volunteer_id, starts_at, ends_at, week, hold_expires_at, ordinal)
    ORDER BY ordinal
    ON CONFLICT DO NOTHING RETURNING call_id
"""
# Closing the old call has raised its sequence already.
INSERT_MOVED = """
    INSERT INTO bookings (call_id, purpose, prospect_id, volunteer_id, during, week, state, hold_expires_at,
                          offered_at, confirmed_at, replaces, calendar_uid, sequence, program_version, program_hash)
    SELECT $1, purpose, prospect_id, volunteer_id, tstzrange($3, $4), $5, 'confirmed', hold_expires_at,
           $6, $6, call_id, calendar_uid, sequence, $7, $8
    FROM bookings WHERE call_id = $2
    ON CONFLICT DO NOTHING RETURNING call_id
"""
MARK_CONFIRMED = "UPDATE bookings SET state = 'confirmed', confirmed_at = $2 WHERE call_id = $1"
MARK_CLOSED = """
    UPDATE bookings SET state = $2, closed_at = $3, closed_by = $4, close_reason = $5, replaced_by = $6,
           sequence = sequence + 1 WHERE call_id = $1
"""
MARK_ATTESTED = """
    UPDATE bookings SET state = $2, closed_at = $3, closed_by = 'volunteer', missed_by = $4, outcome = $5,
           follow_ups = $6 WHERE call_id = $1
"""
# Creates missing rows and locks all, in the order of the arrays; the cap is what the volunteer states now, and a
# paused volunteer has none.
LOCK_WEEKS = """
    INSERT INTO volunteer_weeks (volunteer_id, week, cap)
    SELECT volunteer_id, week, CASE WHEN a.paused IS NOT FALSE THEN 0 ELSE coalesce(a.weekly_cap, $3) END
    FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS row (volunteer_id, week, ordinal)
    LEFT JOIN availability a ON a.person_id = row.volunteer_id
    ORDER BY ordinal
    ON CONFLICT (volunteer_id, week) DO UPDATE SET cap = greatest(excluded.cap, volunteer_weeks.used)
    RETURNING volunteer_id, week, cap - used AS room
"""
# Locks without touching the cap: for answers that give a place back.
LOCK_WEEK = "SELECT used FROM volunteer_weeks WHERE volunteer_id = $1 AND week = $2 FOR UPDATE"
# volunteer_weeks_used_ck holds the cap, whatever the code above it does.
ADD_USED = """
    UPDATE volunteer_weeks SET used = used + batch.calls
    FROM unnest($1::uuid[], $2::text[], $3::integer[]) AS batch (volunteer_id, week, calls)
    WHERE volunteer_weeks.volunteer_id = batch.volunteer_id AND volunteer_weeks.week = batch.week
"""
# Served by the primary key.
GET_WEEKS = "SELECT volunteer_id, week, used FROM volunteer_weeks WHERE volunteer_id = ANY($1::uuid[])"
# Time that is taken for these people between two instants, in either role. Served by bookings_during_idx.
FIND_TAKEN = """
    SELECT prospect_id, volunteer_id, lower(during) AS starts_at, upper(during) AS ends_at FROM bookings
    WHERE state IN ('held', 'confirmed') AND during && tstzrange($1, $2)
"""
# Hours that one of the two let go: they are not offered to that person again. Served by bookings_during_idx.
FIND_LET_GO = """
    SELECT CASE WHEN closed_by = 'volunteer' THEN volunteer_id ELSE prospect_id END AS person_id,
           closed_by = 'volunteer' AS by_volunteer, lower(during) AS starts_at, upper(during) AS ends_at
    FROM bookings
    WHERE during && tstzrange($1, $2) AND (state = 'expired' OR state IN ('declined', 'cancelled')
          AND closed_by IN ('prospect', 'volunteer') AND close_reason IS DISTINCT FROM 'another_person')
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One hold or call. `closed_at` is when it ended in any way; times are UTC."""

    call_id: UUID
    purpose: Purpose
    prospect_id: UUID
    volunteer_id: UUID
    starts_at: datetime
    ends_at: datetime
    week: str
    state: State
    hold_expires_at: datetime
    offered_at: datetime
    confirmed_at: datetime | None
    closed_at: datetime | None
    closed_by: Party | None
    close_reason: str | None
    missed_by: str | None
    outcome: str | None
    follow_ups: tuple[str, ...]
    replaces: UUID | None
    replaced_by: UUID | None
    calendar_uid: UUID
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """An hour about to be held."""

    call_id: UUID
    prospect_id: UUID
    volunteer_id: UUID
    starts_at: datetime
    ends_at: datetime
    week: str
    expires_at: datetime


def _call(row: Mapping[str, Any]) -> Call:
    return Call(**{**dict(row), "follow_ups": tuple(row["follow_ups"])})


async def get_calls(connection: Connection | Pool, call_ids: Sequence[UUID]) -> dict[UUID, Call]:
    """Calls by id, of those that exist."""
    return {row["call_id"]: _call(row) for row in await connection.fetch(GET_CALLS, list(call_ids))}


async def find_of_person(connection: Connection | Pool, person_id: UUID, limit: int = 100) -> list[Call]:
    """A person's calls in either role, latest first; also those under ids that were merged into this one."""
    aliases = [row["alias_id"] for row in await connection.fetch(GET_ALIASES_OF, person_id)]
    return [_call(row) for row in await connection.fetch(FIND_OF_PERSON, [person_id, *aliases], limit)]


async def find_active(connection: Connection | Pool, limit: int = 500) -> list[Call]:
    """Held and confirmed calls, the nearest first."""
    return [_call(row) for row in await connection.fetch(FIND_ACTIVE, limit)]


async def lock_call(connection: Connection, call_id: UUID) -> Call | None:
    """The call, with its prospect's queue entry and its volunteer's week, locked in the module's order."""
    seen = (await get_calls(connection, [call_id])).get(call_id)
    if seen is None:
        return None
    await connection.execute(
        "SELECT 1 FROM queue_entries WHERE person_id = $1 AND purpose = $2 FOR UPDATE", seen.prospect_id, seen.purpose
    )
    await connection.execute(LOCK_WEEK, seen.volunteer_id, seen.week)
    row = await connection.fetchrow(LOCK_CALL, call_id)
    return _call(row) if row is not None else None


async def lock_weeks(
    connection: Connection, weeks: Sequence[tuple[UUID, str]], default_cap: int
) -> dict[tuple[UUID, str], int]:
    """How many calls each volunteer may still take in each of these weeks; the rows are locked until commit."""
    ordered = sorted(set(weeks))
    rows = await connection.fetch(
        LOCK_WEEKS, [volunteer for volunteer, _ in ordered], [week for _, week in ordered], default_cap
    )
    return {(row["volunteer_id"], row["week"]): row["room"] for row in rows}


async def add_used(connection: Connection, calls: Mapping[tuple[UUID, str], int]) -> None:
    """Count calls (or give them back, negative) in the volunteers' weeks."""
    ordered = sorted(calls)
    await connection.execute(
        ADD_USED,
        [volunteer for volunteer, _ in ordered],
        [week for _, week in ordered],
        [calls[key] for key in ordered],
    )


async def insert_held(
    connection: Connection, purpose: Purpose, holds: Sequence[Hold], now: datetime, program: tuple[str, str]
) -> frozenset[UUID]:
    """Insert the holds in this order and return the ids of those that met no constraint; `program` is version, hash."""
    rows = await connection.fetch(
        INSERT_HELD,
        purpose,
        now,
        *program,
        [hold.call_id for hold in holds],
        [hold.prospect_id for hold in holds],
        [hold.volunteer_id for hold in holds],
        [hold.starts_at for hold in holds],
        [hold.ends_at for hold in holds],
        [hold.week for hold in holds],
        [hold.expires_at for hold in holds],
    )
    return frozenset(row["call_id"] for row in rows)


async def insert_moved(
    connection: Connection,
    call_id: UUID,
    moved: Call,
    starts_at: datetime,
    ends_at: datetime,
    week: str,
    now: datetime,
    program: tuple[str, str],
) -> bool:
    """A confirmed call at another time in place of `moved`; false when somebody has that time already."""
    row = await connection.fetchval(INSERT_MOVED, call_id, moved.call_id, starts_at, ends_at, week, now, *program)
    return row is not None


async def mark_confirmed(connection: Connection, call_id: UUID, now: datetime) -> None:
    """The prospect said yes."""
    await connection.execute(MARK_CONFIRMED, call_id, now)


async def mark_closed(
    connection: Connection,
    call: Call,
    state: State,
    now: datetime,
    *,
    by: Party | None = None,
    reason: str | None = None,
    replaced_by: UUID | None = None,
) -> None:
    """The call comes to nothing: its time is free again for both, and its place in the volunteer's week."""
    await connection.execute(MARK_CLOSED, call.call_id, state, now, by, reason, replaced_by)
    await add_used(connection, {(call.volunteer_id, call.week): -1})


async def mark_attested(
    connection: Connection,
    call_id: UUID,
    state: State,
    now: datetime,
    *,
    missed_by: str | None,
    outcome: str | None,
    follow_ups: Sequence[str],
) -> None:
    """The volunteer said how it went. The call keeps its place in the week: the hour was given."""
    await connection.execute(MARK_ATTESTED, call_id, state, now, missed_by, outcome, list(follow_ups))


async def get_used(connection: Connection | Pool, volunteer_ids: Sequence[UUID]) -> dict[tuple[UUID, str], int]:
    """Calls counted so far, by volunteer and week."""
    rows = await connection.fetch(GET_WEEKS, list(volunteer_ids))
    return {(row["volunteer_id"], row["week"]): row["used"] for row in rows}


async def find_taken(
    connection: Connection | Pool, start: datetime, end: datetime
) -> list[tuple[UUID, UUID, datetime, datetime]]:
    """Prospect, volunteer and time of every hold and call that overlaps the span."""
    return [
        cast("tuple[UUID, UUID, datetime, datetime]", tuple(row))
        for row in await connection.fetch(FIND_TAKEN, start, end)
    ]


async def find_let_go(
    connection: Connection | Pool, start: datetime, end: datetime
) -> list[tuple[UUID, bool, datetime, datetime]]:
    """Person, whether as volunteer, and the hour that they let go."""
    return [
        cast("tuple[UUID, bool, datetime, datetime]", tuple(row))
        for row in await connection.fetch(FIND_LET_GO, start, end)
    ]
