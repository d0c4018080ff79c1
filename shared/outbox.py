"""The outbox: events are appended in the transaction that changes the state, and relayed afterwards.

The argument, in full:

1. A row exists if and only if the change committed, since both are in one transaction.
2. A row is deleted only after the broker acknowledged it (`shared.relay`). A crash in between sends the same
   event id again.
3. Readers drop repeats by event id (`shared.inbox`), and older states by `ce_sequence`.
4. Events of one key are read in the order in which their transactions committed: the row of `streams` is locked
   before ids are drawn and held until commit, and one key lives in one shard.

`append` runs once, at the end of a transaction (`shared.work`), over keys in sorted order: two transactions that
touch the same keys queue up instead of deadlocking.
"""

import datetime as dt
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from uuid import UUID

import orjson

from shared.db import Connection
from shared.events import Event
from shared.events.envelope import headers_of, new_id, payload_of

SHARDS = 16

# Locks the row of each (topic, key), creating it at first use; rows come in sorted order. Served by the primary key.
TAKE_VERSIONS = """
    INSERT INTO streams (topic, key, version)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])
    ON CONFLICT (topic, key) DO UPDATE SET version = streams.version + excluded.version
    RETURNING topic, key, version
"""

# Ids are drawn in the order of the arrays.
INSERT_ROWS = """
    INSERT INTO outbox (shard, topic, key, event_id, headers, payload)
    SELECT shard, topic, key, event_id, headers, payload
    FROM unnest($1::smallint[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::bytea[])
         WITH ORDINALITY AS row (shard, topic, key, event_id, headers, payload, ordinal)
    ORDER BY ordinal
"""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event to append, with the business time it happened and the chain it belongs to."""

    event: Event
    time: dt.datetime
    correlation_id: str | None = None
    causation_id: UUID | None = None


def shard_of(key: str) -> int:
    """The shard of a key: stable across processes and versions."""
    return zlib.crc32(key.encode()) % SHARDS


async def append(connection: Connection, source: str, outgoing: Sequence[Outgoing]) -> list[UUID]:
    """Append events and return their ids, in the order given within each key.

    Must run inside the transaction of the change, after which nothing else of that transaction touches the keys.
    """
    if not outgoing:
        return []
    by_stream = sorted(outgoing, key=lambda out: (out.event.topic.name, out.event.key))
    counts = [
        (topic, key, len(list(group)))
        for (topic, key), group in groupby(by_stream, lambda out: (out.event.topic.name, out.event.key))
    ]
    taken = await connection.fetch(TAKE_VERSIONS, *(list(column) for column in zip(*counts, strict=True)))
    last = {(row["topic"], row["key"]): int(row["version"]) for row in taken}
    following = {(topic, key): last[topic, key] - count + 1 for topic, key, count in counts}

    ids: list[UUID] = []
    rows: list[tuple[int, str, str, UUID, str, bytes]] = []
    for out in by_stream:
        stream = (out.event.topic.name, out.event.key)
        event_id = new_id()
        headers = headers_of(
            out.event,
            event_id=event_id,
            source=source,
            time=out.time,
            sequence=following[stream],
            correlation_id=out.correlation_id,
            causation_id=out.causation_id,
        )
        following[stream] += 1
        ids.append(event_id)
        rows.append((shard_of(stream[1]), *stream, event_id, orjson.dumps(headers).decode(), payload_of(out.event)))
    await connection.execute(INSERT_ROWS, *(list(column) for column in zip(*rows, strict=True)))
    return ids
