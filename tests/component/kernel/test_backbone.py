"""From an emitted event to its one effect, over a real broker."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

from deploy.embedded.kafka import Kafka
from shared.broker import Consumer, create_topics
from shared.events.envelope import Received, new_id
from shared.inbox import Inbox
from shared.relay import Relay
from shared.work import Work
from tests.component.kernel.conftest import Kernel
from tests.component.kernel.events import Noted

DEADLINE_SECONDS = 40


async def note(work: Work, events: Sequence[Received]) -> None:
    """The effect: one row per event."""
    for received in events:
        event = received.event
        assert isinstance(event, Noted)
        if event.poison:
            raise ValueError("poison")
        await work.connection.execute(
            "INSERT INTO effects VALUES ($1, $2, $3)", received.id, event.person_id, str(event.number)
        )


@asynccontextmanager
async def running(loop: asyncio.Future[None] | object) -> AsyncIterator[None]:
    """Run a coroutine beside the block and cancel it afterwards."""
    task = asyncio.ensure_future(loop)  # type: ignore[arg-type]
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def consuming(kernel: Kernel, kafka: Kafka, inbox: Inbox, *, service: str) -> AsyncIterator[Consumer]:
    """A started consumer of the notes."""
    consumer = Consumer(service=service, bootstrap=kafka.bootstrap, topics=[Noted.topic], inbox=inbox, pool=kernel.pool)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def until(condition: object, *, what: str) -> None:
    """Poll an async condition until it holds, or fail at the deadline saying what was awaited."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await condition():  # type: ignore[operator]
            await asyncio.sleep(0.05)
    assert what


async def test_emitted_events_have_one_effect_each_in_order(kernel: Kernel, kafka: Kafka) -> None:
    await create_topics(kafka.bootstrap, [Noted.topic], partitions=3)
    people = [uuid4() for _ in range(20)]
    for start in range(0, 10, 2):
        async with kernel.workshop.begin("test-correlation") as work:
            for person in people:
                work.emit(Noted(person_id=person, number=start), Noted(person_id=person, number=start + 1))
    async with (
        running(Relay(kernel.pool, service=f"t{new_id()}", bootstrap=kafka.bootstrap).run()),
        consuming(kernel, kafka, kernel.inbox({Noted: note}), service=f"group-{new_id()}"),
    ):

        async def all_there() -> bool:
            return await kernel.pool.fetchval("SELECT count(*) = 200 FROM effects WHERE person_id = ANY($1)", people)

        await until(all_there, what="200 effects")
    assert await kernel.count("outbox") == 0
    rows = await kernel.pool.fetch(
        "SELECT person_id, array_agg(note::int ORDER BY event_id) AS notes, array_agg(note::int) AS taken"
        " FROM effects WHERE person_id = ANY($1) GROUP BY person_id",
        people,
    )
    assert {row["person_id"]: row["taken"] for row in rows} == {person: list(range(10)) for person in people}
