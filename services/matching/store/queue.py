"""Who waits for a call."""

from datetime import datetime
from uuid import UUID

from shared.db import Connection
from shared.events.matching import Purpose

# A person who is in the queue already, in whatever state, stays as they are.
INSERT_ENTRY = """
    INSERT INTO queue_entries (person_id, purpose, since, waiting_since) VALUES ($1, $2, $3, $4)
    ON CONFLICT (person_id, purpose) DO NOTHING
"""


async def insert_entry(
    connection: Connection, person_id: UUID, purpose: Purpose, since: datetime, now: datetime
) -> bool:
    """Whether the person is newly in the queue; `since` is what their wait is counted from."""
    return bool((await connection.execute(INSERT_ENTRY, person_id, purpose, since, now)).endswith("1"))
