"""The inbox: takes a batch of records to effect exactly once, however often they are delivered.

One transaction per batch: lock the offset rows; drop what is below them; note event ids, which yields the ones not
seen before; run the handlers; append their events; advance the offsets; commit. Offsets alone would let a
producer's repeats through, ids alone would have to be kept for ever.

Order: events of one key are handled in the order of the topic. A batch is cut into layers, the first event of each
key, then the second of each, and within a layer the events of one type go to their handler together, so that
handlers can work in sets.

A large batch of several partitions is cut into two lanes by partition, each with a transaction of its own, so that
one works while the other waits for the database. Nothing holds between partitions that this could break: they may as
well be read by two workers. If one lane fails, the batch comes again, and what the other committed is below its
offsets.

Fates of a record (see `shared.errors`):

    handled      the effect and the offset are committed together
    parked       its handler failed: it waits under its key, later events of the key queue behind it
    quarantined  it can't be decoded, or its handler said `Unprocessable`
    unknown      a type this version doesn't know: counted, passed over
    forgotten    it speaks of an erased person

An infrastructure fault (`shared.db.TRANSIENT`) has no fate: everything rolls back and the batch comes again.
"""

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

import structlog

from shared import metrics, people
from shared.db import Connection, Pool, is_transient
from shared.errors import Rejected, Unprocessable
from shared.events import Event
from shared.events.envelope import Received, Unknown, decode, raw_headers_as_json
from shared.log import get_logger
from shared.work import Work, Workshop

log = get_logger("inbox")

MAX_ATTEMPTS = 8
UNKNOWN_PAUSE_SECONDS = 60.0
LANES, LEAST_FOR_LANES = 2, 400
DECODE_AT_ONCE = 200
# Longer than any topic keeps a record, and than an operator takes to redrive one.
KEEP_SEEN_DAYS = 60

Handler: TypeAlias = Callable[[Work, Sequence[Received]], Awaitable[None]]
Routes: TypeAlias = Mapping[type[Event], Handler]

# Locks all in one order. Served by the primary key.
LOCK_OFFSETS = """
    SELECT topic, partition, next_offset FROM inbox_offsets
    JOIN unnest($1::text[], $2::int[]) AS batch (topic, partition) USING (topic, partition)
    ORDER BY topic, partition FOR UPDATE OF inbox_offsets
"""
INSERT_OFFSETS = """
    INSERT INTO inbox_offsets (topic, partition, cluster_id, next_offset)
    SELECT topic, partition, $3, 0 FROM unnest($1::text[], $2::int[]) AS batch (topic, partition)
    ORDER BY topic, partition ON CONFLICT DO NOTHING
"""
ADVANCE_OFFSETS = """
    UPDATE inbox_offsets SET next_offset = batch.next_offset, updated_at = now()
    FROM unnest($1::text[], $2::int[], $3::bigint[]) AS batch (topic, partition, next_offset)
    WHERE inbox_offsets.topic = batch.topic AND inbox_offsets.partition = batch.partition
"""
GET_OFFSETS = """
    SELECT topic, partition, cluster_id, next_offset FROM inbox_offsets
    JOIN unnest($1::text[], $2::int[]) AS batch (topic, partition) USING (topic, partition)
"""
INSERT_SEEN = """
    INSERT INTO inbox_seen (event_day, event_id) SELECT * FROM unnest($1::date[], $2::uuid[])
    ON CONFLICT DO NOTHING RETURNING event_id
"""
# Served by parked_topic_key_idx. Nearly always there is none, and no key needs to be looked up.
ANY_PARKED = "SELECT EXISTS (SELECT 1 FROM parked WHERE topic = ANY($1::text[]))"
GET_PARKED_KEYS = """
    SELECT DISTINCT topic, key FROM parked
    JOIN unnest($1::text[], $2::text[]) AS batch (topic, key) USING (topic, key)
"""
INSERT_PARKED = """
    INSERT INTO parked (topic, key, event_id, event_type, partition, record_offset, headers, value, error, retry_at,
                        attempts)
    VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8, $9, clock_timestamp() + make_interval(secs => $10), $11)
    ON CONFLICT (event_id) DO NOTHING
"""
INSERT_QUARANTINED = """
    INSERT INTO quarantined (topic, partition, record_offset, key, headers, value, reason)
    VALUES ($1, $2, $3, $4, $5::text::jsonb, $6, $7) ON CONFLICT DO NOTHING
"""
# Locks the heads of keys whose next try is due; served by parked_retry_at_idx and parked_topic_key_idx.
TAKE_PARKED = """
    SELECT * FROM parked WHERE status = 'parked' AND retry_at <= clock_timestamp()
      AND NOT EXISTS (SELECT 1 FROM parked earlier WHERE earlier.topic = parked.topic
                      AND earlier.key = parked.key AND earlier.id < parked.id)
    ORDER BY retry_at LIMIT $1 FOR UPDATE SKIP LOCKED
"""
MARK_PARKED = """
    UPDATE parked SET attempts = $2, status = $3, error = $4,
           retry_at = clock_timestamp() + make_interval(secs => $5) WHERE id = $1
"""
# Served by inbox_seen_seen_at_idx; bounded, so that it never holds anybody up.
PRUNE_SEEN = """
    DELETE FROM inbox_seen WHERE ctid IN (
        SELECT ctid FROM inbox_seen WHERE seen_at < now() - make_interval(days => $1) LIMIT 5000)
"""
DELETE_PARKED = "DELETE FROM parked WHERE id = $1"


@dataclass(frozen=True, slots=True)
class Record:
    """A record as Kafka gave it. aiokafka's own are taken as they are: they have these, and more."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    value: bytes | None


class Inbox:
    """Takes records to effect through a service's routing table."""

    def __init__(self, workshop: Workshop, routes: Routes) -> None:
        self._workshop = workshop
        self._routes = routes

    async def take(self, records: Sequence[Record], *, cluster_id: str) -> int:
        """Take one batch, of any partitions, to effect; returns the number of events handled for the first time.

        Raises what `shared.db.TRANSIENT` names when nothing was committed and the batch must come again.
        """
        results = await asyncio.gather(
            *(self._take_lane(lane, cluster_id) for lane in lanes_of(records)), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return sum(result for result in results if isinstance(result, int))

    async def _take_lane(self, records: Sequence[Record], cluster_id: str) -> int:
        decoded: list[tuple[Record, Received | Unknown | Unprocessable]] = []
        for start in range(0, len(records), DECODE_AT_ONCE):
            decoded += [(record, _fate(record)) for record in records[start : start + DECODE_AT_ONCE]]
            # Whoever else runs in this process, such as its web pages, has a turn.
            await asyncio.sleep(0)
        try:
            return await self._take(decoded, cluster_id, singly=False)
        except Exception as error:
            if is_transient(error):
                raise
            log.warning("batch_failed", records=len(records), error=type(error).__name__)
            return await self._take(decoded, cluster_id, singly=True)

    async def _take(
        self, decoded: Sequence[tuple[Record, "Received | Unknown | Unprocessable"]], cluster_id: str, *, singly: bool
    ) -> int:
        async with self._workshop.begin() as work:
            connection = work.connection
            fresh = await self._above_offsets(connection, decoded, cluster_id)
            for record, fate in fresh:
                if isinstance(fate, Unprocessable):
                    await _quarantine(connection, record, str(fate))
                elif isinstance(fate, Unknown):
                    metrics.INBOX_EVENTS.labels("unknown").inc()
                    log.info("event_type_unknown", type=fate.type, topic=record.topic, offset=record.offset)
            routed = [
                (record, fate)
                for record, fate in fresh
                if isinstance(fate, Received) and type(fate.event) in self._routes
            ]
            routed = await self._behind_parked(connection, routed)
            work_list = await self._unseen(connection, routed)
            if singly:
                await self._handle_singly(work, work_list)
            else:
                await self._handle(work, [received for _, received in work_list])
            await self._advance(connection, fresh)
        metrics.INBOX_EVENTS.labels("handled").inc(len(work_list))
        return len(work_list)

    async def _above_offsets(
        self,
        connection: Connection,
        decoded: Sequence[tuple[Record, "Received | Unknown | Unprocessable"]],
        cluster_id: str,
    ) -> list[tuple[Record, "Received | Unknown | Unprocessable"]]:
        partitions = sorted({(record.topic, record.partition) for record, _ in decoded})
        topics, numbers = [t for t, _ in partitions], [p for _, p in partitions]
        rows = await connection.fetch(LOCK_OFFSETS, topics, numbers)
        if len(rows) < len(partitions):
            # Once in a partition's life. Workers that do it at once may deadlock: then one of them comes again.
            await connection.execute(INSERT_OFFSETS, topics, numbers, cluster_id)
            rows = await connection.fetch(LOCK_OFFSETS, topics, numbers)
        following = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
        return [(r, fate) for r, fate in decoded if r.offset >= following[r.topic, r.partition]]

    async def _behind_parked(
        self, connection: Connection, routed: list[tuple[Record, Received]]
    ) -> list[tuple[Record, Received]]:
        """Queue the events whose key has a parked one, and return the others."""
        if not routed or not await connection.fetchval(ANY_PARKED, list({record.topic for record, _ in routed})):
            return routed
        keys = {(record.topic, received.key) for record, received in routed}
        rows = await connection.fetch(GET_PARKED_KEYS, [t for t, _ in keys], [k for _, k in keys])
        waiting = {(row["topic"], row["key"]) for row in rows}
        if not waiting:
            return routed
        behind = [(r, e) for r, e in routed if (r.topic, e.key) in waiting]
        for record, received in await self._unseen(connection, behind):
            await _park(connection, record, received, "waits behind an earlier event of its key", attempts=0)
        return [(r, e) for r, e in routed if (r.topic, e.key) not in waiting]

    async def _unseen(
        self, connection: Connection, routed: Sequence[tuple[Record, Received]]
    ) -> list[tuple[Record, Received]]:
        """Note the ids and return the events not noted before, each once, in order; those of erased people go."""
        if not routed:
            return []
        once = {received.id: (record, received) for record, received in reversed(routed)}
        ids = sorted(once)
        rows = await connection.fetch(INSERT_SEEN, [_day(once[i][1]) for i in ids], ids)
        fresh = {row["event_id"] for row in rows}
        gone = await people.erased(connection, (p for r in once.values() for p in r[1].event.person_ids))
        in_order = [once.pop(e.id) for _, e in routed if e.id in fresh and e.id in once]
        kept = [(r, e) for r, e in in_order if gone.isdisjoint(e.event.person_ids)] if gone else in_order
        metrics.INBOX_EVENTS.labels("repeated").inc(len(routed) - len(in_order))
        metrics.INBOX_EVENTS.labels("forgotten").inc(len(in_order) - len(kept))
        return kept

    async def _handle(self, work: Work, events: Sequence[Received]) -> None:
        for cls, group in in_layers(events):
            work.correlation_id = group[0].correlation_id if len(group) == 1 else None
            work.causation_id = group[0].id if len(group) == 1 else None
            with (
                metrics.HANDLER_SECONDS.labels(cls.__name__).time(),
                structlog.contextvars.bound_contextvars(correlation_id=work.correlation_id),
            ):
                await self._routes[cls](work, group)

    async def _handle_singly(self, work: Work, work_list: Sequence[tuple[Record, Received]]) -> None:
        parked: set[tuple[str, str]] = set()
        for record, received in work_list:
            stream = (record.topic, received.key)
            if stream in parked:
                await _park(work.connection, record, received, "waits behind an earlier event of its key", attempts=0)
                continue
            try:
                async with work.savepoint():
                    await self._handle(work, [received])
            except Exception as error:
                if is_transient(error):
                    raise
                if await self._settle_failure(work, record, received, error):
                    parked.add(stream)

    async def _settle_failure(self, work: Work, record: Record, received: Received, error: Exception) -> bool:
        """Give a failed record its fate; true when it was parked and its key waits."""
        if isinstance(error, Rejected):
            log.info("event_refused", type=received.event.type, event_id=str(received.id), code=error.code)
            return False
        if isinstance(error, Unprocessable):
            await _quarantine(work.connection, record, str(error))
            return False
        log.error(
            "event_parked",
            type=received.event.type,
            event_id=str(received.id),
            topic=record.topic,
            key=received.key,
            exc_info=error,
        )
        await _park(work.connection, record, received, type(error).__name__, attempts=1)
        return True

    async def _advance(
        self, connection: Connection, fresh: Sequence[tuple[Record, "Received | Unknown | Unprocessable"]]
    ) -> None:
        following: dict[tuple[str, int], int] = {}
        for record, _ in fresh:
            partition = (record.topic, record.partition)
            following[partition] = max(following.get(partition, 0), record.offset + 1)
        await connection.execute(
            ADVANCE_OFFSETS,
            [topic for topic, _ in following],
            [partition for _, partition in following],
            list(following.values()),
        )

    async def retry_parked(self, *, limit: int = 20) -> int:
        """Try the heads of parked keys whose time has come; returns how many were tried.

        A head that fails `MAX_ATTEMPTS` times is dead: its key waits until an operator redrives it.
        """
        async with self._workshop.begin() as work:
            heads = await work.connection.fetch(TAKE_PARKED, limit)
            for row in heads:
                await self._retry(work, row)
        return len(heads)

    async def _retry(self, work: Work, row: Mapping[str, Any]) -> None:
        record = Record(
            row["topic"],
            row["partition"],
            row["record_offset"],
            row["key"].encode(),
            [(name, None if value is None else value.encode()) for name, value in row["headers"]],
            row["value"],
        )
        try:
            received = _decoded(record)
            if isinstance(received, Unknown) or type(received.event) not in self._routes:
                # A newer version parked it and this one, during a rolling deploy, does not know it: leave it.
                await work.connection.execute(
                    MARK_PARKED, row["id"], row["attempts"], "parked", row["error"], UNKNOWN_PAUSE_SECONDS
                )
                return
            if await people.erased(work.connection, received.event.person_ids):
                metrics.INBOX_EVENTS.labels("forgotten").inc()
            else:
                async with work.savepoint():
                    await self._handle(work, [received])
        except Rejected as no:
            log.info("event_refused", type=row["event_type"], event_id=str(row["event_id"]), code=no.code)
        except Unprocessable as poison:
            await _quarantine(work.connection, record, str(poison))
        except Exception as error:
            if is_transient(error):
                raise
            attempts = row["attempts"] + 1
            status = "dead" if attempts >= MAX_ATTEMPTS else "parked"
            log.error(
                "event_failed_again", event_id=str(row["event_id"]), attempts=attempts, status=status, exc_info=error
            )
            await work.connection.execute(
                MARK_PARKED, row["id"], attempts, status, type(error).__name__, float(min(2**attempts, 300))
            )
            return
        await work.connection.execute(DELETE_PARKED, row["id"])

    async def run_pruning(self) -> None:
        """Remove ids that can't come again, until cancelled."""
        while True:
            status = await self._workshop.pool.execute(PRUNE_SEEN, KEEP_SEEN_DAYS)
            await asyncio.sleep(1 if status == "DELETE 5000" else 3600)

    async def run_retries(self) -> None:
        """Try parked records until cancelled."""
        while True:
            if not await self.retry_parked():
                await asyncio.sleep(1.0)


async def stored_offsets(pool: Pool, partitions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], tuple[str, int]]:
    """For each partition that has been read: the cluster it was read from, and the next offset."""
    rows = await pool.fetch(GET_OFFSETS, [t for t, _ in partitions], [p for _, p in partitions])
    return {(row["topic"], row["partition"]): (row["cluster_id"], row["next_offset"]) for row in rows}


def lanes_of(records: Sequence[Record]) -> list[Sequence[Record]]:
    """The records in one lane, or in two of about the same length; a partition is in one of them, in its order."""
    if len(records) < LEAST_FOR_LANES:
        return [records]
    partitions: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        partitions.setdefault((record.topic, record.partition), []).append(record)
    lanes: list[list[Record]] = [[] for _ in range(LANES)]
    for part in sorted(partitions.values(), key=len, reverse=True):
        min(lanes, key=len).extend(part)
    return [lane for lane in lanes if lane]


def in_layers(events: Sequence[Received]) -> Iterator[tuple[type[Event], list[Received]]]:
    """Groups of one event type, such that handling them one after another keeps the order within every key."""
    depth: dict[tuple[str, str], int] = {}
    placed: list[tuple[int, str, int, Received]] = []
    for index, received in enumerate(events):
        stream = (received.topic, received.key)
        layer = depth.get(stream, 0)
        depth[stream] = layer + 1
        placed.append((layer, type(received.event).type, index, received))
    placed.sort(key=lambda item: item[:3])
    for (_, _), group in groupby(placed, key=lambda item: item[:2]):
        members = [received for *_, received in group]
        yield type(members[0].event), members


def _decoded(record: Record) -> Received | Unknown:
    return decode(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        headers=record.headers,
        value=record.value,
    )


def _fate(record: Record) -> "Received | Unknown | Unprocessable":
    try:
        return _decoded(record)
    except Unprocessable as poison:
        return poison


def _day(received: Received) -> dt.date:
    return received.time.astimezone(dt.UTC).date()


async def _park(connection: Connection, record: Record, received: Received, error: str, *, attempts: int) -> None:
    metrics.INBOX_EVENTS.labels("parked").inc()
    await connection.execute(
        INSERT_PARKED,
        record.topic,
        received.key,
        received.id,
        received.event.type,
        record.partition,
        record.offset,
        raw_headers_as_json(record.headers),
        record.value,
        error,
        2.0 if attempts else 0.0,
        attempts,
    )


async def _quarantine(connection: Connection, record: Record, reason: str) -> None:
    metrics.INBOX_EVENTS.labels("quarantined").inc()
    log.error("record_quarantined", topic=record.topic, partition=record.partition, offset=record.offset, reason=reason)
    await connection.execute(
        INSERT_QUARANTINED,
        record.topic,
        record.partition,
        record.offset,
        record.key,
        raw_headers_as_json(record.headers),
        record.value,
        reason.replace("\x00", "\\x00"),
    )
