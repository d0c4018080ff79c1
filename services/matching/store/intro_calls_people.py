"""Who may be invited to group calls, and inviting them: sets, never one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.matching.domain.intro_calls import ATTENDANCE_GRACE, UNANSWERED_LIMIT, Origin
from shared.db import Connection, Pool

# Putting a call on the calendar and looking for one must not pass each other unseen: the first excludes the second,
# which share. Taken before any row lock.
LOCK_CALENDAR = "SELECT pg_advisory_xact_lock(hashtext('intro_calls'))"
SHARE_CALENDAR = "SELECT pg_advisory_xact_lock_shared(hashtext('intro_calls'))"

# A person who is known keeps what has happened to them since.
UPSERT_PEOPLE = """
    INSERT INTO intro_people (person_id, language, tracks, time_zone, prospect, confirmed_at)
    SELECT person_id, language, string_to_array(tracks, ','), time_zone, prospect, confirmed_at
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::timestamptz[])
         AS given (person_id, language, tracks, time_zone, prospect, confirmed_at)
    ORDER BY person_id
    ON CONFLICT (person_id) DO UPDATE SET language = excluded.language, tracks = excluded.tracks,
        time_zone = excluded.time_zone, prospect = excluded.prospect
"""
# Locks in the order of ids; who is not known yet becomes a prospect with the event that makes them known.
MARK_PROSPECTS = """
    UPDATE intro_people SET prospect = true FROM (
        SELECT person_id FROM intro_people WHERE person_id = ANY($1::uuid[])
        ORDER BY person_id FOR NO KEY UPDATE) AS found
    WHERE intro_people.person_id = found.person_id
"""
GET_PERSON = "SELECT * FROM intro_people WHERE person_id = $1"
# Locks in the order of ids. Served by the primary key.
LOCK_PEOPLE = (
    "SELECT person_id FROM intro_people WHERE person_id = ANY($1::uuid[]) ORDER BY person_id FOR NO KEY UPDATE"
)

# Everybody whom a call fits and who holds nothing, at most $6; locks and claims their rows in the order of ids.
# `held_until` is on the claimed row itself, so that a rival's claim is seen after waiting for its lock.
# Served by intro_people_open_idx.
INVITE_TO_CALL = """
    WITH chosen AS (
        SELECT person_id FROM intro_people
        WHERE prospect AND attended_at IS NULL AND held_until <= $2 AND unanswered < $5
          AND language = $7 AND ($8::text IS NULL OR $8 = ANY(tracks))
          AND NOT EXISTS (SELECT 1 FROM intro_seats s
                          WHERE s.intro_call_id = $1 AND s.person_id = intro_people.person_id)
          AND NOT EXISTS (SELECT 1 FROM person_aliases a WHERE a.alias_id = intro_people.person_id)
        ORDER BY person_id LIMIT $6 FOR NO KEY UPDATE),
    claimed AS (
        UPDATE intro_people SET held_until = $3, unanswered = unanswered + 1
        FROM chosen WHERE intro_people.person_id = chosen.person_id RETURNING intro_people.person_id)
    INSERT INTO intro_seats (intro_call_id, person_id, state, origin, created_at, changed_at)
    SELECT $1, person_id, 'invited', $4, $2, $2 FROM claimed
    ON CONFLICT DO NOTHING RETURNING person_id
"""
# The people that staff name, whatever their language and track; not those who have anything to do with the call.
INVITE_NAMED = """
    WITH chosen AS (
        SELECT person_id FROM intro_people
        WHERE person_id = ANY($5::uuid[]) AND prospect
          AND NOT EXISTS (SELECT 1 FROM intro_seats s
                          WHERE s.intro_call_id = $1 AND s.person_id = intro_people.person_id)
        ORDER BY person_id FOR NO KEY UPDATE),
    claimed AS (
        UPDATE intro_people SET held_until = greatest(held_until, $3)
        FROM chosen WHERE intro_people.person_id = chosen.person_id RETURNING intro_people.person_id)
    INSERT INTO intro_seats (intro_call_id, person_id, state, origin, created_at, changed_at)
    SELECT $1, person_id, 'invited', $4, $2, $2 FROM claimed
    ON CONFLICT DO NOTHING RETURNING person_id
"""
# Each of these people to the next call that fits, one with a free seat before a full one. Same claim as above.
INVITE_NEXT = """
    WITH chosen AS (
        SELECT person_id, language, tracks FROM intro_people
        WHERE person_id = ANY($1::uuid[]) AND prospect AND attended_at IS NULL AND held_until <= $2 AND unanswered < $4
          AND NOT EXISTS (SELECT 1 FROM person_aliases a WHERE a.alias_id = intro_people.person_id)
        ORDER BY person_id FOR NO KEY UPDATE),
    offers AS (
        SELECT chosen.person_id, next.intro_call_id, next.starts_at, next.ends_at
        FROM chosen CROSS JOIN LATERAL (
            SELECT intro_call_id, starts_at, ends_at FROM intro_calls c
            WHERE c.status = 'scheduled' AND c.starts_at > $2 AND c.language = chosen.language
              AND (c.track IS NULL OR c.track = ANY(chosen.tracks)) AND (c.going < c.capacity OR c.waiting_list)
              AND NOT EXISTS (SELECT 1 FROM intro_seats s
                              WHERE s.intro_call_id = c.intro_call_id AND s.person_id = chosen.person_id)
            ORDER BY c.going >= c.capacity, c.starts_at, c.intro_call_id LIMIT 1) AS next),
    claimed AS (
        UPDATE intro_people SET held_until = offers.ends_at + $5, unanswered = unanswered + 1
        FROM offers WHERE intro_people.person_id = offers.person_id
        RETURNING intro_people.person_id, offers.intro_call_id, offers.starts_at),
    placed AS (
        INSERT INTO intro_seats (intro_call_id, person_id, state, origin, created_at, changed_at)
        SELECT intro_call_id, person_id, 'invited', $3, $2, $2 FROM claimed
        ON CONFLICT DO NOTHING RETURNING intro_call_id, person_id)
    SELECT placed.intro_call_id, placed.person_id, claimed.starts_at
    FROM placed JOIN claimed USING (intro_call_id, person_id) ORDER BY placed.person_id
"""
# What these people still hold, counted anew; their rows are locked. Served by intro_seats_person_id_idx.
RECOUNT_HOLDS = """
    UPDATE intro_people SET held_until = coalesce((
        SELECT max(c.ends_at) + $3 FROM intro_seats s JOIN intro_calls c USING (intro_call_id)
        WHERE s.person_id = intro_people.person_id AND c.status = 'scheduled' AND s.attendance IS NULL
          AND (s.state = 'going' OR (s.state IN ('invited', 'waiting') AND c.ends_at > $2))), '-infinity')
    WHERE person_id = ANY($1::uuid[])
"""
MARK_ANSWERED = "UPDATE intro_people SET unanswered = 0 WHERE person_id = $1"
# Keeps the first time; served by the primary key.
MARK_ATTENDED = """
    UPDATE intro_people SET attended_at = coalesce(attended_at, $2) WHERE person_id = ANY($1::uuid[])
"""
# Invitations that attending made pointless. Served by intro_seats_person_id_idx.
WITHDRAW_INVITATIONS = (
    "DELETE FROM intro_seats WHERE person_id = ANY($1::uuid[]) AND state = 'invited' AND attendance IS NULL"
)
# An invitation that the organization took back is not one that the person left unanswered.
FORGIVE_UNANSWERED = """
    UPDATE intro_people SET unanswered = greatest(unanswered - 1, 0) WHERE person_id = ANY($1::uuid[])
"""
FIND_PROSPECTS = "SELECT person_id FROM intro_people WHERE person_id = ANY($1::uuid[]) AND prospect ORDER BY person_id"

DELETE_PEOPLE = "DELETE FROM intro_people WHERE person_id = ANY($1::uuid[])"


@dataclass(frozen=True, slots=True)
class IntroPerson:
    """What inviting needs to know of a confirmed person."""

    person_id: UUID
    language: str
    tracks: tuple[str, ...]
    time_zone: str | None
    prospect: bool
    confirmed_at: datetime


@dataclass(frozen=True, slots=True)
class Invited:
    """One invitation that was made."""

    intro_call_id: UUID
    person_id: UUID
    starts_at: datetime


async def lock_calendar(connection: Connection) -> None:
    """Nobody looks for a call while one is put on the calendar."""
    await connection.execute(LOCK_CALENDAR)


async def share_calendar(connection: Connection) -> None:
    """No call is put on the calendar while one is looked for."""
    await connection.execute(SHARE_CALENDAR)


async def upsert_people(connection: Connection, people: Sequence[IntroPerson]) -> None:
    """Keep what is known of these people. Track ids hold no comma (`shared.program`)."""
    once = {person.person_id: person for person in people}
    rows = [
        (p.person_id, p.language, ",".join(p.tracks), p.time_zone, p.prospect, p.confirmed_at) for p in once.values()
    ]
    await connection.execute(UPSERT_PEOPLE, *(list(column) for column in zip(*rows, strict=True)))


async def mark_prospects(connection: Connection, person_ids: Sequence[UUID]) -> None:
    """They think about running now, too."""
    await connection.execute(MARK_PROSPECTS, list(person_ids))


async def get_person(connection: Connection | Pool, person_id: UUID) -> Any | None:
    """The row of a person."""
    return await connection.fetchrow(GET_PERSON, person_id)


async def lock_people(connection: Connection, person_ids: Sequence[UUID]) -> set[UUID]:
    """Lock these people's rows; those that exist."""
    return {row["person_id"] for row in await connection.fetch(LOCK_PEOPLE, list(person_ids))}


async def invite_to_call(connection: Connection, call: Any, origin: Origin, now: datetime, limit: int) -> list[UUID]:
    """Invite everybody whom `call` fits; at most `limit`, the longest known first."""
    held_until = call["ends_at"] + ATTENDANCE_GRACE
    rows = await connection.fetch(
        INVITE_TO_CALL,
        call["intro_call_id"],
        now,
        held_until,
        origin,
        UNANSWERED_LIMIT,
        limit,
        call["language"],
        call["track"],
    )
    return sorted(row["person_id"] for row in rows)


async def invite_named(connection: Connection, call: Any, person_ids: Sequence[UUID], now: datetime) -> list[UUID]:
    """Invite these people to `call`; who was."""
    rows = await connection.fetch(
        INVITE_NAMED, call["intro_call_id"], now, call["ends_at"] + ATTENDANCE_GRACE, "staff", list(person_ids)
    )
    return sorted(row["person_id"] for row in rows)


async def invite_next(
    connection: Connection, person_ids: Sequence[UUID], origin: Origin, now: datetime
) -> list[Invited]:
    """Invite each of these people to their next call, as far as they may be invited and one fits."""
    rows = await connection.fetch(INVITE_NEXT, list(person_ids), now, origin, UNANSWERED_LIMIT, ATTENDANCE_GRACE)
    return [Invited(row["intro_call_id"], row["person_id"], row["starts_at"]) for row in rows]


async def recount_holds(connection: Connection, person_ids: Sequence[UUID], now: datetime) -> None:
    """Set until when these people count as taken; their rows are locked."""
    await connection.execute(RECOUNT_HOLDS, list(person_ids), now, ATTENDANCE_GRACE)


async def mark_answered(connection: Connection, person_id: UUID) -> None:
    """They do read their invitations."""
    await connection.execute(MARK_ANSWERED, person_id)


async def mark_attended(connection: Connection, person_ids: Sequence[UUID], now: datetime) -> None:
    """They have been to an intro call: no invitation any more, and open ones are withdrawn."""
    await connection.execute(MARK_ATTENDED, list(person_ids), now)
    await connection.execute(WITHDRAW_INVITATIONS, list(person_ids))


async def forgive_unanswered(connection: Connection, person_ids: Sequence[UUID]) -> None:
    """Not count the last invitation of these people."""
    await connection.execute(FORGIVE_UNANSWERED, list(person_ids))


async def find_prospects(connection: Connection, person_ids: Sequence[UUID]) -> list[UUID]:
    """Those of these people who think about running."""
    return [row["person_id"] for row in await connection.fetch(FIND_PROSPECTS, list(person_ids))]


async def delete_people(connection: Connection, person_ids: Sequence[UUID]) -> None:
    """Remove these people, whose seats are removed already."""
    await connection.execute(DELETE_PEOPLE, list(person_ids))
