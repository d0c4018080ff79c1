"""The projection of people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from shared.db import Connection, Pool

# New rows are born stale. Locks in the order of the ids given.
MARK_STALE = """
    INSERT INTO people (person_id) SELECT unnest($1::uuid[])
    ON CONFLICT (person_id) DO UPDATE
        SET stale_version = people.stale_version + 1, fetch_after = '-infinity'
"""
# Served by people_stale_idx; locks nothing, the fetch happens outside any transaction.
FIND_STALE = """
    SELECT person_id, stale_version FROM people
    WHERE stale_version > fetched_version AND fetch_after <= clock_timestamp()
    ORDER BY fetch_after, person_id LIMIT $1
"""
# Two workers that fetched the same people both write what they read; the later version wins.
UPSERT_PROFILE = """
    UPDATE people SET fetched_version = $2, first_name = $3, roles = $4, language = $5, languages = $6,
        time_zone = $7, state = $8, office = $9, tracks = $10, facts = $11, signed_up_at = $12, confirmed_at = $13
    WHERE person_id = $1 AND fetched_version < $2
    RETURNING person_id
"""
# Signup does not know them (yet, or any more): look again later.
PUT_OFF = """
    UPDATE people SET fetch_after = clock_timestamp() + make_interval(secs => $2) WHERE person_id = ANY($1::uuid[])
"""
# Served by the primary key.
GET_PEOPLE = "SELECT * FROM people WHERE person_id = ANY($1::uuid[])"


async def mark_stale(connection: Connection, person_ids: Sequence[UUID]) -> None:
    """Have these people fetched (again)."""
    await connection.execute(MARK_STALE, sorted(person_ids))


async def ensure(connection: Connection, person_ids: Sequence[UUID]) -> None:
    """A row for each, stale when it is new."""
    await connection.execute("INSERT INTO people (person_id) SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING",
                             sorted(person_ids))  # fmt: skip


async def find_stale(pool: Pool, limit: int) -> dict[UUID, int]:
    """People to fetch, each with the version that the fetch will satisfy."""
    return {row["person_id"]: row["stale_version"] for row in await pool.fetch(FIND_STALE, limit)}


async def put_off(connection: Connection, person_ids: Sequence[UUID], seconds: float) -> None:
    """Do not fetch these before so many seconds have passed (wall clock)."""
    await connection.execute(PUT_OFF, list(person_ids), seconds)


async def get_people(connection: Connection | Pool, person_ids: Sequence[UUID]) -> dict[UUID, Any]:
    """Rows by id, of those that exist."""
    return {row["person_id"]: row for row in await connection.fetch(GET_PEOPLE, list(person_ids))}
