"""Who waits for a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.db import Connection, Pool
from shared.events.matching import Purpose

# A person who is in the queue already, in whatever state, stays as they are.
INSERT_ENTRY = """
    INSERT INTO queue_entries (person_id, purpose, since, waiting_since) VALUES ($1, $2, $3, $4)
    ON CONFLICT (person_id, purpose) DO NOTHING
"""
# Served by the primary key.
GET_ENTRY = "SELECT * FROM queue_entries WHERE person_id = $1 AND purpose = $2"
LOCK_ENTRY = "SELECT * FROM queue_entries WHERE person_id = $1 AND purpose = $2 FOR UPDATE"
# Locks in the order of person ids, as every transaction that locks several does.
LOCK_WAITING = """
    SELECT person_id FROM queue_entries WHERE person_id = ANY($1::uuid[]) AND purpose = $2 AND state = 'waiting'
    ORDER BY person_id FOR UPDATE
"""
MARK_WAITING = """
    UPDATE queue_entries SET state = 'waiting', parked_reason = NULL, waiting_since = $3,
        credit_hours = credit_hours + $4, silences = $5, no_shows = $6 WHERE person_id = $1 AND purpose = $2
"""
MARK_PARKED = """
    UPDATE queue_entries SET state = 'parked', parked_reason = $3, silences = $4, no_shows = $5
    WHERE person_id = $1 AND purpose = $2
"""
MARK_STATE = "UPDATE queue_entries SET state = $3, silences = 0 WHERE person_id = $1 AND purpose = $2"
MARK_HELD = """
    UPDATE queue_entries SET state = 'held', offers = offers + 1, considered_at = $3, unmatched = NULL
    WHERE person_id = ANY($1::uuid[]) AND purpose = $2
"""
MARK_CONSIDERED = """
    UPDATE queue_entries SET considered_at = $2, unmatched = batch.unmatched
    FROM unnest($3::uuid[], $4::jsonb[]) AS batch (person_id, unmatched)
    WHERE queue_entries.person_id = batch.person_id AND purpose = $1 AND state = 'waiting'
"""
# A person whose hours changed is new to the next round.
MARK_NEW = "UPDATE queue_entries SET waiting_since = $2 WHERE person_id = $1 AND state = 'waiting'"
# Served by queue_entries_waiting_idx.
COUNT_AHEAD = """
    SELECT count(*) FROM queue_entries
    WHERE purpose = $1 AND state = 'waiting' AND (since - make_interval(hours => credit_hours), person_id) < ($2, $3)
"""
# Calls that volunteers offer each week: their caps, but no more than their windows hold.
CALLS_A_WEEK = """
    SELECT coalesce(sum(least(coalesce(a.weekly_cap, $1), w.calls)), 0)::integer
    FROM availability a
    JOIN people p USING (person_id)
    JOIN (SELECT person_id, sum(floor(extract(epoch FROM
                 (CASE WHEN ends = '00:00' THEN interval '24 hours' ELSE ends - time '00:00' END)
                 - (starts - time '00:00')) / 60 / $2))::integer AS calls
          FROM availability_windows GROUP BY person_id) w USING (person_id)
    WHERE NOT a.paused AND 'volunteer' = ANY(p.roles) AND p.confirmed_at IS NOT NULL
"""
# Everybody who waits and has stated hours, longest wait first; an id that was merged into another waits no more, and
# the other not while the merged one has a call. Served by queue_entries_waiting_idx.
FIND_WAITING = """
    SELECT q.person_id, q.since, q.credit_hours, p.state, p.office, p.tracks, p.languages, p.language, p.facts,
           p.time_zone
    FROM queue_entries q JOIN people p USING (person_id) JOIN availability a USING (person_id)
    WHERE q.purpose = $1 AND q.state = 'waiting' AND p.confirmed_at IS NOT NULL AND NOT a.paused
      AND EXISTS (SELECT 1 FROM availability_windows w WHERE w.person_id = q.person_id)
      AND NOT EXISTS (SELECT 1 FROM tombstones t WHERE t.person_id = q.person_id)
      AND NOT EXISTS (SELECT 1 FROM person_aliases m WHERE m.alias_id = q.person_id)
      AND NOT EXISTS (SELECT 1 FROM person_aliases m JOIN bookings b ON b.prospect_id = m.alias_id
                      WHERE m.person_id = q.person_id AND b.purpose = q.purpose AND b.state IN ('held', 'confirmed'))
    ORDER BY q.since, q.person_id
"""
# What a round would be about. Served by queue_entries_waiting_idx, availability_updated_at_idx,
# bookings_closed_at_idx and match_batches_solved_at_idx.
GET_PRESSURE = """
    WITH last AS (SELECT coalesce(max(solved_at), '-infinity') AS at FROM match_batches),
         ready AS (SELECT q.waiting_since, q.considered_at FROM queue_entries q JOIN availability a USING (person_id)
                   WHERE q.purpose = $1 AND q.state = 'waiting' AND NOT a.paused
                     AND EXISTS (SELECT 1 FROM availability_windows w WHERE w.person_id = q.person_id))
    SELECT (SELECT count(*) FROM ready) AS waiting,
           (SELECT count(*) FROM ready WHERE considered_at IS NULL OR considered_at < waiting_since) AS fresh,
           (SELECT min(waiting_since) FROM ready WHERE considered_at IS NULL OR considered_at < waiting_since)
               AS oldest_fresh,
           (SELECT min(considered_at) FROM ready) AS oldest_considered,
           least((SELECT min(updated_at) FROM availability, last WHERE updated_at > last.at),
                 (SELECT min(closed_at) FROM bookings, last WHERE closed_at > last.at)) AS supply_changed
"""
GET_STATES = (
    "SELECT state, count(*) AS people, min(since) AS oldest FROM queue_entries WHERE purpose = $1 GROUP BY state"
)
# For the board: everybody who waits, longest wait first.
FIND_BOARD = """
    SELECT q.*, p.first_name, p.state AS home_state, p.office, p.languages, a.person_id IS NOT NULL AS has_hours
    FROM queue_entries q JOIN people p USING (person_id) LEFT JOIN availability a USING (person_id)
    WHERE q.purpose = $1 AND q.state = 'waiting'
    ORDER BY q.since - make_interval(hours => q.credit_hours), q.person_id LIMIT $2
"""


async def insert_entry(
    connection: Connection, person_id: UUID, purpose: Purpose, since: datetime, now: datetime
) -> bool:
    """Whether the person is newly in the queue; `since` is what their wait is counted from."""
    return bool((await connection.execute(INSERT_ENTRY, person_id, purpose, since, now)).endswith("1"))


async def get_entry(connection: Connection | Pool, person_id: UUID, purpose: Purpose) -> Mapping[str, Any] | None:
    """The person's row, if they ever were in the queue."""
    row: Mapping[str, Any] | None = await connection.fetchrow(GET_ENTRY, person_id, purpose)
    return row


async def lock_entry(connection: Connection, person_id: UUID, purpose: Purpose) -> Mapping[str, Any] | None:
    """The same, locked until commit."""
    row: Mapping[str, Any] | None = await connection.fetchrow(LOCK_ENTRY, person_id, purpose)
    return row


async def lock_waiting(connection: Connection, person_ids: Sequence[UUID], purpose: Purpose) -> frozenset[UUID]:
    """Those who still wait, locked until commit."""
    rows = await connection.fetch(LOCK_WAITING, list(person_ids), purpose)
    return frozenset(row["person_id"] for row in rows)


async def mark_waiting(
    connection: Connection,
    entry: Mapping[str, Any],
    now: datetime,
    *,
    credit_hours: int = 0,
    silences: int = 0,
    no_shows: int | None = None,
) -> None:
    """Back to the queue, with the whole wait and more credit."""
    shows = entry["no_shows"] if no_shows is None else no_shows
    await connection.execute(MARK_WAITING, entry["person_id"], entry["purpose"], now, credit_hours, silences, shows)


async def mark_parked(
    connection: Connection, entry: Mapping[str, Any], reason: str, *, silences: int = 0, no_shows: int = 0
) -> None:
    """Out of the queue until they come back themselves."""
    await connection.execute(MARK_PARKED, entry["person_id"], entry["purpose"], reason, silences, no_shows)


async def mark_state(connection: Connection, person_id: UUID, purpose: Purpose, state: str) -> None:
    """Booked or done: they answered, so no silence counts any more."""
    await connection.execute(MARK_STATE, person_id, purpose, state)


async def mark_held(connection: Connection, person_ids: Sequence[UUID], purpose: Purpose, now: datetime) -> None:
    """An hour is held for these."""
    await connection.execute(MARK_HELD, list(person_ids), purpose, now)


async def mark_considered(
    connection: Connection, purpose: Purpose, now: datetime, unmatched: Mapping[UUID, Mapping[str, Any]]
) -> None:
    """A round looked at these and left them waiting, each for a reason."""
    await connection.execute(MARK_CONSIDERED, purpose, now, list(unmatched), list(unmatched.values()))


async def mark_new(connection: Connection, person_id: UUID, now: datetime) -> None:
    """Have the next round look again."""
    await connection.execute(MARK_NEW, person_id, now)


async def count_ahead(connection: Connection | Pool, entry: Mapping[str, Any], effective: datetime) -> int:
    """How many wait longer, credit counted."""
    count: int = await connection.fetchval(COUNT_AHEAD, entry["purpose"], effective, entry["person_id"])
    return count


async def calls_a_week(connection: Connection | Pool, default_cap: int, call_minutes: int) -> int:
    """How many calls the volunteers offer in a week."""
    calls: int = await connection.fetchval(CALLS_A_WEEK, default_cap, call_minutes)
    return calls
