"""The worker's upper ceiling: asyncpg, the same rows from memory by `unnest`, a commit for each batch."""

from collections.abc import Sequence
from typing import Any

import asyncpg

INSERT_SEEN = "INSERT INTO inbox_seen (event_day, event_id) SELECT * FROM unnest($1::date[], $2::uuid[])"
INSERT_MESSAGES = """
    INSERT INTO messages (id, event_id, event_type, person_id, template, channel, delivery, reference, state, due_at,
                          correlation_id, program_version, program_hash, created_at)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::text[],
                         $8::text[], $9::text[], $10::timestamptz[], $11::text[], $12::text[], $13::text[],
                         $14::timestamptz[])
"""


async def insert(
    connection: "asyncpg.Connection[Any]", seen: Sequence[Sequence[Any]], messages: Sequence[Sequence[Any]], batch: int
) -> None:
    """Insert all rows, given as columns."""
    for start in range(0, len(seen[0]), batch):
        part = slice(start, start + batch)
        async with connection.transaction():
            await connection.execute(INSERT_SEEN, *(column[part] for column in seen))
            await connection.execute(INSERT_MESSAGES, *(column[part] for column in messages))
