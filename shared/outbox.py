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

# The sequence that headers bear until APPEND puts the true one in its place; true ones count from 1. No other header's
# value can hold the text that is replaced, since quotes are escaped in it.
UNNUMBERED = 0

# First locks the row of each (topic, key), creating it at first use; streams come in sorted order. Then draws the ids,
# in the order of the rows, each of which names its stream by place and how many of that stream come after it: the sort
# ends before the first id is drawn, and it waits for the versions. Versions come in the order of the streams, by code
# points, which is Python's order too. Served by the primary key of streams.
APPEND = """
    WITH taken AS (
        INSERT INTO streams (topic, key, version)
        SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])
        ON CONFLICT (topic, key) DO UPDATE SET version = streams.version + excluded.version
        RETURNING topic, key, version)
    INSERT INTO outbox (shard, topic, key, event_id, headers, payload)
    SELECT shard, ($1::text[])[stream], ($2::text[])[stream], event_id,
           replace(headers, '["ce_sequence","00000000000000000000"]',
                   format('["ce_sequence","%s"]', lpad((versions[stream] - later)::text, 20, '0'))), payload
    FROM (SELECT array_agg(version ORDER BY topic COLLATE "C", key COLLATE "C") AS versions FROM taken) AS numbered,
         unnest($4::smallint[], $5::int[], $6::int[], $7::uuid[], $8::text[], $9::bytea[])
         WITH ORDINALITY AS row (shard, stream, later, event_id, headers, payload, ordinal)
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
    streams: list[tuple[str, str, int]] = []
    rows: list[tuple[int, int, int, UUID, str, bytes]] = []
    for place, ((topic, key), group) in enumerate(
        groupby(by_stream, lambda out: (out.event.topic.name, out.event.key)), start=1
    ):
        events = list(group)
        streams.append((topic, key, len(events)))
        shard = shard_of(key)
        for later, out in zip(reversed(range(len(events))), events, strict=True):
            event_id = new_id()
            headers = headers_of(
                out.event,
                event_id=event_id,
                source=source,
                time=out.time,
                sequence=UNNUMBERED,
                correlation_id=out.correlation_id,
                causation_id=out.causation_id,
            )
            rows.append((shard, place, later, event_id, orjson.dumps(headers).decode(), payload_of(out.event)))
    await connection.execute(
        APPEND,
        *(list(column) for column in zip(*streams, strict=True)),
        *(list(column) for column in zip(*rows, strict=True)),
    )
    return [event_id for _shard, _place, _later, event_id, _headers, _payload in rows]
