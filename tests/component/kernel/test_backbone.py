"""From an emitted event to its one effect, over a real broker."""

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest

from deploy.embedded.kafka import Kafka
from shared.broker import create_topics
from shared.events.envelope import Received
from shared.events.topics import Topic
from shared.relay import Relay
from shared.work import Work
from tests.component.kernel.conftest import Kernel
from tests.component.kernel.events import Noted
from tests.component.kernel.running import consuming, note, producing, read_topic, running, until


async def test_emitted_events_have_one_effect_each_in_order(kernel: Kernel, kafka: Kafka) -> None:
    await create_topics(kafka.bootstrap, [Noted.topic], partitions=3)
    people = [uuid4() for _ in range(20)]
    for start in range(0, 10, 2):
        async with kernel.workshop.begin("test-correlation") as work:
            for person in people:
                work.emit(Noted(person_id=person, number=start), Noted(person_id=person, number=start + 1))
    inbox = kernel.inbox({Noted: note})
    async with (
        running(Relay(kernel.pool, service=kernel.name, bootstrap=kafka.bootstrap).run()),
        consuming(kernel, kafka.bootstrap, inbox, group=kernel.name, topics=[Noted.topic]),
    ):

        async def all_there() -> bool:
            found = await kernel.pool.fetchval("SELECT count(*) FROM effects WHERE person_id = ANY($1)", people)
            return bool(found == 200)

        await until(all_there, what="200 effects")
    assert await kernel.count("outbox") == 0
    rows = await kernel.pool.fetch(
        "SELECT person_id, array_agg(note::int ORDER BY ordinal) AS notes"
        " FROM effects WHERE person_id = ANY($1) GROUP BY person_id",
        people,
    )
    assert {row["person_id"]: row["notes"] for row in rows} == {person: list(range(10)) for person in people}


async def effects_of(kernel: Kernel, person: UUID) -> list[int]:
    """The numbers of the effects on a person, in order."""
    rows = await kernel.pool.fetch("SELECT note::int FROM effects WHERE person_id = $1 ORDER BY ordinal", person)
    return [row["note"] for row in rows]


async def taken_to_the_end(kernel: Kernel, kafka: Kafka, topic: str) -> bool:
    """Whether the database's offsets are at the ends of the topic's partitions."""
    ends: dict[int, int] = {}
    for record in await read_topic(kafka.bootstrap, topic):
        ends[record.partition] = record.offset + 1
    rows = await kernel.pool.fetch("SELECT partition, next_offset FROM inbox_offsets WHERE topic = $1", topic)
    return all({row["partition"]: row["next_offset"] for row in rows}.get(p, 0) >= end for p, end in ends.items())


async def test_topic_replayed_twice_and_read_anew_has_no_second_effect(
    kernel: Kernel, kafka: Kafka, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Noted, "topic", topic)
    people = [uuid4() for _ in range(10)]
    for number in range(5):
        async with kernel.workshop.begin() as work:
            work.emit(*(Noted(person_id=person, number=number) for person in people))
    inbox = kernel.inbox({Noted: note})

    async def all_taken() -> bool:
        return await taken_to_the_end(kernel, kafka, topic.name)

    async with running(Relay(kernel.pool, service=kernel.name, bootstrap=kafka.bootstrap).run()):

        async def sent() -> bool:
            return await kernel.count("outbox") == 0

        await until(sent, what="an empty outbox")
    originals = await read_topic(kafka.bootstrap, topic.name)
    assert len(originals) == 50
    async with producing(kafka.bootstrap) as producer:
        # Somebody sends the whole topic once more, twice: the same ids at new offsets.
        for record in originals * 2:
            await producer.send_and_wait(topic.name, key=record.key, value=record.value, headers=list(record.headers))
    for _ in range(2):
        async with consuming(kernel, kafka.bootstrap, inbox, group=kernel.name, topics=[topic]):
            await until(all_taken, what="the end of the topic")
        # `hustings records reset-offsets`: everything is read once more from the beginning.
        await kernel.pool.execute("DELETE FROM inbox_offsets")
    assert {person: await effects_of(kernel, person) for person in people} == {p: list(range(5)) for p in people}


@pytest.mark.parametrize("outlives", [False, True], ids=["drained in time", "outliving the rebalance"])
async def test_rebalance_in_the_middle_of_a_batch_has_one_effect_per_event(
    kernel: Kernel, kafka: Kafka, topic: Topic, monkeypatch: pytest.MonkeyPatch, outlives: bool
) -> None:
    """The second consumer may be given the very records that the first has in its open transaction."""
    monkeypatch.setattr(Noted, "topic", topic)
    if outlives:
        monkeypatch.setattr("shared.broker.DRAIN_SECONDS", 0.2)
    under_way, revoked, gate = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(work: Work, events: Sequence[Received]) -> None:
        await note(work, events)
        under_way.set()
        await gate.wait()

    people = [uuid4() for _ in range(30)]
    async with running(Relay(kernel.pool, service=kernel.name, bootstrap=kafka.bootstrap).run()):
        async with kernel.workshop.begin() as work:
            work.emit(*(Noted(person_id=person, number=0) for person in people))

        async def sent() -> bool:
            return await kernel.count("outbox") == 0

        await until(sent, what="an empty outbox")
    first = consuming(kernel, kafka.bootstrap, kernel.inbox({Noted: slow}), group=kernel.name, topics=[topic])
    second = consuming(kernel, kafka.bootstrap, kernel.inbox({Noted: note}), group=kernel.name, topics=[topic])
    async with first as slow_one:
        await asyncio.wait_for(under_way.wait(), 40)
        told = slow_one.on_revoked

        async def on_revoked() -> None:
            revoked.set()
            await told()

        monkeypatch.setattr(slow_one, "on_revoked", on_revoked)
        async with second as other:
            await asyncio.wait_for(revoked.wait(), 40)
            if outlives:

                async def moved() -> bool:
                    return bool(other._cleared)

                await until(moved, what="partitions given to the second consumer")
            gate.set()

            async def all_taken() -> bool:
                return await taken_to_the_end(kernel, kafka, topic.name)

            await until(all_taken, what="the end of the topic")
    assert {person: await effects_of(kernel, person) for person in people} == {person: [0] for person in people}
