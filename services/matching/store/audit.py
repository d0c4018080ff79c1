"""The record of privileged acts, each row chained to the one before by its hash."""

import hashlib
from collections.abc import Mapping
from uuid import UUID

import orjson

from shared.web.sessions import Principal
from shared.work import Work

# One writer at a time, so that the chain has no fork; held until commit.
LOCK_CHAIN = "SELECT pg_advisory_xact_lock(hashtext('audit_entries'))"
# Served by the primary key.
GET_LAST_HASH = "SELECT hash FROM audit_entries ORDER BY id DESC LIMIT 1"
INSERT_ENTRY = """
    INSERT INTO audit_entries (at, actor_id, account_id, action, subject, details, previous_hash, hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""


async def insert_entry(
    work: Work, actor: Principal, action: str, subject: UUID | str, details: Mapping[str, object] | None = None
) -> None:
    """Append one act of `actor`. `details` hold ids and codes, never names or free text."""
    await work.connection.execute(LOCK_CHAIN)
    previous: bytes = await work.connection.fetchval(GET_LAST_HASH) or bytes(32)
    row = {
        "at": work.now.isoformat(),
        "actor": str(actor.person_id),
        "account": str(actor.account_id) if actor.account_id else None,
        "action": action,
        "subject": str(subject),
        "details": dict(details or {}),
    }
    digest = hashlib.sha256(previous + orjson.dumps(row, option=orjson.OPT_SORT_KEYS, default=str)).digest()
    await work.connection.execute(
        INSERT_ENTRY,
        work.now,
        actor.person_id,
        actor.account_id,
        action,
        str(subject),
        dict(details or {}),
        previous,
        digest,
    )
