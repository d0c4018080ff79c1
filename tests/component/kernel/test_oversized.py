"""A record that is larger than the broker takes: it holds back its key alone, and can be shortened."""

import hashlib
import random
from collections import defaultdict
from uuid import uuid4

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from structlog.testing import capture_logs

from cli.oversized import NotShortened, find_large, shorten
from deploy.embedded.kafka import Kafka
from shared.events.topics import Topic
from tests.component.kernel.conftest import Kernel
from tests.component.kernel.events import Noted
from tests.component.kernel.running import emptied, make_relay, read_topic, records_of, running, until

pytestmark = pytest.mark.usefixtures("topics")


async def test_oversized_record_holds_back_its_key_only(kernel: Kernel, kafka: Kafka) -> None:
    large = uuid4()
    others = [uuid4() for _ in range(30)]
    async with kernel.workshop.begin() as work:
        work.emit(Noted(person_id=large, number=0))
        work.emit(Noted(person_id=large, number=1, padding="x" * 1_100_000))
        # More than one look at a shard takes: those that wait must not fill it.
        work.emit(*(Noted(person_id=large, number=number) for number in range(2, 700)))
        work.emit(*(Noted(person_id=other, number=number) for other in others for number in range(3)))
    with capture_logs() as lines:
        async with running(make_relay(kernel, kafka, held_seconds=1).run()):

            async def others_gone() -> bool:
                rows = await kernel.pool.fetch("SELECT key, count(*) AS rows FROM outbox GROUP BY key")
                return [tuple(row) for row in rows] == [(str(large), 699)]

            await until(others_gone, what="only the large record and what waits behind it in the outbox")
            assert [number for *_, number in await records_of(kafka, Noted, [large])] == [0]
            told = [line for line in lines if line["event"] == "record_too_large"]
            assert {line["key"] for line in told} == {str(large)}
            assert len(told) < 10
            await kernel.pool.execute("DELETE FROM outbox WHERE length(payload) > 1000000")
            await until(lambda: emptied(kernel), what="an empty outbox")
    assert [number for *_, number in await records_of(kafka, Noted, [large])] == [0, *range(2, 700)]
    found = await records_of(kafka, Noted, others)
    assert sorted((key, number) for key, _, _, number in found) == sorted(
        (str(other), number) for other in others for number in range(3)
    )


async def test_record_that_the_broker_refuses_holds_back_its_key_only(kernel: Kernel, kafka: Kafka) -> None:
    """A topic that takes less than a request holds: only the broker can tell, and it tells of a batch."""
    small = Topic(f"test.small.{uuid4().hex[:8]}", key="person_id")
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(small.name, 1, 1, topic_configs={"max.message.bytes": "20000"})])
    finally:
        await admin.close()
    large = uuid4()
    others = [uuid4() for _ in range(30)]
    async with kernel.workshop.begin() as work:
        # Neither lz4 nor a batch of many makes these fit: one is too large, the others only together.
        work.emit(Noted(person_id=large, number=0))
        work.emit(Noted(person_id=large, number=1, padding=random.Random(1).randbytes(25_000).hex()))
        work.emit(Noted(person_id=large, number=2))
        for number, other in enumerate(others):
            padding = random.Random(number).randbytes(2_000).hex()
            work.emit(*(Noted(person_id=other, number=number, padding=padding) for number in range(3)))
    await kernel.pool.execute("UPDATE outbox SET topic = $1", small.name)
    with capture_logs() as lines:
        async with running(make_relay(kernel, kafka, held_seconds=60).run()):

            async def others_gone() -> bool:
                rows = await kernel.pool.fetch("SELECT key, count(*) AS rows FROM outbox GROUP BY key")
                return [tuple(row) for row in rows] == [(str(large), 2)]

            await until(others_gone, what="only the refused record and what waits behind it in the outbox")
    told = [(line["topic"], line["key"]) for line in lines if line["event"] == "record_too_large"]
    assert told == [(small.name, str(large))]
    numbers = defaultdict(list)
    for record in await read_topic(kafka.bootstrap, small.name):
        numbers[record.key.decode()].append(Noted.model_validate_json(record.value).number)
    assert dict(numbers) == {str(large): [0], **{str(other): [0, 1, 2] for other in others}}


async def test_oversized_record_that_is_shortened_goes_out_under_its_id_and_number(
    kernel: Kernel, kafka: Kafka
) -> None:
    key = uuid4()
    async with kernel.workshop.begin() as work:
        work.emit(*(Noted(person_id=key, number=number) for number in range(2)))
        work.emit(Noted(person_id=key, number=2, padding="ß" * 600_000))
        work.emit(Noted(person_id=key, number=3, padding="short"))
    appended = await kernel.pool.fetch("SELECT event_id, payload FROM outbox ORDER BY id")
    ids = [row["event_id"] for row in appended]
    async with kernel.pool.acquire() as connection, running(make_relay(kernel, kafka, held_seconds=1).run()):
        large = await find_large(connection)
        assert [(row["event_id"], row["key"], row["bytes"] > 1_000_000) for row in large] == [(ids[2], str(key), True)]
        for event, to, why in (
            (uuid4(), 64, "No event .* waits there"),
            (ids[3], 64, "is not too large"),
            (ids[2], 500_000, "still has 1,000,[0-9]+ bytes of at most 950,000: give a smaller --to"),
        ):
            with pytest.raises(NotShortened, match=why):
                await shorten(connection, event, to, "Too large")
        assert await kernel.count("outbox_changes") == 0
        size, fields = await shorten(connection, ids[2], 100, "Too large for the broker")
        assert (size < 1000, fields) == (True, ["padding"])
        await until(lambda: emptied(kernel), what="an empty outbox")
    found = await records_of(kafka, Noted, [key])
    assert found == [(str(key), str(ids[number]), number + 1, number) for number in range(4)]
    records = [
        record for record in await read_topic(kafka.bootstrap, Noted.topic.name) if record.key == str(key).encode()
    ]
    assert Noted.model_validate_json(records[2].value).padding == "ß" * 99 + "…"
    [change] = await kernel.pool.fetch("SELECT event_id, topic, key, fields, reason, former, later FROM outbox_changes")
    digests = [
        hashlib.sha256(str(key).encode() + b"\0" + value).digest()
        for value in (appended[2]["payload"], records[2].value)
    ]
    assert tuple(change) == (ids[2], Noted.topic.name, str(key), ["padding"], "Too large for the broker", *digests)
    for statement in ("DELETE FROM outbox_changes", "UPDATE outbox_changes SET reason = ''"):
        with pytest.raises(asyncpg.RaiseError, match="stays written down"):
            await kernel.pool.execute(statement)


async def test_shortened_event_that_no_reader_would_take_is_left_as_it_is(kernel: Kernel) -> None:
    key = uuid4()
    async with kernel.workshop.begin() as work:
        work.emit(Noted(person_id=key, number=0, padding="x" * 1_100_000))
    [event] = [row["event_id"] for row in await kernel.pool.fetch("SELECT event_id FROM outbox")]
    async with kernel.pool.acquire() as connection:
        await connection.execute("UPDATE outbox SET key = 'another'")
        with pytest.raises(NotShortened, match="no reader would take it: the record's key is not the event's key"):
            await shorten(connection, event, 100, "Too large")
        await connection.execute("UPDATE outbox SET headers = replace(headers, 'test.noted.v1', 'test.noted.v9')")
        with pytest.raises(NotShortened, match=r"knows no events of the type test\.noted\.v9"):
            await shorten(connection, event, 100, "Too large")
        assert await kernel.pool.fetchval("SELECT length(payload) > 1000000 FROM outbox")
