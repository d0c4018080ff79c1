"""What is kept of people: suppressions, consents as signup last said, hashes of contacts, the audit log."""

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson

from shared.db import Connection

SUPPRESSION_LOCK = 0x5075_7070
"""Held in share by hand-offs and alone by whoever suppresses: a hand-off sees a stop that was answered before."""

SHARE_LOCK = "SELECT pg_advisory_xact_lock_shared($1)"
TAKE_LOCK = "SELECT pg_advisory_xact_lock($1)"
# Served by suppressions_person_id_idx and suppressions_contact_hash_idx.
GET_SUPPRESSIONS = """
    SELECT channel, scope, reason, person_id, contact_hash FROM suppressions
    WHERE lifted_at IS NULL AND (person_id = ANY($1::uuid[]) OR contact_hash = ANY($2::bytea[]))
"""
# By reason too: each ends by its own rule, so that a STOP outlives a choice on a page that was made before it.
INSERT_SUPPRESSION = """
    INSERT INTO suppressions (channel, scope, reason, person_id, contact_hash, since)
    SELECT $1, $2, $3, $4, $5, $6
    WHERE NOT EXISTS (SELECT 1 FROM suppressions
                      WHERE channel = $1 AND scope = $2 AND reason = $3 AND lifted_at IS NULL
                        AND person_id IS NOT DISTINCT FROM $4 AND contact_hash IS NOT DISTINCT FROM $5)
    RETURNING id
"""
# Served by suppressions_person_id_idx and suppressions_contact_hash_idx; a row has one of the two.
SAY_AGAIN = """
    UPDATE suppressions SET said_again_at = $6
    WHERE channel = $1 AND scope = $2 AND reason = $3 AND lifted_at IS NULL AND (person_id = $4 OR contact_hash = $5)
"""
# What the person may take back: their own word, if it is older than what they say now ($4); never a bounce or a
# complaint. START ($6) is said from a number, which others may share: it ends all that holds for the number itself,
# and of its people's rows those that a STOP wrote. A number's STOP ends by START alone. Served as above.
LIFT_SUPPRESSIONS = """
    UPDATE suppressions SET lifted_at = $5
    WHERE channel = $1 AND lifted_at IS NULL AND reason IN ('unsubscribed', 'stop', 'preference')
      AND coalesce(said_again_at, since) <= $4
      AND ((person_id = ANY($2::uuid[]) AND (reason = 'stop' OR NOT $6))
           OR (contact_hash = ANY($3::bytea[]) AND (reason <> 'stop' OR $6)))
    RETURNING person_id
"""
MERGE_CONSENTS = """
    INSERT INTO consents (person_id, channel, granted, sequence)
    SELECT DISTINCT ON (person_id, channel) person_id, channel, granted, sequence
    FROM unnest($1::uuid[], $2::text[], $3::boolean[], $4::bigint[]) AS new (person_id, channel, granted, sequence)
    ORDER BY person_id, channel, sequence DESC
    ON CONFLICT (person_id, channel) DO UPDATE SET granted = excluded.granted, sequence = excluded.sequence
    WHERE consents.sequence < excluded.sequence
"""
GET_WITHDRAWN = "SELECT person_id, channel FROM consents WHERE person_id = ANY($1::uuid[]) AND NOT granted"
NOTE_CONTACTS = """
    INSERT INTO contact_hashes (contact_hash, person_id, language, seen_at)
    SELECT DISTINCT contact_hash, person_id, language, $4::timestamptz
    FROM unnest($1::bytea[], $2::uuid[], $3::text[]) AS new (contact_hash, person_id, language)
    ORDER BY contact_hash, person_id
    ON CONFLICT (contact_hash, person_id) DO UPDATE SET seen_at = excluded.seen_at, language = excluded.language
"""
FIND_BY_CONTACT = "SELECT person_id, language FROM contact_hashes WHERE contact_hash = $1 ORDER BY seen_at DESC"
GET_HASHES = "SELECT contact_hash FROM contact_hashes WHERE person_id = ANY($1::uuid[])"
INSERT_REPLY = """
    INSERT INTO text_replies (id, contact_hash, kind, state, created_at)
    SELECT $1, $2, $3, 'handing', $4::timestamptz
    WHERE NOT EXISTS (SELECT 1 FROM text_replies WHERE contact_hash = $2 AND kind = $3
                        AND created_at > $4::timestamptz - interval '1 minute')
    RETURNING id
"""
MARK_REPLY = "UPDATE text_replies SET state = $2 WHERE id = $1"
# Whose process died, or whose outcome the database did not take: longer than a hand-over can last. A late word still
# settles it. Served by text_replies_handing_idx.
FORGET_REPLIES = """
    UPDATE text_replies SET state = 'unknown'
    WHERE state = 'handing' AND created_at <= business_now() - interval '30 seconds'
"""
LOCK_AUDIT = "SELECT pg_advisory_xact_lock($1)"
LAST_AUDIT = "SELECT hash FROM audit_entries ORDER BY id DESC LIMIT 1"
INSERT_AUDIT = """
    INSERT INTO audit_entries (at, actor, action, subject, details, previous_hash, hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
AUDIT_LOCK = 0x4175_6474


async def get_suppressions(
    connection: Connection, person_ids: Sequence[UUID], hashes: Sequence[bytes]
) -> list[Mapping[str, Any]]:
    """Suppressions that hold for any of these people or contacts."""
    return list(await connection.fetch(GET_SUPPRESSIONS, list(person_ids), list(hashes)))


async def insert_suppression(
    connection: Connection, *, channel: str, scope: str, reason: str, person_id: UUID | None,
    contact_hash: bytes | None, now: dt.datetime,
) -> bool:  # fmt: skip
    """Suppress a person or a contact; false when that already held, which then counts as said again."""
    await connection.execute(TAKE_LOCK, SUPPRESSION_LOCK)
    values = (channel, scope, reason, person_id, contact_hash, now)
    done = await connection.fetchval(INSERT_SUPPRESSION, *values)
    if done is None:
        await connection.execute(SAY_AGAIN, *values)
    return done is not None


async def lift_suppressions(
    connection: Connection, channel: str, person_ids: Sequence[UUID], hashes: Sequence[bytes], *,
    said_at: dt.datetime, by_text: bool, now: dt.datetime,
) -> list[UUID | None]:  # fmt: skip
    """Take back what was said until `said_at`; whose each lifted row was, None for a contact's.

    A number's STOP is lifted only `by_text`, which lifts of the people's rows no others than a STOP's.
    """
    await connection.execute(TAKE_LOCK, SUPPRESSION_LOCK)
    rows = await connection.fetch(LIFT_SUPPRESSIONS, channel, list(person_ids), list(hashes), said_at, now, by_text)
    return [row["person_id"] for row in rows]


async def merge_consents(connection: Connection, rows: Iterable[tuple[UUID, str, bool, int]]) -> None:
    """Take over what is newer."""
    columns = list(zip(*rows, strict=True))
    if columns:
        await connection.execute(MERGE_CONSENTS, *(list(column) for column in columns))


async def get_withdrawn(connection: Connection, person_ids: Sequence[UUID]) -> frozenset[tuple[UUID, str]]:
    """(person, channel) pairs for which consent was withdrawn."""
    rows = await connection.fetch(GET_WITHDRAWN, list(person_ids))
    return frozenset((row["person_id"], row["channel"]) for row in rows)


async def note_contacts(connection: Connection, contacts: Sequence[tuple[bytes, UUID, str]], now: dt.datetime) -> None:
    """Remember whose contact a hash is, and the language spoken there."""
    if contacts:
        await connection.execute(NOTE_CONTACTS, *(list(column) for column in zip(*contacts, strict=True)), now)


async def find_by_contact(connection: Connection, contact_hash: bytes) -> list[tuple[UUID, str]]:
    """People (with language) whom that contact belonged to, the last written to first."""
    rows = await connection.fetch(FIND_BY_CONTACT, contact_hash)
    return [(row["person_id"], row["language"]) for row in rows]


async def insert_reply(
    connection: Connection, reply_id: UUID, contact_hash: bytes, kind: str, now: dt.datetime
) -> bool:
    """Whether an answer of that kind is to be given: one a minute at most."""
    return await connection.fetchval(INSERT_REPLY, reply_id, contact_hash, kind, now) is not None


async def append_audit(
    connection: Connection, *, actor: UUID, action: str, subject: str, details: Mapping[str, Any], now: dt.datetime
) -> None:
    """Append what a member of staff did, chained to the entry before. `details` hold ids and codes only."""
    await connection.execute(LOCK_AUDIT, AUDIT_LOCK)
    previous: bytes = await connection.fetchval(LAST_AUDIT) or bytes(32)
    content = orjson.dumps([now.isoformat(), str(actor), action, subject, dict(details)], option=orjson.OPT_SORT_KEYS)
    digest = hashlib.sha256(previous + content).digest()
    await connection.execute(INSERT_AUDIT, now, actor, action, subject, dict(details), previous, digest)
