"""Statements about links, sessions, accounts and the audit log."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from shared.db import Connection

Row = Mapping[str, Any]

INSERT_LINK = """
    INSERT INTO links (id, purpose, token_hash, person_id, signup_id, next_url, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
# Served by links_token_hash_uq.
FIND_LINK = "SELECT * FROM links WHERE token_hash = $1"
# Locks the link, so that of two clicks one is first.
LOCK_LINK = "SELECT * FROM links WHERE token_hash = $1 FOR UPDATE"
MARK_LINK_USED = "UPDATE links SET used_at = $2 WHERE id = $1"
GET_LINKS = "SELECT * FROM links WHERE id = ANY($1::uuid[])"
# The newest link of each sign-up. Served by links_signup_id_idx.
GET_SIGNUP_LINKS = """
    SELECT DISTINCT ON (signup_id) links.*, signups.form, signups.status
    FROM links JOIN signups ON signups.id = signup_id
    WHERE signup_id = ANY($1::uuid[]) ORDER BY signup_id, links.created_at DESC
"""

INSERT_SESSION = "INSERT INTO sessions (id, person_id, token_hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)"
# Served by sessions_token_hash_uq.
FIND_SESSION = """
    SELECT coalesce(person_aliases.person_id, sessions.person_id) AS person_id FROM sessions
    LEFT JOIN person_aliases ON person_aliases.alias_id = sessions.person_id
    WHERE token_hash = $1 AND revoked_at IS NULL AND expires_at > clock_timestamp()
      AND NOT EXISTS (SELECT 1 FROM tombstones WHERE tombstones.person_id = sessions.person_id)
"""
REVOKE_SESSION = "UPDATE sessions SET revoked_at = clock_timestamp() WHERE token_hash = $1 AND revoked_at IS NULL"
# Served by sessions_person_id_idx.
REVOKE_SESSIONS = "UPDATE sessions SET revoked_at = clock_timestamp() WHERE person_id = $1 AND revoked_at IS NULL"

# Served by accounts_person_id_uq.
GET_ACCOUNT = "SELECT * FROM accounts WHERE person_id = $1 AND closed_at IS NULL"
# Opens, reopens or changes; accounts_person_id_uq keeps it one per person.
UPSERT_ACCOUNT = """
    INSERT INTO accounts (id, person_id, roles, outside, opened_at, changed_at) VALUES ($1, $2, $3, $4, $5, $5)
    ON CONFLICT (person_id) DO UPDATE SET roles = excluded.roles, outside = excluded.outside,
        changed_at = excluded.changed_at, closed_at = NULL
    RETURNING id
"""
CLOSE_ACCOUNT = """
    UPDATE accounts SET roles = '{}', closed_at = $2, changed_at = $2 WHERE person_id = $1 AND closed_at IS NULL
    RETURNING id, outside
"""
LIST_ACCOUNTS = """
    SELECT people.name, emails.email, accounts.roles, accounts.outside, accounts.opened_at
    FROM accounts JOIN people ON people.id = accounts.person_id
    LEFT JOIN LATERAL (SELECT email FROM person_emails WHERE person_emails.person_id = people.id
                       ORDER BY added_at LIMIT 1) AS emails ON true
    WHERE closed_at IS NULL ORDER BY people.name, accounts.id
"""

# One writer at a time, so that the chain has no forks; released with the transaction.
LOCK_AUDIT = "SELECT pg_advisory_xact_lock(hashtext('signup.audit_entries'))"
GET_LAST_AUDIT = "SELECT hash FROM audit_entries ORDER BY id DESC LIMIT 1"
INSERT_AUDIT = """
    INSERT INTO audit_entries (at, actor_account, actor_person, action, subject, details, previous_hash, hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
NO_ENTRY = bytes(32)


async def insert_link(
    connection: Connection,
    link_id: UUID,
    *,
    purpose: str,
    token_hash: bytes,
    person_id: UUID,
    signup_id: UUID | None,
    next_url: str | None,
    now: datetime,
    expires_at: datetime,
) -> None:
    """Write a link."""
    await connection.execute(INSERT_LINK, link_id, purpose, token_hash, person_id, signup_id, next_url, now, expires_at)


async def find_link(connection: Connection, token_hash: bytes) -> Row | None:
    """The link with that token, whatever its state."""
    row: Row | None = await connection.fetchrow(FIND_LINK, token_hash)
    return row


async def lock_link(connection: Connection, token_hash: bytes) -> Row | None:
    """The same, locked."""
    row: Row | None = await connection.fetchrow(LOCK_LINK, token_hash)
    return row


async def mark_link_used(connection: Connection, link_id: UUID, now: datetime) -> None:
    """Use up a locked link."""
    await connection.execute(MARK_LINK_USED, link_id, now)


async def get_links(connection: Connection, link_ids: Sequence[UUID]) -> dict[UUID, Row]:
    """Links by id."""
    return {row["id"]: row for row in await connection.fetch(GET_LINKS, link_ids)}


async def get_signup_links(connection: Connection, signup_ids: Sequence[UUID]) -> dict[UUID, Row]:
    """The newest link of each sign-up, with the sign-up's `form` and `status`."""
    return {row["signup_id"]: row for row in await connection.fetch(GET_SIGNUP_LINKS, signup_ids)}


async def insert_session(
    connection: Connection, session_id: UUID, person_id: UUID, token_hash: bytes, now: datetime, expires_at: datetime
) -> None:
    """Write a session; wall-clock times."""
    await connection.execute(INSERT_SESSION, session_id, person_id, token_hash, now, expires_at)


async def find_session(connection: Connection, token_hash: bytes) -> UUID | None:
    """Whose session a refresh token opens, if it is still good."""
    person_id: UUID | None = await connection.fetchval(FIND_SESSION, token_hash)
    return person_id


async def revoke_session(connection: Connection, token_hash: bytes) -> None:
    """End one session."""
    await connection.execute(REVOKE_SESSION, token_hash)


async def revoke_sessions(connection: Connection, person_id: UUID) -> None:
    """End all sessions of a person."""
    await connection.execute(REVOKE_SESSIONS, person_id)


async def get_account(connection: Connection, person_id: UUID) -> Row | None:
    """The open account of a person."""
    row: Row | None = await connection.fetchrow(GET_ACCOUNT, person_id)
    return row


async def upsert_account(
    connection: Connection, account_id: UUID, person_id: UUID, roles: Sequence[str], *, outside: bool, now: datetime
) -> UUID:
    """Open an account or give it other roles; returns its id."""
    stored: UUID = await connection.fetchval(UPSERT_ACCOUNT, account_id, person_id, sorted(roles), outside, now)
    return stored


async def close_account(connection: Connection, person_id: UUID, now: datetime) -> Row | None:
    """Close an account; its `id` and `outside`, or None when none was open."""
    row: Row | None = await connection.fetchrow(CLOSE_ACCOUNT, person_id, now)
    return row


async def list_accounts(connection: Connection) -> Sequence[Row]:
    """Every open account with name and address, for the operator."""
    rows: Sequence[Row] = await connection.fetch(LIST_ACCOUNTS)
    return rows


async def append_audit(
    connection: Connection,
    *,
    at: datetime,
    account_id: UUID | None,
    person_id: UUID | None,
    action: str,
    subject: str,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Append a privileged act; `details` hold ids and codes only. The hash covers the row and the one before it."""
    await connection.execute(LOCK_AUDIT)
    previous: bytes = await connection.fetchval(GET_LAST_AUDIT) or NO_ENTRY
    content = audit_content(at, account_id, person_id, action, subject, details or {})
    digest = hashlib.sha256(previous + content).digest()
    await connection.execute(
        INSERT_AUDIT, at, account_id, person_id, action, subject, dict(details or {}), previous, digest
    )


def audit_content(
    at: datetime,
    account_id: UUID | None,
    person_id: UUID | None,
    action: str,
    subject: str,
    details: Mapping[str, Any],
) -> bytes:
    """The canonical bytes of an entry, which its hash covers after the hash before it."""
    # The driver's UUIDs are a subclass, which orjson does not write by itself.
    actors = [str(value) if value else None for value in (account_id, person_id)]
    entry = [at, *actors, action, subject, dict(details)]
    return orjson.dumps(entry, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)
