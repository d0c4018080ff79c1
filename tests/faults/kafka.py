"""Records as the harness handles them: raw, with every header, never decoded."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.faults.stand import Stand

LARGEST_BYTES = 900_000

Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Raw:
    """A record to write, or as it was read."""

    topic: str
    partition: int
    key: bytes | None
    headers: Headers
    value: bytes | None

    def header(self, name: str) -> str:
        """A header's text; empty if it is not there."""
        found = (value for known, value in self.headers if known == name and value is not None)
        return next(found, b"").decode(errors="replace")


async def read(stand: Stand, topics: Iterable[str], *, most: int = 10**9) -> list[Raw]:
    """The committed records of these topics, per partition in order, `most` in all; without what rows put there,
    and without what is larger than the topic takes by now, which could not be written again.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=stand.endpoints["kafka"], isolation_level="read_committed", enable_auto_commit=False
    )
    await consumer.start()
    found: list[Raw] = []
    try:
        for topic in topics:
            partitions = [TopicPartition(topic, part) for part in sorted(consumer.partitions_for_topic(topic) or ())]
            if not partitions:
                partitions = [TopicPartition(topic, part) for part in range(6)]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            ends = await consumer.end_offsets(partitions)
            idle = 0
            while idle < 3 and len(found) < most:
                batches = await consumer.getmany(timeout_ms=300, max_records=5000)
                found += [
                    Raw(r.topic, r.partition, r.key, list(r.headers), r.value)
                    for batch in batches.values()
                    for r in batch
                    if f"{r.topic}/{r.partition}/{r.offset}" not in stand.put_there
                    and len(r.value or b"") + sum(len(value or b"") for _name, value in r.headers) < LARGEST_BYTES
                ]
                at_end = all([await consumer.position(tp) >= ends[tp] for tp in partitions])
                idle = 3 if at_end else 0 if batches else idle + 1
    finally:
        await consumer.stop()
    return found[:most]


async def write(stand: Stand, records: Iterable[Raw], *, times: int = 1, piece: int = 500) -> list[str]:
    """Append records to their partitions, `times` over, in transactions as relays do; where each one lies now, as
    `topic/partition/offset`.
    """
    records = list(records)
    places: list[str] = []
    async with producing(stand) as producer:
        for _ in range(times):
            for first in range(0, len(records), piece):
                async with producer.transaction():
                    sent = [
                        await producer.send(
                            record.topic,
                            value=record.value,
                            key=record.key,
                            partition=record.partition,
                            headers=list(record.headers),
                        )
                        for record in records[first : first + piece]
                    ]
                    placed = await asyncio.gather(*sent)
                places += [f"{one.topic}/{one.partition}/{one.offset}" for one in placed]
    return places


@asynccontextmanager
async def producing(stand: Stand) -> AsyncIterator[AIOKafkaProducer]:
    """A producer of the harness's own."""
    producer = AIOKafkaProducer(
        bootstrap_servers=stand.endpoints["kafka"],
        transactional_id=f"faults-{uuid4()}",
        max_request_size=8 * 2**20,
        linger_ms=5,
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def allow_bytes(stand: Stand, topic: str, count: int) -> None:
    """Let a topic take records of that size."""
    admin = AIOKafkaAdminClient(bootstrap_servers=stand.endpoints["kafka"])
    await admin.start()
    try:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"max.message.bytes": str(count)})
        await admin.alter_configs([resource])
    finally:
        await admin.close()
