"""The outbox and its relay on a real broker: nothing lost, nothing misordered, whoever dies or hangs in between."""

import asyncio
import random
import signal
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import ProducerFenced

from deploy.embedded.kafka import Kafka
from deploy.embedded.processes import choose_port
from shared.broker import create_topics
from shared.outbox import shard_of
from shared.relay import CLAIM, GROUPS, LeaseLost, Relay
from tests.component.kernel.conftest import Kernel
from tests.component.kernel.events import Counted, Noted
from tests.component.kernel.running import DEADLINE_SECONDS, emptied, make_relay, records_of, running, until
from tests.component.kernel.test_service import process, ready, variables

TAKE_NUMBERS = "UPDATE counters SET number = number + 1 WHERE id = ANY($1::uuid[]) RETURNING id, number"
LOCK_COUNTERS = "SELECT id FROM counters WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE"

pytestmark = pytest.mark.usefixtures("topics")


async def test_relay_keeps_order_and_loses_nothing_under_rival_writers(kernel: Kernel, kafka: Kafka) -> None:
    keys = [uuid4() for _ in range(20)]
    await kernel.database.execute("CREATE TABLE counters (id uuid PRIMARY KEY, number int NOT NULL)")
    await kernel.database.execute("GRANT ALL ON counters TO PUBLIC")
    await kernel.database.execute("INSERT INTO counters SELECT unnest($1::uuid[]), 0", keys)

    async def write(seed: int) -> None:
        chosen = random.Random(seed)
        for _ in range(30):
            some = chosen.sample(keys, chosen.randint(1, 3))
            async with kernel.workshop.begin() as work:
                await work.connection.execute(LOCK_COUNTERS, some)
                for row in await work.connection.fetch(TAKE_NUMBERS, some):
                    work.emit(Noted(person_id=row["id"], number=row["number"]))
                if chosen.random() < 0.2:
                    await asyncio.sleep(0.01)

    async with running(make_relay(kernel, kafka).run()):
        await asyncio.gather(*(write(seed) for seed in range(12)))
        await until(lambda: emptied(kernel), what="an empty outbox")
    sequences, numbers = defaultdict(list), defaultdict(list)
    for key, _, sequence, number in await records_of(kafka, Noted, keys):
        sequences[key].append(sequence)
        numbers[key].append(number)
    totals = await kernel.pool.fetch("SELECT id, number FROM counters")
    wanted = {str(row["id"]): list(range(1, row["number"] + 1)) for row in totals}
    assert dict(sequences) == wanted
    assert sum(row["number"] for row in totals) > 500
    # The numbers were drawn under the aggregate's lock: their order is the order of the commits.
    assert dict(numbers) == wanted


async def test_crash_between_send_and_delete_repeats_the_same_ids(kernel: Kernel, kafka: Kafka) -> None:
    keys = [uuid4() for _ in range(8)]

    class Crashing(Relay):
        crashed: ClassVar[set[int]] = set()

        async def _delete(self, group: int, epoch: int, rows: Sequence[Any]) -> None:
            if group not in self.crashed:
                self.crashed.add(group)
                raise ConnectionError("the process died here")
            await super()._delete(group, epoch, rows)

    async with kernel.workshop.begin() as work:
        work.emit(*(Noted(person_id=key, number=number) for key in keys for number in range(3)))
    ids = {(row["key"], str(row["event_id"])) for row in await kernel.pool.fetch("SELECT key, event_id FROM outbox")}
    relay = make_relay(kernel, kafka, Crashing)
    async with running(relay.run()):
        await until(lambda: emptied(kernel), what="an empty outbox")
    found = await records_of(kafka, Noted, keys)
    assert {(key, event_id) for key, event_id, *_ in found} == ids
    assert len(found) == 2 * len(ids)
    per_key = defaultdict(list)
    for key, _, _, number in found:
        per_key[key].append(number)
    assert dict(per_key) == {str(key): [0, 1, 2, 0, 1, 2] for key in keys}


async def test_relays_never_own_a_group_together(kernel: Kernel, kafka: Kafka) -> None:
    active: dict[int, set[str]] = defaultdict(set)
    together: list[int] = []

    class Watched(Relay):
        async def _relay_group(self, group: int, epoch: int) -> None:
            active[group].add(self._owner)
            if len(active[group]) > 1:
                together.append(group)
            try:
                await super()._relay_group(group, epoch)
            finally:
                active[group].discard(self._owner)

    async def all_owned() -> bool:
        rows = await kernel.pool.fetch("SELECT grp FROM outbox_groups WHERE lease_until > clock_timestamp()")
        return len(rows) == GROUPS == sum(len(owners) for owners in active.values())

    first, second = (make_relay(kernel, kafka, Watched, lease_seconds=3, margin_seconds=1) for _ in range(2))
    async with running(second.run()):
        async with running(first.run()):
            await until(all_owned, what="every group owned")
            key = uuid4()
            for number in range(20):
                async with kernel.workshop.begin() as work:
                    work.emit(Noted(person_id=key, number=number))
            await until(lambda: emptied(kernel), what="an empty outbox")
        await until(all_owned, what="every group owned by the one that is left")
    assert together == []
    assert [number for *_, number in await records_of(kafka, Noted, [key])] == list(range(20))


async def test_group_under_a_lease_is_not_claimed(kernel: Kernel) -> None:
    async def claim(owner: str) -> list[tuple[int, int]]:
        return sorted(tuple(row) for row in await kernel.pool.fetch(CLAIM, owner, 15.0))

    claims = await asyncio.gather(*(claim(f"relay {number}") for number in range(8)))
    assert sorted(group for each in claims for group in each) == [(group, 1) for group in range(GROUPS)]
    await kernel.pool.execute("UPDATE outbox_groups SET lease_until = clock_timestamp() WHERE grp = 2")
    assert await claim("another") == [(2, 2)]


async def test_stopped_relay_releases_its_groups_at_once(kernel: Kernel, kafka: Kafka) -> None:
    async def owned() -> bool:
        return bool(await kernel.pool.fetchval("SELECT bool_and(owner IS NOT NULL) FROM outbox_groups"))

    # A lease that outlasts the test, however slow the machine is: only a release lets the second relay begin.
    lease_seconds = 10 * DEADLINE_SECONDS
    async with running(make_relay(kernel, kafka, lease_seconds=lease_seconds).run()):
        await until(owned, what="every group owned")
    released = await kernel.pool.fetch("SELECT owner, lease_until < clock_timestamp() AS free FROM outbox_groups")
    assert [tuple(row) for row in released] == [(None, True)] * GROUPS
    async with kernel.workshop.begin() as work:
        work.emit(Noted(person_id=uuid4(), number=1))
    async with running(make_relay(kernel, kafka).run()):
        await until(lambda: emptied(kernel), what="an empty outbox")


async def test_dead_relays_groups_are_taken_when_its_lease_ends(kernel: Kernel, kafka: Kafka) -> None:
    await kernel.pool.execute(
        "UPDATE outbox_groups SET owner = 'dead', epoch = 7, lease_until = clock_timestamp() + interval '2 seconds'"
    )
    async with kernel.workshop.begin() as work:
        work.emit(*(Noted(person_id=uuid4(), number=1) for _ in range(40)))
    async with running(make_relay(kernel, kafka, lease_seconds=3, margin_seconds=1).run()):
        await until(lambda: emptied(kernel), what="an empty outbox")
        epochs = await kernel.pool.fetch("SELECT epoch FROM outbox_groups")
    assert [row["epoch"] for row in epochs] == [8] * GROUPS


async def test_relay_that_was_taken_over_is_fenced(kernel: Kernel, kafka: Kafka) -> None:
    """The predecessor hangs with its transaction open; what it sent is never seen behind the successor's."""
    count = uuid4()
    hangs, wakes = asyncio.Event(), asyncio.Event()
    met: list[Exception] = []

    class Hanging(Relay):
        async def _send(self, producer: AIOKafkaProducer, rows: Sequence[Any]) -> Sequence[Any]:
            commit = producer.commit_transaction

            async def commit_late() -> None:
                hangs.set()
                await wakes.wait()
                await commit()

            producer.commit_transaction = commit_late
            try:
                return await super()._send(producer, rows)
            except Exception as error:
                met.append(error)
                raise

    async with kernel.workshop.begin() as work:
        work.emit(Counted(count_id=count, number=1))
    async with running(make_relay(kernel, kafka, Hanging).run()):
        await asyncio.wait_for(hangs.wait(), 20)
        # Its lease ends while it hangs.
        await kernel.pool.execute("UPDATE outbox_groups SET lease_until = '-infinity'")
        async with running(make_relay(kernel, kafka).run()):
            async with kernel.workshop.begin() as work:
                work.emit(Counted(count_id=count, number=2))
            await until(lambda: emptied(kernel), what="an empty outbox")
            wakes.set()

            async def noticed() -> bool:
                return bool(met)

            await until(noticed, what="the predecessor's error")
    assert [type(error) for error in met] == [ProducerFenced]
    assert [number for *_, number in await records_of(kafka, Counted, [count])] == [1, 2]


async def test_broker_away_longer_than_the_lease_ends_with_the_newest_state(kernel: Kernel, tmp_path: Path) -> None:
    counts = [uuid4() for _ in range(12)]

    async def emit(number: int) -> None:
        async with kernel.workshop.begin() as work:
            work.emit(*(Counted(count_id=count, number=number) for count in counts))

    with Kafka(tmp_path / "kafka") as kafka:
        await create_topics(kafka.bootstrap, [Counted.topic], partitions=3)
        assert kafka.process is not None
        first, second = (make_relay(kernel, kafka, lease_seconds=3, margin_seconds=1) for _ in range(2))
        async with running(first.run()), running(second.run()):
            await emit(1)
            await until(lambda: emptied(kernel), what="an empty outbox")
            epochs = await kernel.pool.fetchval("SELECT sum(epoch) FROM outbox_groups")
            kafka.process.send(signal.SIGSTOP)
            try:
                for number in range(2, 8):
                    await emit(number)

                async def changed_hands() -> bool:
                    return bool(await kernel.pool.fetchval("SELECT sum(epoch) >= $1 FROM outbox_groups", epochs + 3))

                await until(changed_hands, what="groups claimed anew, since the lease of 3 s ended")
                assert await kernel.count("outbox") == 6 * len(counts)
            finally:
                kafka.process.send(signal.SIGCONT)
            await emit(8)
            await until(lambda: emptied(kernel), what="an empty outbox", seconds=60)
        found = await records_of(kafka, Counted, counts)
    seen: dict[str, list[int]] = defaultdict(list)
    last: dict[str, int] = {}
    for key, _, _, number in found:
        last[key] = number
        if number not in seen[key]:
            seen[key].append(number)
    assert dict(seen) == {str(count): list(range(1, 9)) for count in counts}
    assert last == {str(count): 8 for count in counts}


async def test_relay_process_that_sleeps_past_its_lease_puts_nothing_older_behind(
    kernel: Kernel, kafka: Kafka, tmp_path: Path
) -> None:
    """A machine that was suspended: its relay wakes with records in its hands, after a successor sent newer ones."""
    counts = [uuid4() for _ in range(12)]
    number = 0

    async def emit() -> None:
        nonlocal number
        number += 1
        async with kernel.workshop.begin() as work:
            work.emit(*(Counted(count_id=count, number=number) for count in counts))

    async def write() -> None:
        while True:
            await emit()
            await asyncio.sleep(0.05)

    port, log = choose_port(), tmp_path / "log"
    async with process("relay", variables(kernel.database, kafka.bootstrap, port), log) as asleep:
        await ready(port, log)
        async with running(write()):

            async def relayed() -> bool:
                return number > 20 and await kernel.count("outbox") < len(counts)

            await until(relayed, what="records sent by the process")
            asleep.send_signal(signal.SIGSTOP)
            # Of the same service: the transactional ids are what fences.
            successor = Relay(kernel.pool, service="tiny", bootstrap=kafka.bootstrap)
            async with running(successor.run()):
                epochs = await kernel.pool.fetchval("SELECT sum(epoch) FROM outbox_groups")

                async def taken_over() -> bool:
                    return bool(await kernel.pool.fetchval("SELECT sum(epoch) FROM outbox_groups") >= epochs + GROUPS)

                await until(taken_over, what="the groups taken over once the lease of 15 s ended", seconds=60)
                asleep.send_signal(signal.SIGCONT)
                written = number

                async def went_on() -> bool:
                    return number > written + 20

                await until(went_on, what="newer records while the sleeper wakes")
        # Either of the two may hold the groups at the end.
        async with running(Relay(kernel.pool, service="tiny", bootstrap=kafka.bootstrap).run()):
            await until(lambda: emptied(kernel), what="an empty outbox", seconds=60)
    found = await records_of(kafka, Counted, counts)
    first: dict[str, list[int]] = defaultdict(list)
    last: dict[str, int] = {}
    for key, _, _, seen in found:
        last[key] = seen
        if seen not in first[key]:
            first[key].append(seen)
    assert dict(first) == {str(count): list(range(1, number + 1)) for count in counts}
    assert last == {str(count): number for count in counts}


async def test_row_that_commits_late_is_relayed(kernel: Kernel, kafka: Kafka) -> None:
    """Ids are drawn before the commit: a row may appear behind one with a higher id, which has been sent already."""
    early = uuid4()
    late = next(key for key in iter(uuid4, None) if shard_of(str(key)) == shard_of(str(early)))

    async def sent() -> bool:
        rows = await kernel.pool.fetch("SELECT 1 FROM outbox WHERE key = $1", str(early))
        return not rows

    async with running(make_relay(kernel, kafka).run()):
        async with kernel.workshop.begin() as slow:
            slow.emit(Noted(person_id=late, number=1))
            await slow.flush()
            async with kernel.workshop.begin() as fast:
                fast.emit(Noted(person_id=early, number=1))
            await until(sent, what="the row that committed first to be sent")
        await until(lambda: emptied(kernel), what="an empty outbox")
    assert [number for *_, number in await records_of(kafka, Noted, [late])] == [1]


async def test_relay_stops_for_a_lost_lease_without_deleting(kernel: Kernel, kafka: Kafka) -> None:
    async with kernel.workshop.begin() as work:
        work.emit(Noted(person_id=uuid4(), number=1))
    rows = await kernel.pool.fetch("SELECT shard, id, topic, key, headers, payload FROM outbox")
    relay = make_relay(kernel, kafka)
    await kernel.pool.execute("UPDATE outbox_groups SET epoch = 9")
    with pytest.raises(LeaseLost):
        await relay._delete(rows[0]["shard"] % GROUPS, 8, rows)
    assert await kernel.count("outbox") == 1
    assert await kernel.pool.fetchval("SELECT count(*) FROM outbox_groups WHERE epoch = 9") == GROUPS
