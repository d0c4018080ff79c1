"""What may be found on a topic: repeats, old versions, and records that nobody can read."""

import signal
from collections import defaultdict
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg

from shared.events.topics import ALL_TOPICS, SIGNUP_PEOPLE
from shared.settings import SERVICES
from tests.faults import kafka
from tests.faults.kafka import Raw
from tests.faults.mail import mailed
from tests.faults.rows import Scene, row
from tests.faults.stand import Broken

NAMES = [topic.name for topic in ALL_TOPICS]
COMPACTED = {topic.name for topic in ALL_TOPICS if topic.compacted}
SET_BACK = "UPDATE inbox_offsets SET next_offset = greatest(0, next_offset - 1000)"
QUARANTINED = "SELECT count(*) FROM quarantined"
PARKED = "SELECT count(*) FROM parked"
# A bug that a deploy would mend: whoever is told of a confirmed person cannot store the message.
BUG = """
    CREATE FUNCTION faults_bug() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF NEW.event_type = 'signup.signed_up.v1' THEN RAISE 'a bug'; END IF; RETURN NEW; END $$;
    CREATE TRIGGER faults_bug_trg BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION faults_bug();
"""
MENDED = "DROP TRIGGER faults_bug_trg ON messages; DROP FUNCTION faults_bug();"


async def everything(scene: Scene, topics: list[str]) -> list[Raw]:
    """Every record of these topics, of which there are some."""
    await scene.goes_on()
    records = await kafka.read(scene.stand, topics)
    if not records:
        raise Broken("the topics are empty though a mail was sent")
    return records


@row()
async def topics_replayed(scene: Scene) -> None:
    """Every record of every topic is appended a second and a third time, as a producer's repeats would be."""
    records = await everything(scene, NAMES)
    written = await kafka.write(scene.stand, records, times=2)
    scene.stand.tell(f"{len(records)} records were appended twice more, {len(written)} in all")
    await scene.goes_on(seconds=120)


@row()
async def offsets_set_back(scene: Scene) -> None:
    """Every service's offsets are set back by 1,000 records while it is stopped; it reads them again."""
    stand = scene.stand
    for service in SERVICES:
        before = await stand.kill(service, signal.SIGTERM)
        await stand.fetch(service, SET_BACK)
        await stand.restarted(service, before)
        # A batch that was under way may have written its offset after ours.
        await stand.fetch(service, SET_BACK)
    for service in SERVICES:
        before = await stand.kill(service)
        await stand.restarted(service, before)
    await scene.goes_on(seconds=120)


@row()
async def versions_out_of_order(scene: Scene) -> None:
    """Every record is appended again in the reverse order, newest version first. On compacted topics the order of a
    key is kept: there the last record is the state."""
    records = await everything(scene, [name for name in NAMES if name not in COMPACTED])
    written = await kafka.write(scene.stand, reversed(records))
    scene.stand.tell(f"{len(written)} records were appended again, backwards")
    await scene.goes_on(seconds=120)


async def some(scene: Scene, count: int) -> list[Raw]:
    """Genuine records of `signup.people`, one for each of the partitions while there are so many."""
    await scene.knock.keep_on(1)
    by_partition: dict[int, list[Raw]] = defaultdict(list)
    for record in await kafka.read(scene.stand, [SIGNUP_PEOPLE.name]):
        if record.header("ce_type") == "signup.signed_up.v1":
            by_partition[record.partition].append(record)
    chosen = [pile[0] for pile in by_partition.values()][:count]
    if not chosen:
        raise Broken("no sign-up is on its topic yet")
    return chosen


def changed(record: Raw, *, value: bytes | None = None, headers: kafka.Headers | None = None) -> Raw:
    """The same record with another value or other headers."""
    return Raw(
        record.topic,
        record.partition,
        record.key,
        record.headers if headers is None else headers,
        record.value if value is None else value,
    )


def without(record: Raw, *names: str) -> list[tuple[str, bytes | None]]:
    """Its headers but for these."""
    return [(name, value) for name, value in record.headers if name not in names]


def renewed(record: Raw) -> list[tuple[str, bytes | None]]:
    """Its headers with an event id of their own."""
    return [*without(record, "ce_id"), ("ce_id", str(uuid4()).encode())]


@row()
async def poison_record(scene: Scene) -> None:
    """Records that can't be read lie in every partition: broken JSON, no headers at all, a key that is another's. Each
    is quarantined once by every service that reads the topic, and the partition goes on."""
    stand = scene.stand
    before = {service: await stand.count(service, QUARANTINED) for service in ("matching", "notifications")}
    chosen = await some(scene, 6)
    poison = [
        poisoned
        for record in chosen
        for poisoned in (
            changed(record, value=b'{"person_id": ', headers=renewed(record)),
            changed(record, headers=[]),
            changed(record, headers=[("ce_type", b"\xff\xfe")]),
        )
    ]
    places = await kafka.write(stand, poison)
    stand.expect("record", *places)
    stand.expect("record", *(record.header("ce_id") for record in poison if record.header("ce_id")))
    stand.expect("quarantined", *places)
    stand.tell(f"{len(poison)} records of poison lie in {len(chosen)} partitions")
    await scene.goes_on(seconds=120)
    for service, count in before.items():

        async def quarantined(service: str = service, wanted: int = count + len(poison)) -> bool:
            return await stand.count(service, QUARANTINED) == wanted

        await stand.until(quarantined, f"{len(poison)} quarantined records in {service}", seconds=60)


@row()
async def null_header(scene: Scene) -> None:
    """Records with a header that has no value, and with required headers that have none, lie in every partition."""
    chosen = await some(scene, 6)
    readable = [changed(record, headers=[*record.headers, ("x-trace", None)]) for record in chosen]
    unreadable = [changed(record, headers=[*without(record, "ce_time"), ("ce_time", None)]) for record in chosen]
    await kafka.write(scene.stand, readable)
    places = await kafka.write(scene.stand, unreadable)
    scene.stand.expect("record", *places)
    scene.stand.expect("quarantined", *places)
    scene.stand.tell(f"{len(readable) + len(unreadable)} records with empty headers lie in {len(chosen)} partitions")
    await scene.goes_on(seconds=120)


@row()
async def unknown_type(scene: Scene) -> None:
    """Records of a type that this version does not know lie in every partition; they are passed over."""
    chosen = await some(scene, 6)
    later = [
        changed(record, headers=[*without(record, "ce_type"), ("ce_type", b"signup.levitated.v7")]) for record in chosen
    ]
    await kafka.write(scene.stand, later)
    scene.stand.tell(f"{len(later)} records of an unknown type lie in {len(chosen)} partitions")
    await scene.goes_on(seconds=120)


@row()
async def oversized_record(scene: Scene) -> None:
    """A record of 2 MB lies in every partition; and an outbox holds a row of 2 MB, which the broker refuses. The
    partitions go on, the relay goes on with every other key, and after the row is taken away nothing waits."""
    stand = scene.stand
    chosen = await some(scene, 6)
    await kafka.allow_bytes(stand, SIGNUP_PEOPLE.name, 8 * 2**20)
    large = [changed(record, headers=[*record.headers, ("x-padding", b" " * 2 * 2**20)]) for record in chosen]
    await kafka.write(stand, large, piece=1)
    await kafka.allow_bytes(stand, SIGNUP_PEOPLE.name, 2**20)
    stand.tell(f"{len(large)} records of 2 MB lie in {len(chosen)} partitions")
    await stand.fetch(
        "signup",
        """INSERT INTO outbox (shard, topic, key, event_id, headers, payload)
           SELECT shard, $1, 'too-large', gen_random_uuid(), '[]', convert_to(repeat('x', 2097152), 'UTF8')
           FROM generate_series(0, 15) AS shard""",
        SIGNUP_PEOPLE.name,
    )
    stand.tell("16 rows of 2 MB lie in the outbox of signup")
    await scene.goes_on(seconds=120)
    held = await stand.count("signup", "SELECT count(*) FROM outbox WHERE key = 'too-large'")
    if held != 16:
        raise Broken(f"{16 - held} rows that no broker takes have left the outbox")
    # What an operator does with them; the copies are the harness's own.
    await stand.fetch("signup", "DELETE FROM outbox WHERE key = 'too-large'")
    await stand.fetch("signup", "DELETE FROM ledger_outbox WHERE key = 'too-large'")


@row()
async def handler_fails(scene: Scene) -> AsyncIterator[None]:
    """A handler of notifications fails for every sign-up, as after a deploy with a bug. The events are parked, others
    go on; when it is mended, `hustings records redrive` has every mail sent."""
    stand = scene.stand
    await run_script(scene, BUG)
    await scene.knock.keep_on(2, every=0.2)
    missed = scene.knock.last_email

    async def parked() -> bool:
        return await stand.count("notifications", PARKED) >= 5

    await stand.until(parked, "five parked events in notifications", seconds=60)
    stand.tell(f"{await stand.count('notifications', PARKED)} events are parked")
    await run_script(scene, MENDED)
    await stand.run("cli", "records", "redrive", "notifications")
    await mailed(stand, missed, seconds=90)

    async def emptied() -> bool:
        return await stand.count("notifications", PARKED) == 0

    await stand.until(emptied, "the parked events to be handled", seconds=90)
    stand.tell("all parked events were redriven")
    yield
    if left := await stand.count("notifications", PARKED):
        raise Broken(f"{left} events are parked at rest")


async def run_script(scene: Scene, sql: str) -> None:
    """Several statements in the database of notifications, as its owner."""
    connection = await asyncpg.connect(scene.stand.endpoints["postgres_owner"]["notifications"])
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
