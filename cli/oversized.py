"""Events that are too large for the brokers: found in an outbox, and shortened under their own number.

An event that was appended has its number, and everybody counts on it: taken away, it would leave a gap for good. So its
texts are cut, and the rest stays: id, number, time and type. What was cut is written down in `outbox_changes`, in the
same transaction, where the ledger looks for it.
"""

from typing import Any
from uuid import UUID

import asyncpg
import orjson

from shared.batches import MAX_REQUEST_BYTES
from shared.errors import Unprocessable
from shared.events.envelope import Received, decode

# Key, headers and the batch around them take the rest.
MAX_PAYLOAD_BYTES = MAX_REQUEST_BYTES - 50_000
# Ids, times and codes are shorter, and stay whole.
LEAST_CHARACTERS = 64
LISTED = 200
CUT = "…"

FIND_LARGE = """
    SELECT event_id, topic, key, octet_length(payload) AS bytes, created_at FROM outbox
    WHERE octet_length(payload) > $1 ORDER BY id LIMIT $2
"""
# The relay reads without locks: what it has read of this row is too large, so it leaves the row.
LOCK_ROW = "SELECT shard, id, topic, key, headers, payload FROM outbox WHERE event_id = $1 FOR UPDATE"
INSERT_CHANGE = """
    INSERT INTO outbox_changes (topic, key, event_id, former, later, fields, reason)
    SELECT topic, key, event_id, sha256(convert_to(key, 'UTF8') || '\\x00'::bytea || payload),
           sha256(convert_to(key, 'UTF8') || '\\x00'::bytea || $3::bytea), $4, $5
    FROM outbox WHERE shard = $1 AND id = $2
"""
MARK_SHORTENED = "UPDATE outbox SET payload = $3 WHERE shard = $1 AND id = $2"


class NotShortened(Exception):
    """Nothing was changed; says why, and what to do."""


async def find_large(connection: "asyncpg.Connection[asyncpg.Record]") -> list[Any]:
    """Events of an outbox that the relay can't send: id, topic, key, bytes, since when; at most `LISTED`."""
    rows: list[Any] = await connection.fetch(FIND_LARGE, MAX_PAYLOAD_BYTES, LISTED)
    return rows


async def shorten(
    connection: "asyncpg.Connection[asyncpg.Record]", event_id: UUID, characters: int, reason: str
) -> tuple[int, list[str]]:
    """Cut the texts of a waiting event to so many characters; its bytes then, and the fields that were cut.

    Raises `NotShortened` for an event that is not there or not too large, or would still be, or would be none any more.
    """
    async with connection.transaction():
        row = await connection.fetchrow(LOCK_ROW, event_id)
        if row is None:
            raise NotShortened(
                f"No event {event_id} waits there; `hustings records large` lists those that are too large."
            )
        if len(row["payload"] or b"") <= MAX_PAYLOAD_BYTES:
            raise NotShortened(f"The event {event_id} is not too large: the relay sends it as it is.")
        content, fields = cut(orjson.loads(row["payload"]), characters)
        payload = orjson.dumps(content)
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise NotShortened(
                f"With texts of {characters} characters the event {event_id} still has {len(payload):,} bytes of at"
                f" most {MAX_PAYLOAD_BYTES:,}: give a smaller --to."
            )
        _demand_event(row, payload)
        await connection.execute(INSERT_CHANGE, row["shard"], row["id"], payload, fields, reason)
        await connection.execute(MARK_SHORTENED, row["shard"], row["id"], payload)
    return len(payload), fields


def cut(value: Any, characters: int, path: str = "") -> tuple[Any, list[str]]:
    """JSON whose texts have at most so many characters, the last of a cut one being `CUT`; and the paths of those."""
    if isinstance(value, str) and len(value) > characters:
        return value[: characters - 1] + CUT, [path]
    if isinstance(value, dict):
        parts = {name: cut(part, characters, f"{path}.{name}".lstrip(".")) for name, part in value.items()}
        return {name: part for name, (part, _) in parts.items()}, [at for _, found in parts.values() for at in found]
    if isinstance(value, list):
        listed = [cut(part, characters, f"{path}.{number}".lstrip(".")) for number, part in enumerate(value)]
        return [part for part, _ in listed], [at for _, found in listed for at in found]
    return value, []


def _demand_event(row: Any, payload: bytes) -> None:
    """What is left is an event of the same type and key, as a reader will see it."""
    headers = [(name, value.encode()) for name, value in orjson.loads(row["headers"])]
    try:
        found = decode(
            topic=row["topic"], partition=0, offset=0, key=row["key"].encode(), headers=headers, value=payload
        )
    except Unprocessable as no:
        raise NotShortened(f"Shortened, no reader would take it: {no}. Give a larger --to.") from None
    if not isinstance(found, Received):
        raise NotShortened(f"This version knows no events of the type {found.type}: use the `hustings` of its version.")
