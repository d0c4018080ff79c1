"""Group calls and who has which place in them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.matching.domain.intro_calls import Attendance, Origin, Plan, SeatState
from shared.db import Connection, Pool

Row = Any

# A repeat of the same form finds its row.
INSERT_CALL = """
    INSERT INTO intro_calls (intro_call_id, title, starts_at, ends_at, time_zone, minutes, capacity, waiting_list,
        language, track, join_url, created_at, created_by, program_version, program_hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
    ON CONFLICT (intro_call_id) DO NOTHING RETURNING intro_call_id
"""
# Served by the primary key.
GET_CALL = "SELECT * FROM intro_calls WHERE intro_call_id = $1"
# Everything that changes who has a seat locks this row first; rows that refer to it can still be written.
LOCK_CALL = "SELECT * FROM intro_calls WHERE intro_call_id = $1 FOR NO KEY UPDATE"
# intro_calls_going_ck refuses a seat too many, whatever the code above it thought.
CHANGE_GOING = "UPDATE intro_calls SET going = going + $2 WHERE intro_call_id = $1"
MARK_CANCELLED = "UPDATE intro_calls SET status = 'cancelled', going = 0 WHERE intro_call_id = $1"
# Served by intro_calls_starts_at_idx and intro_seats' primary key.
FIND_UPCOMING = """
    SELECT c.*, s.invited, s.waiting, s.declined, s.attended, s.missed
    FROM intro_calls c CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE state = 'invited') AS invited,
               count(*) FILTER (WHERE state = 'waiting') AS waiting,
               count(*) FILTER (WHERE state = 'declined') AS declined,
               count(*) FILTER (WHERE attendance = 'attended') AS attended,
               count(*) FILTER (WHERE attendance = 'missed') AS missed
        FROM intro_seats WHERE intro_call_id = c.intro_call_id) AS s
    WHERE c.ends_at > $1 AND ($2::timestamptz IS NULL OR (c.starts_at, c.intro_call_id) > ($2, $3))
    ORDER BY c.starts_at, c.intro_call_id LIMIT $4
"""
FIND_PAST = FIND_UPCOMING.replace("c.ends_at > $1", "c.ends_at <= $1").replace(
    "(c.starts_at, c.intro_call_id) > ($2, $3)", "(c.starts_at, c.intro_call_id) < ($2, $3)"
).replace("ORDER BY c.starts_at, c.intro_call_id", "ORDER BY c.starts_at DESC, c.intro_call_id DESC")  # fmt: skip
COUNT_STATES = """
    SELECT count(*) FILTER (WHERE state = 'invited') AS invited, count(*) FILTER (WHERE state = 'waiting') AS waiting,
           count(*) FILTER (WHERE state = 'declined') AS declined,
           count(*) FILTER (WHERE attendance = 'attended') AS attended,
           count(*) FILTER (WHERE attendance = 'missed') AS missed
    FROM intro_seats WHERE intro_call_id = $1
"""
# One person's place, with what a message or a page says of the call. Served by the primary keys.
GET_PLACE = """
    SELECT c.*, s.person_id, s.state, s.origin, s.attendance, s.sequence, s.changed_at, p.time_zone AS person_zone,
           p.language AS person_language, p.attended_at,
           CASE WHEN s.state = 'waiting' THEN (
               SELECT count(*) FROM intro_seats w WHERE w.intro_call_id = c.intro_call_id
               AND w.state = 'waiting' AND w.waiting_number <= s.waiting_number) END AS place
    FROM intro_calls c JOIN intro_seats s USING (intro_call_id) JOIN intro_people p USING (person_id)
    WHERE c.intro_call_id = $1 AND s.person_id = ANY($2::uuid[]) ORDER BY s.changed_at DESC LIMIT 1
"""
# Served by intro_seats_person_id_idx.
FIND_PLACES = """
    SELECT c.*, s.person_id, s.state, s.origin, s.attendance, s.sequence, s.changed_at,
           CASE WHEN s.state = 'waiting' THEN (
               SELECT count(*) FROM intro_seats w WHERE w.intro_call_id = c.intro_call_id
               AND w.state = 'waiting' AND w.waiting_number <= s.waiting_number) END AS place
    FROM intro_seats s JOIN intro_calls c USING (intro_call_id)
    WHERE s.person_id = ANY($1::uuid[]) AND c.ends_at > $2 AND c.status = 'scheduled'
    ORDER BY c.starts_at, c.intro_call_id
"""
# Calls that anyone may still choose. Served by intro_calls_starts_at_idx.
FIND_OPEN = """
    SELECT c.* FROM intro_calls c
    WHERE c.status = 'scheduled' AND c.starts_at > $1 AND (c.going < c.capacity OR c.waiting_list)
    ORDER BY c.starts_at, c.intro_call_id LIMIT 50
"""
GET_SEAT = "SELECT * FROM intro_seats WHERE intro_call_id = $1 AND person_id = $2"
# A place on the waiting list is drawn here, under the lock of the call, so that the numbers are the order.
PUT_SEAT = """
    INSERT INTO intro_seats AS s (intro_call_id, person_id, state, origin, waiting_number, created_at, changed_at)
    VALUES ($1, $2, $3, $4, CASE WHEN $3 = 'waiting' THEN nextval('intro_seats_waiting_seq') END, $5, $5)
    ON CONFLICT (intro_call_id, person_id) DO UPDATE SET state = excluded.state,
        waiting_number = excluded.waiting_number, changed_at = excluded.changed_at, sequence = s.sequence + 1
"""
# Served by intro_seats_waiting_idx; the call is locked.
TAKE_FIRST_WAITING = """
    UPDATE intro_seats SET state = 'going', waiting_number = NULL, changed_at = $3, sequence = sequence + 1
    WHERE intro_call_id = $1 AND person_id IN (
        SELECT person_id FROM intro_seats WHERE intro_call_id = $1 AND state = 'waiting'
        ORDER BY waiting_number LIMIT $2)
    RETURNING person_id
"""
# Everyone who was told of the call; the call is locked.
DROP_SEATS = """
    UPDATE intro_seats SET state = 'dropped', waiting_number = NULL, changed_at = $2, sequence = sequence + 1
    WHERE intro_call_id = $1 AND state IN ('invited', 'going', 'waiting') RETURNING person_id
"""
# Served by the primary key.
FIND_PEOPLE_IN = """
    SELECT person_id FROM intro_seats WHERE intro_call_id = $1 AND state = ANY($2::text[]) ORDER BY person_id
"""
# A page of the people of a call, those expected first. Served by the primary key.
FIND_ATTENDANCE = """
    SELECT person_id, state, attendance FROM intro_seats
    WHERE intro_call_id = $1 AND (state IN ('going', 'guest', 'waiting') OR attendance IS NOT NULL)
    ORDER BY array_position(ARRAY['going', 'guest', 'waiting'], state), person_id LIMIT $2 OFFSET $3
"""
FIND_SEATS = (
    "SELECT person_id, state, attendance FROM intro_seats WHERE intro_call_id = $1 AND person_id = ANY($2::uuid[])"
)
MARK_ATTENDANCE = """
    INSERT INTO intro_seats AS s (intro_call_id, person_id, state, origin, attendance, created_at, changed_at,
        marked_at, marked_by)
    SELECT $1, person_id, 'guest', 'staff', $3, $4, $4, $4, $5 FROM unnest($2::uuid[]) AS person_id
    ON CONFLICT (intro_call_id, person_id) DO UPDATE
        SET attendance = excluded.attendance, marked_at = excluded.marked_at, marked_by = excluded.marked_by
"""

# Served by intro_seats_person_id_idx.
FIND_CALLS_OF = (
    "SELECT DISTINCT intro_call_id FROM intro_seats WHERE person_id = ANY($1::uuid[]) ORDER BY intro_call_id"
)
# The call is locked.
DELETE_SEATS = "DELETE FROM intro_seats WHERE intro_call_id = $1 AND person_id = ANY($2::uuid[]) RETURNING state"


async def insert_call(
    connection: Connection,
    intro_call_id: UUID,
    plan: Plan,
    *,
    waiting_list: bool,
    now: datetime,
    created_by: UUID,
    program_version: str,
    program_hash: str,
) -> bool:
    """False when a call of this id is there already."""
    found = await connection.fetchval(
        INSERT_CALL,
        intro_call_id,
        plan.title,
        plan.starts_at,
        plan.ends_at,
        plan.time_zone,
        plan.minutes,
        plan.capacity,
        waiting_list,
        plan.language,
        plan.track,
        plan.join_url,
        now,
        created_by,
        program_version,
        program_hash,
    )
    return found is not None


async def get_call(connection: Connection | Pool, intro_call_id: UUID) -> Row | None:
    """The row of a call."""
    return await connection.fetchrow(GET_CALL, intro_call_id)


async def lock_call(connection: Connection, intro_call_id: UUID) -> Row | None:
    """The row of a call, locked until the transaction ends."""
    return await connection.fetchrow(LOCK_CALL, intro_call_id)


async def change_going(connection: Connection, intro_call_id: UUID, by: int) -> None:
    """Count seats taken or given back; the call is locked."""
    await connection.execute(CHANGE_GOING, intro_call_id, by)


async def mark_cancelled(connection: Connection, intro_call_id: UUID) -> None:
    """Take the call off the calendar; the call is locked."""
    await connection.execute(MARK_CANCELLED, intro_call_id)


async def find_calls(
    connection: Connection | Pool,
    *,
    past: bool,
    now: datetime,
    limit: int,
    after: tuple[datetime, UUID] | None = None,
) -> list[Row]:
    """Calls with counts: those to come from the nearest on, or the past ones from the latest back."""
    starts_at, call_id = after or (None, None)
    return list(await connection.fetch(FIND_PAST if past else FIND_UPCOMING, now, starts_at, call_id, limit))


async def count_states(connection: Connection | Pool, intro_call_id: UUID) -> Row:
    """How many are invited, waiting, declined, attended, missed."""
    return await connection.fetchrow(COUNT_STATES, intro_call_id)


async def get_place(connection: Connection | Pool, intro_call_id: UUID, person_ids: Sequence[UUID]) -> Row | None:
    """The call with the place of one person, known by any of these ids."""
    return await connection.fetchrow(GET_PLACE, intro_call_id, list(person_ids))


async def find_places(connection: Connection | Pool, person_ids: Sequence[UUID], now: datetime) -> list[Row]:
    """The calls to come that one person, known by any of these ids, has to do with."""
    return list(await connection.fetch(FIND_PLACES, list(person_ids), now))


async def find_open(connection: Connection | Pool, now: datetime) -> list[Row]:
    """The calls that anyone may still choose."""
    return list(await connection.fetch(FIND_OPEN, now))


async def get_seat(connection: Connection, intro_call_id: UUID, person_id: UUID) -> Row | None:
    """One person's row in a call."""
    return await connection.fetchrow(GET_SEAT, intro_call_id, person_id)


async def put_seat(
    connection: Connection, intro_call_id: UUID, person_id: UUID, state: SeatState, origin: Origin, now: datetime
) -> None:
    """Give a person a state in a call that is locked; the origin of a row that exists stays."""
    await connection.execute(PUT_SEAT, intro_call_id, person_id, state, origin, now)


async def take_first_waiting(connection: Connection, intro_call_id: UUID, seats: int, now: datetime) -> list[UUID]:
    """Give free seats to the first of the waiting list; who got one."""
    return [row["person_id"] for row in await connection.fetch(TAKE_FIRST_WAITING, intro_call_id, seats, now)]


async def drop_seats(connection: Connection, intro_call_id: UUID, now: datetime) -> list[UUID]:
    """Who was invited, going or waiting and is so no more."""
    return [row["person_id"] for row in await connection.fetch(DROP_SEATS, intro_call_id, now)]


async def find_people_in(connection: Connection, intro_call_id: UUID, states: Sequence[SeatState]) -> list[UUID]:
    """The people of a call in these states."""
    return [row["person_id"] for row in await connection.fetch(FIND_PEOPLE_IN, intro_call_id, list(states))]


async def find_attendance(connection: Connection | Pool, intro_call_id: UUID, limit: int, offset: int) -> list[Row]:
    """A page of who was expected or came: person, state, attendance."""
    return list(await connection.fetch(FIND_ATTENDANCE, intro_call_id, limit, offset))


async def find_seats(connection: Connection, intro_call_id: UUID, person_ids: Sequence[UUID]) -> dict[UUID, Row]:
    """Rows by person, of those that exist."""
    return {row["person_id"]: row for row in await connection.fetch(FIND_SEATS, intro_call_id, list(person_ids))}


async def mark_attendance(
    connection: Connection,
    intro_call_id: UUID,
    person_ids: Sequence[UUID],
    attendance: Attendance,
    now: datetime,
    by: UUID,
) -> None:
    """Record attendance; whoever had no row becomes a guest."""
    await connection.execute(MARK_ATTENDANCE, intro_call_id, sorted(person_ids), attendance, now, by)


async def find_calls_of(connection: Connection, person_ids: Sequence[UUID]) -> list[UUID]:
    """The calls that these people have to do with, in the order in which to lock them."""
    return [row["intro_call_id"] for row in await connection.fetch(FIND_CALLS_OF, list(person_ids))]


async def delete_seats(connection: Connection, intro_call_id: UUID, person_ids: Sequence[UUID]) -> int:
    """Remove these people from a call that is locked; how many of them had seats."""
    rows = await connection.fetch(DELETE_SEATS, intro_call_id, list(person_ids))
    return sum(row["state"] == "going" for row in rows)
