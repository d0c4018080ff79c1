"""The audit log: one row per privileged act, each hashed over the one before."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from shared.db import Connection

# Locks the head, so that rows are written one after another; the last lock a transaction takes.
LOCK_HEAD = "SELECT hash FROM audit_head FOR UPDATE"
INSERT = """
    INSERT INTO audit_entries (at, person_id, account_id, action, subject, details, previous_hash, hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
MOVE_HEAD = "UPDATE audit_head SET hash = $1"
FIND = "SELECT * FROM audit_entries ORDER BY id"


async def append_audit(
    connection: Connection,
    *,
    person_id: UUID,
    account_id: UUID | None,
    action: str,
    subject: UUID,
    now: datetime,
    **details: str | int | None,
) -> None:
    """`details` are ids and codes, never free text or names."""
    previous = await connection.fetchval(LOCK_HEAD)
    digest = entry_hash(previous, now, person_id, account_id, action, str(subject), details)
    await connection.execute(INSERT, now, person_id, account_id, action, str(subject), details, previous, digest)
    await connection.execute(MOVE_HEAD, digest)


def entry_hash(
    previous: str,
    at: datetime,
    person_id: UUID,
    account_id: UUID | None,
    action: str,
    subject: str,
    details: Mapping[str, Any],
) -> str:
    """SHA-256, in hex, of the entry's canonical JSON and the hash before it."""
    content = [previous, at.isoformat(), str(person_id), str(account_id), action, subject, dict(details)]
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


async def verify_chain(connection: Connection) -> int | None:
    """The id of the first entry that was tampered with, None when the chain is whole."""
    previous = "0" * 64
    for row in await connection.fetch(FIND):
        digest = entry_hash(
            previous, row["at"], row["person_id"], row["account_id"], row["action"], row["subject"], row["details"]
        )
        if row["previous_hash"] != previous or row["hash"] != digest:
            return int(row["id"])
        previous = digest
    return None if previous == await connection.fetchval("SELECT hash FROM audit_head") else 0
