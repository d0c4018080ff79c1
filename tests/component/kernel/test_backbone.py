"""From an emitted event to its one effect, over a real broker."""

from uuid import uuid4

from deploy.embedded.kafka import Kafka
from shared.broker import create_topics
from shared.relay import Relay
from tests.component.kernel.conftest import Kernel
from tests.component.kernel.events import Noted
from tests.component.kernel.running import consuming, note, running, until


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
