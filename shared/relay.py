"""The relay: moves outbox rows to Kafka, in order, and deletes them after the broker's acknowledgement.

Two relays never write for one group of shards at a time. The lease in `outbox_groups` chooses the owner; it does
not fence one that hangs, or whose producer retries while the broker is away. The fence is the transactional id,
one per service and group: when a successor starts its producer, the broker refuses everything the predecessor
still has in flight (`ProducerFenced`), so an older record can never land behind a newer one.

Each round: read rows in order, pack them into batches, begin a transaction, send, wait for every acknowledgement,
commit it, delete the rows where the epoch still is ours. After any error the producer is thrown away (an idempotent
producer that met a non-retriable error stays wedged) and the round starts again from the table.

A record that is too large is held back, with what follows it under its key; the rest goes on. What is larger than a
request is known before it is sent. Where the broker takes less (a topic's `max.message.bytes`) it refuses a batch: the
records of that batch's keys are then sent in batches of their own, and one that is refused alone is too large.
"""

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from shared import metrics
from shared.batches import Batch, Packing
from shared.db import Pool
from shared.events.envelope import new_id
from shared.log import get_logger
from shared.outbox import SHARDS

log = get_logger("relay")

GROUPS = 4
ROWS_PER_SHARD = 500
LEASE_SECONDS = 15.0
# Stop sending well before the lease ends.
MARGIN_SECONDS = 5.0
LOOK_SECONDS = 0.2
PACKED_AT_ONCE = 200
MAX_BATCH_BYTES = 64 * 1024
HELD_SECONDS = 30.0

# SKIP LOCKED picks groups, never rows: two relays that look at once get different ones.
CLAIM = """
    UPDATE outbox_groups SET owner = $1, epoch = epoch + 1,
           lease_until = clock_timestamp() + make_interval(secs => $2)
    WHERE grp IN (SELECT grp FROM outbox_groups WHERE lease_until < clock_timestamp()
                  ORDER BY grp FOR UPDATE SKIP LOCKED)
    RETURNING grp, epoch
"""

RENEW = """
    UPDATE outbox_groups SET lease_until = clock_timestamp() + make_interval(secs => $3)
    WHERE grp = $1 AND epoch = $2
    RETURNING grp
"""

RELEASE = "UPDATE outbox_groups SET owner = NULL, lease_until = '-infinity' WHERE grp = $1 AND epoch = $2"

# Ascending ids within each shard, without the keys held back; served by the primary key.
READ = """
    SELECT row.* FROM unnest($1::smallint[]) AS wanted (shard)
    CROSS JOIN LATERAL (
        SELECT shard, id, topic, key, headers, payload FROM outbox
        WHERE outbox.shard = wanted.shard AND key <> ALL ($3::text[]) ORDER BY id LIMIT $2) AS row
"""

# Nothing is deleted by a relay whose epoch has passed. Locks the group's row, so a claim waits for it.
DELETE = """
    WITH mine AS (SELECT 1 FROM outbox_groups WHERE grp = $1 AND epoch = $2 FOR SHARE)
    DELETE FROM outbox USING unnest($3::smallint[], $4::bigint[]) AS sent (shard, id)
    WHERE outbox.shard = sent.shard AND outbox.id = sent.id AND EXISTS (SELECT 1 FROM mine)
"""


def shards_of(group: int) -> list[int]:
    """The shards that a group owns."""
    return [shard for shard in range(SHARDS) if shard % GROUPS == group]


class LeaseLost(Exception):
    """Another relay owns the group now; stop at once and leave its rows to it."""


class Relay:
    """Relays the outbox of one service while it holds leases; `run` ends when cancelled.

    A key whose next record is larger than the broker takes is held back, and tried again every `held_seconds`.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        service: str,
        bootstrap: str,
        lease_seconds: float = LEASE_SECONDS,
        margin_seconds: float = MARGIN_SECONDS,
        held_seconds: float = HELD_SECONDS,
    ) -> None:
        self._pool = pool
        self._service = service
        self._bootstrap = bootstrap
        self._owner = f"{socket.gethostname()}-{new_id()}"
        self._lease_seconds = lease_seconds
        self._margin_seconds = margin_seconds
        self._held_seconds = held_seconds
        self._held: dict[str, float] = {}
        # Keys of a batch that the broker refused, and ids of the rows that it refused alone.
        self._alone: set[str] = set()
        self._refused: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Claim free groups and relay them, until cancelled; then undo the rounds under way and release."""
        try:
            while True:
                claimed = await self._pool.fetch(CLAIM, self._owner, self._lease_seconds)
                for row in claimed:
                    self._tasks.add(asyncio.create_task(self._relay_group(row["grp"], row["epoch"])))
                await asyncio.sleep(self._lease_seconds / 3)
                for task in [task for task in self._tasks if task.done()]:
                    self._tasks.discard(task)
                    if error := task.exception():
                        raise error
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._tasks.clear()

    async def _relay_group(self, group: int, epoch: int) -> None:
        """Rounds for one group while the lease holds; returns when it is lost."""
        failures = 0
        try:
            while True:
                began = asyncio.get_running_loop().time()
                try:
                    await self._hold_producer(group, epoch)
                except LeaseLost:
                    log.warning("lease_lost", group=group, epoch=epoch)
                    return
                except Exception as error:  # noqa: BLE001 (whatever it was: a new producer, the same rows)
                    held_for = asyncio.get_running_loop().time() - began
                    failures = 1 if held_for > self._lease_seconds else failures + 1
                    metrics.RELAY_ERRORS.labels(type(error).__name__).inc()
                    log.warning("producer_discarded", group=group, error=type(error).__name__, detail=str(error)[:200])
                    # The exponent is bounded: an outage of hours must not end in an overflow.
                    await asyncio.sleep(min(0.2 * 2 ** min(failures, 6), 5.0))
                    if not await self._renew(group, epoch):
                        return
        finally:
            with contextlib.suppress(Exception):
                await asyncio.shield(self._pool.execute(RELEASE, group, epoch))

    async def _renew(self, group: int, epoch: int) -> bool:
        return await self._pool.fetchval(RENEW, group, epoch, self._lease_seconds) is not None

    async def _hold_producer(self, group: int, epoch: int) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            client_id=f"hustings-{self._service}-relay-{group}",
            transactional_id=f"hustings.{self._service}.relay.{group}",
            transaction_timeout_ms=10_000,
            enable_idempotence=True,
            acks="all",
            compression_type="lz4",
            max_batch_size=MAX_BATCH_BYTES,
            request_timeout_ms=10_000,
            retry_backoff_ms=200,
        )
        loop = asyncio.get_running_loop()
        round_seconds = self._lease_seconds - self._margin_seconds
        try:
            async with asyncio.timeout(round_seconds):
                await producer.start()
            renewed_at = loop.time() - self._lease_seconds
            while True:
                if loop.time() - renewed_at > self._lease_seconds / 3:
                    asked_at = loop.time()
                    if not await self._renew(group, epoch):
                        raise LeaseLost
                    renewed_at = asked_at
                async with asyncio.timeout_at(renewed_at + round_seconds):
                    taken = await self._round(producer, group, epoch)
                # More waits behind a full page. Fewer rows are let gather: a transaction costs the broker as much for
                # three of them as for three hundred.
                await asyncio.sleep(0 if taken >= ROWS_PER_SHARD else LOOK_SECONDS)
        finally:
            # A producer that is stuck in retries must not keep the loop from its successor.
            try:
                async with asyncio.timeout(3):
                    await producer.stop()
            except Exception as error:  # noqa: BLE001 (whatever it was: its connections must not outlive it)
                log.info("producer_stop_cut_short", group=group, error=type(error).__name__)
                with contextlib.suppress(Exception):
                    await producer.client.close()

    async def _round(self, producer: AIOKafkaProducer, group: int, epoch: int) -> int:
        now = asyncio.get_running_loop().time()
        self._held = {key: until for key, until in self._held.items() if until > now}
        rows = await self._pool.fetch(READ, shards_of(group), ROWS_PER_SHARD, list(self._held))
        if not rows:
            return 0
        sent = await self._send(producer, rows)
        if sent:
            await self._delete(group, epoch, sent)
        return len(rows)

    async def _send(self, producer: AIOKafkaProducer, rows: Sequence[Any]) -> Sequence[Any]:
        """Send the rows in one transaction; returns those that were sent, all but what is held back."""
        partitions = {topic: len(await producer.partitions_for(topic)) for topic in {row["topic"] for row in rows}}
        packing = Packing(partitions, producer.create_batch, alone=self._alone, refused=self._refused)
        for start in range(0, len(rows), PACKED_AT_ONCE):
            packing.add(rows[start : start + PACKED_AT_ONCE])
            # Whoever else runs in this process, such as its web pages, has a turn.
            await asyncio.sleep(0)
        for row in packing.too_large.values():
            # The row stays, its key waits, and the outbox's age raises the alert.
            log.error("record_too_large", topic=row["topic"], key=row["key"], row=row["id"])
            self._held[row["key"]] = asyncio.get_running_loop().time() + self._held_seconds
            self._refused.discard(row["id"])
        batches = packing.batches()
        if not batches:
            return []
        async with producer.transaction():
            acknowledgements = [
                await producer.send_batch(batch.builder, batch.topic, partition=batch.partition) for batch in batches
            ]
            results = await asyncio.gather(*acknowledgements, return_exceptions=True)
            self._look_for_refused(batches, results)
        sent = [row for batch in batches for row in batch.rows]
        self._alone -= {row["key"] for row in sent} - packing.too_large.keys()
        return sent

    def _look_for_refused(self, batches: Sequence[Batch], results: Sequence[Any]) -> None:
        """Raise what the broker answered, unless it took all; a batch too large for it is remembered."""
        for batch, result in zip(batches, results, strict=True):
            if isinstance(result, MessageSizeTooLargeError):
                self._alone.update(row["key"] for row in batch.rows)
                if len(batch.rows) == 1:
                    self._refused.add(batch.rows[0]["id"])
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _delete(self, group: int, epoch: int, rows: Sequence[Any]) -> None:
        status = await self._pool.execute(
            DELETE, group, epoch, [row["shard"] for row in rows], [row["id"] for row in rows]
        )
        metrics.RELAYED.inc(len(rows))
        if status == "DELETE 0":
            raise LeaseLost
