"""Kafka in: the one place that calls `broker.subscriber()`, with the one shape that loses nothing.

FastStream carries the lifecycle, the consume loop and the stop; everything else about a record is ours:

- batches, handled one at a time. The database's commit is what counts; Kafka is told about once a second, for its
  own tools;
- a parser that hands the raw records on, so that no header or body can make it raise;
- `earliest`, since what came before the group's first commit counts too;
- on assignment the consumer seeks to the offsets in the database, which is the authority: a cluster with another
  id, or one that ends before the stored offset, is refused (a reset broker must not skip in silence). The member sends
  no heartbeat meanwhile, so nothing there waits for the fetcher;
- on revocation the running batch is given time to end.
"""

import asyncio
import logging
import random
from collections.abc import Iterable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError, TopicAlreadyExistsError, for_code
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaAckableMessage

from shared import metrics
from shared.db import TRANSIENT, Pool, is_transient
from shared.events import Topic
from shared.inbox import Inbox, stored_offsets
from shared.log import get_logger

log = get_logger("broker")

MAX_RECORDS = 500
MAX_PARTITION_FETCH_BYTES = 128 * 1024
SESSION_SECONDS = 15
MAX_POLL_INTERVAL_MS = 120_000
BACKOFF_SECONDS = (0.5, 30.0)
TELL_SECONDS = 1.0
# With the requests under way (`shared.service`) within the 25 s that a stop may take.
DRAIN_SECONDS = 12.0


class Consumer:
    """The consumer of one service: group = the service's name, every topic it has routes for."""

    def __init__(
        self,
        *,
        service: str,
        bootstrap: str,
        topics: Sequence[Topic],
        inbox: Inbox,
        pool: Pool,
        session_seconds: int = SESSION_SECONDS,
    ) -> None:
        self._service = service
        self._bootstrap = bootstrap
        self._topics = sorted(topic.name for topic in topics)
        self._inbox = inbox
        self._pool = pool
        self._failures = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._batch_began: float | None = None
        self._cleared: frozenset[TopicPartition] = frozenset()
        self._untold: dict[TopicPartition, int] = {}
        self._telling: asyncio.Task[None] | None = None
        self.cluster_id = ""
        self.refusal: str | None = None
        self._broker = KafkaBroker(
            bootstrap, client_id=f"hustings-{service}", graceful_timeout=DRAIN_SECONDS, logger=None
        )
        self._subscriber = self._broker.subscriber(
            *self._topics,
            batch=True,
            max_records=MAX_RECORDS,
            batch_timeout_ms=200,
            # Small enough that a full batch is of several partitions; a larger record still comes, alone.
            max_partition_fetch_bytes=MAX_PARTITION_FETCH_BYTES,
            group_id=service,
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            partition_assignment_strategy=(RoundRobinPartitionAssignor,),
            session_timeout_ms=session_seconds * 1000,
            heartbeat_interval_ms=session_seconds * 200,
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
            rebalance_timeout_ms=60_000,
            listener=_Assignment(self),
            parser=self._pass_through,
            decoder=_no_decoding,
        )
        self._subscriber(self._handle)

    async def start(self) -> None:
        """Join the group; raises `KafkaError` when the brokers can't be reached."""
        self.cluster_id = await cluster_id(self._bootstrap)
        await self._broker.start()
        self._telling = asyncio.create_task(self._tell_kafka())

    async def stop(self) -> None:
        """Finish the running batch and leave the group."""
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)
        await self._broker.stop()

    def healthy(self) -> bool:
        """Whether the consume task is alive and no batch is older than the poll interval."""
        tasks = self._subscriber.tasks
        alive = bool(tasks) and not all(task.done() for task in tasks)
        began = self._batch_began
        return alive and (began is None or asyncio.get_running_loop().time() - began < MAX_POLL_INTERVAL_MS / 1000)

    async def lag(self) -> dict[TopicPartition, int]:
        """Records between the database's offset and the end, of each assigned partition."""
        consumer = self._consumer
        if consumer is None or not (assigned := consumer.assignment()):
            return {}
        stored = await stored_offsets(self._pool, [(tp.topic, tp.partition) for tp in assigned])
        return {
            tp: max(0, (consumer.highwater(tp) or 0) - stored.get((tp.topic, tp.partition), ("", 0))[1])
            for tp in assigned
        }

    @property
    def _consumer(self) -> AIOKafkaConsumer | None:
        return self._subscriber.consumer

    async def _pass_through(self, records: tuple[Any, ...]) -> KafkaAckableMessage:
        return KafkaAckableMessage(body=b"", raw_message=records, consumer=self._consumer)

    async def _handle(self, message: Any) -> None:
        try:
            await self._take(message)
        finally:
            # FastStream's message is in a reference cycle: its records would wait for the garbage collector.
            message.raw_message = ()

    async def _take(self, message: Any) -> None:
        records = message.raw_message
        # In each partition the last one wins: they come in order.
        last = {(record.topic, record.partition): record.offset for record in records}
        ends = {TopicPartition(*place): offset + 1 for place, offset in last.items()}
        if not self._cleared.issuperset(ends):
            # aiokafka fetches while the assignment is still being looked at: the seek (or the refusal) comes after
            # these records, and taking them would pass over what is between the database's offset and Kafka's.
            log.info("batch_before_assignment", records=len(records))
            return
        self._idle.clear()
        self._batch_began = asyncio.get_running_loop().time()
        try:
            await self._inbox.take(
                # aiokafka's records have what a `Record` has.
                records,
                cluster_id=self.cluster_id,
            )
        except Exception as fault:
            # Whatever it was: an error that leaves here would let the next commit pass the batch.
            self._failures += 1
            low, high = BACKOFF_SECONDS
            # The exponent is bounded: an outage of hours must not end in an overflow.
            pause = random.uniform(0.5, 1.0) * min(high, low * 2 ** min(self._failures, 10))  # noqa: S311 (jitter)
            log.log(
                logging.WARNING if is_transient(fault) else logging.ERROR,
                "batch_put_off",
                records=len(records),
                error=type(fault).__name__,
                pause_seconds=round(pause, 2),
                exc_info=None if is_transient(fault) else fault,
            )
            self._idle.set()
            await asyncio.sleep(pause)
            try:
                await message.nack()
            except IllegalStateError:
                # The partitions were taken away meanwhile; the assignment has set the offsets of those that stayed.
                log.info("partitions_gone", records=len(records))
        else:
            self._failures = 0
            self._untold |= ends
        finally:
            self._batch_began = None
            self._idle.set()

    async def on_revoked(self) -> None:
        """Give the running batch time to commit before the partitions go to somebody else."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._idle.wait()
        except TimeoutError:
            log.warning("batch_outlived_rebalance")
        self._cleared = frozenset()
        self._untold.clear()

    async def _tell_kafka(self) -> None:
        """Commit to Kafka what was taken to effect, until cancelled. Nobody here reads it."""
        while True:
            await asyncio.sleep(TELL_SECONDS)
            done, self._untold = self._untold, {}
            if not done or self._consumer is None:
                continue
            try:
                await self._consumer.commit(done)
            except Exception as error:  # noqa: BLE001 (whatever it was: the next second tells more)
                log.info("acknowledgement_lost", error=type(error).__name__)

    async def on_assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """Seek to the database's offsets; refuse a cluster that is not the one they were read from."""
        consumer = self._consumer
        wanted = sorted(partitions)
        if consumer is None or not wanted:
            return
        stored, begins, ends = await self._stored(wanted, consumer)
        problems = []
        for tp in wanted:
            if (tp.topic, tp.partition) not in stored:
                continue
            cluster, offset = stored[tp.topic, tp.partition]
            if cluster != self.cluster_id:
                problems.append(f"{tp.topic}-{tp.partition} was read from cluster {cluster}")
            elif offset > ends[tp]:
                problems.append(f"{tp.topic}-{tp.partition} ends at {ends[tp]}, before the stored offset {offset}")
        if problems:
            consumer.pause(*wanted)
            self.refusal = (
                f"{'; '.join(problems[:3])}; this cluster is {self.cluster_id}. Point the service at the right"
                " brokers, or have the owners republish and run `hustings records reset-offsets`."
            )
            metrics.INBOX_REFUSED.set(1)
            log.critical("cluster_refused", reason=self.refusal)
            return
        self.refusal = None
        metrics.INBOX_REFUSED.set(0)
        for tp in wanted:
            place = (tp.topic, tp.partition)
            consumer.seek(tp, stored[place][1] if place in stored else begins[tp])
        self._cleared = frozenset(wanted)

    async def _stored(
        self, wanted: Sequence[TopicPartition], consumer: AIOKafkaConsumer
    ) -> tuple[dict[tuple[str, int], tuple[str, int]], dict[TopicPartition, int], dict[TopicPartition, int]]:
        """The database's offsets, the broker's first of those without one, and its ends.

        Asked until both answer: without them nothing is read.
        """
        while True:
            try:
                stored = await stored_offsets(self._pool, [(tp.topic, tp.partition) for tp in wanted])
                fresh = [tp for tp in wanted if (tp.topic, tp.partition) not in stored]
                begins = await consumer.beginning_offsets(fresh) if fresh else {}
                return stored, begins, await consumer.end_offsets(wanted)
            except (*TRANSIENT, KafkaError) as fault:
                log.warning("offsets_unreadable", error=type(fault).__name__)
                await asyncio.sleep(1)


class _Assignment(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 (aiokafka's)
        await self._consumer.on_revoked()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        await self._consumer.on_assigned(assigned)


async def _no_decoding(message: Any) -> Any:
    return message


async def cluster_id(bootstrap: str) -> str:
    """The id of the cluster that answers at `bootstrap`."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=10_000)
    try:
        await admin.start()
        described = await admin.describe_cluster()
        return str(described["cluster_id"])
    finally:
        await admin.close()


async def create_topics(bootstrap: str, topics: Sequence[Topic], *, partitions: int, replication: int = 1) -> list[str]:
    """Create what is missing, with partitions and settings; returns the names created.

    The partition count of an existing topic is never changed: it decides where a key lives.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=20_000)
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        missing = [topic for topic in topics if topic.name not in existing]
        if not missing:
            return []
        answer = await admin.create_topics(
            [NewTopic(topic.name, partitions, replication, topic_configs=topic.config) for topic in missing]
        )
        for name, code, *rest in answer.topic_errors:
            error = for_code(code)
            if code and error is not TopicAlreadyExistsError:
                raise error(f"{name}: {rest[0] if rest else ''}")
        return [topic.name for topic in missing]
    finally:
        await admin.close()
