"""The inbox: one effect per event, in order per key, whatever is delivered how often, and a fate for every record."""

import asyncio
import datetime as dt
from collections.abc import Sequence
from uuid import UUID, uuid4

import asyncpg
import pytest

from cli.records import REDRIVE
from shared.errors import Rejected, TryAgain, Unprocessable
from shared.events.envelope import Received, new_id, payload_of
from shared.inbox import MAX_ATTEMPTS, Record
from shared.web.text import _
from shared.work import Work
from tests.component.kernel.conftest import Kernel
from tests.component.kernel.events import Counted, Noted, record
from tests.component.kernel.running import effects, note

CLUSTER = "cluster-of-tests"
NOW_DUE = "UPDATE parked SET retry_at = '-infinity'"


def notes(people: Sequence[UUID], count: int) -> list[Record]:
    """`count` notes of each person, their turns mixed, numbered from 0."""
    return [
        record(Noted(person_id=person, number=number), number * len(people) + place)
        for number in range(count)
        for place, person in enumerate(people)
    ]


async def next_offset(kernel: Kernel) -> int | None:
    """How far partition 0 was taken."""
    value: int | None = await kernel.pool.fetchval("SELECT next_offset FROM inbox_offsets WHERE partition = 0")
    return value


async def test_same_batch_again_has_no_second_effect(kernel: Kernel) -> None:
    people = [uuid4() for _ in range(5)]
    inbox, batch = kernel.inbox({Noted: note}), notes(people, 4)
    assert [await inbox.take(batch, cluster_id=CLUSTER) for _ in range(3)] == [20, 0, 0]
    assert [await effects(kernel, person) for person in people] == [["0", "1", "2", "3"]] * 5
    assert await next_offset(kernel) == 20


async def test_offsets_set_back_a_thousand_records_have_no_second_effect(kernel: Kernel) -> None:
    inbox, batch = kernel.inbox({Noted: note}), notes([uuid4() for _ in range(30)], 40)
    for start in range(0, 1200, 400):
        await inbox.take(batch[start : start + 400], cluster_id=CLUSTER)
    # An operator restored an older offset row: what is then read again is met by its ids.
    await kernel.pool.execute("UPDATE inbox_offsets SET next_offset = next_offset - 1000")
    assert await inbox.take(batch[200:700], cluster_id=CLUSTER) == 0
    assert await inbox.take(batch[700:], cluster_id=CLUSTER) == 0
    assert (await kernel.count("effects"), await next_offset(kernel)) == (1200, 1200)


async def test_producers_repeat_at_new_offsets_meets_its_twin(kernel: Kernel) -> None:
    person, event_id = uuid4(), new_id()
    inbox = kernel.inbox({Noted: note})
    event = Noted(person_id=person, number=1)
    # Within one batch, in a later batch, and a day later: the day that counts is the event's own.
    assert await inbox.take([record(event, n, event_id=event_id) for n in (0, 1)], cluster_id=CLUSTER) == 1
    assert await inbox.take([record(event, 2, event_id=event_id)], cluster_id=CLUSTER) == 0
    await kernel.database.advance_clock(dt.timedelta(days=1))
    assert await inbox.take([record(event, 3, event_id=event_id)], cluster_id=CLUSTER) == 0
    assert (await effects(kernel, person), await next_offset(kernel)) == (["1"], 4)


async def test_failing_record_parks_its_key_and_the_others_flow(kernel: Kernel) -> None:
    sick, well = uuid4(), uuid4()
    inbox = kernel.inbox({Noted: note})
    batch = [
        record(Noted(person_id=sick, number=0), 0),
        record(Noted(person_id=sick, number=1, poison=True), 1),
        record(Noted(person_id=sick, number=2), 2),
        record(Noted(person_id=well, number=0), 3),
    ]
    await inbox.take(batch, cluster_id=CLUSTER)
    later = [record(Noted(person_id=sick, number=3), 4), record(Noted(person_id=well, number=1), 5)]
    await inbox.take(later, cluster_id=CLUSTER)
    await inbox.take([*batch, *later], cluster_id=CLUSTER)
    assert (await effects(kernel, sick), await effects(kernel, well)) == (["0"], ["0", "1"])
    parked = await kernel.pool.fetch("SELECT key, record_offset, attempts, error FROM parked ORDER BY id")
    waits = "waits behind an earlier event of its key"
    assert [tuple(row) for row in parked] == [
        (str(sick), 1, 1, "ValueError"),
        (str(sick), 2, 0, waits),
        (str(sick), 4, 0, waits),
    ]
    assert await next_offset(kernel) == 6


async def test_retries_of_a_key_succeed_in_order(kernel: Kernel) -> None:
    person = uuid4()
    broken = True

    async def heal(work: Work, events: Sequence[Received]) -> None:
        if broken:
            raise TryAgain("not there yet")
        await note(work, events)

    inbox = kernel.inbox({Noted: heal})
    await inbox.take([record(Noted(person_id=person, number=n), n) for n in range(3)], cluster_id=CLUSTER)
    # Not due yet, then due and failing again, which leaves the order as it is.
    assert await inbox.retry_parked() == 0
    await kernel.pool.execute(NOW_DUE)
    assert await inbox.retry_parked() == 1
    assert [row["attempts"] for row in await kernel.pool.fetch("SELECT attempts FROM parked ORDER BY id")] == [2, 0, 0]
    broken = False
    await kernel.pool.execute(NOW_DUE)
    # A rival takes none of the same, and each look takes one head.
    assert sorted(await asyncio.gather(inbox.retry_parked(), inbox.retry_parked()))[1] == 1
    while await inbox.retry_parked():
        pass
    assert (await effects(kernel, person), await kernel.count("parked")) == (["0", "1", "2"], 0)


async def test_used_up_retries_are_dead_until_redriven(kernel: Kernel) -> None:
    person = uuid4()
    broken = True

    async def heal(work: Work, events: Sequence[Received]) -> None:
        if broken:
            raise ValueError("a bug")
        await note(work, events)

    inbox = kernel.inbox({Noted: heal})
    event_id = new_id()
    await inbox.take(
        [record(Noted(person_id=person, number=0), 0, event_id=event_id), record(Noted(person_id=person, number=1), 1)],
        cluster_id=CLUSTER,
    )
    delays = []
    for _attempt in range(MAX_ATTEMPTS - 1):
        await kernel.pool.execute(NOW_DUE)
        assert await inbox.retry_parked() == 1
        head = await kernel.pool.fetchrow(
            "SELECT status, extract(epoch FROM retry_at - clock_timestamp()) AS delay FROM parked ORDER BY id LIMIT 1"
        )
        assert head is not None
        delays.append(round(head["delay"]))
    assert delays == [4, 8, 16, 32, 64, 128, 256]
    await kernel.pool.execute(NOW_DUE)
    # The head is dead: nothing of its key moves.
    assert await inbox.retry_parked() == 0
    statuses = await kernel.pool.fetch("SELECT status FROM parked ORDER BY id")
    assert [row["status"] for row in statuses] == ["dead", "parked"]
    broken = False
    await kernel.pool.execute(REDRIVE, event_id)
    while await inbox.retry_parked():
        pass
    assert (await effects(kernel, person), await kernel.count("parked")) == (["0", "1"], 0)
    seen = await kernel.pool.fetchval("SELECT event_id FROM effects WHERE note = '0'")
    assert seen == event_id


async def test_unprocessable_record_is_quarantined_with_its_raw_bytes(kernel: Kernel) -> None:
    person = uuid4()

    async def refuse(work: Work, events: Sequence[Received]) -> None:
        for received in events:
            assert isinstance(received.event, Noted)
            if received.event.number == 1:
                raise Unprocessable("nothing can be made of it")
        await note(work, events)

    batch = [record(Noted(person_id=person, number=n), n) for n in range(3)]
    await kernel.inbox({Noted: refuse}).take(batch, cluster_id=CLUSTER)
    rows = await kernel.pool.fetch("SELECT record_offset, key, value, reason FROM quarantined")
    assert [tuple(row) for row in rows] == [(1, batch[1].key, batch[1].value, "nothing can be made of it")]
    assert await effects(kernel, person) == ["0", "2"]


BROKEN_HEADERS: dict[str, list[tuple[str, bytes | None]]] = {
    "none": [],
    "null type": [("ce_type", None)],
    "not text": [("ce_id", b"\xff\xfe")],
    "nul in a name": [("ce_\x00", b"\xff")],
    "nul in a value": [("ce_type", b"\x00")],
    "backslash and u0000": [("x", b"\\u0000"), ("ce_type", b"test.noted.v1")],
    "no day": [
        ("ce_type", b"test.noted.v1"),
        ("ce_id", str(uuid4()).encode()),
        ("ce_sequence", b"1"),
        ("ce_time", b"0001-01-01T00:00:00+14:00"),
    ],
}


@pytest.mark.parametrize("name", BROKEN_HEADERS)
async def test_broken_headers_hold_nobody_up(kernel: Kernel, name: str) -> None:
    person = uuid4()
    raw = Record(Noted.topic.name, 0, 0, b"\xff\x00", BROKEN_HEADERS[name], b"\x00\xffnot json")
    fine = record(Noted(person_id=person, number=1), 1)
    assert await kernel.inbox({Noted: note}).take([raw, fine], cluster_id=CLUSTER) == 1
    kept = await kernel.pool.fetch("SELECT key, value FROM quarantined")
    unknown = name == "nul in a value"
    assert [tuple(row) for row in kept] == ([] if unknown else [(raw.key, raw.value)])
    assert (await effects(kernel, person), await next_offset(kernel)) == (["1"], 2)


async def test_failing_record_with_odd_foreign_headers_can_be_parked_and_retried(kernel: Kernel) -> None:
    person = uuid4()
    odd = [("x-nul", b"\x00"), ("x-null", None), ("x-bytes", b"\xff"), ("correlation_id", b"a\x00b")]
    inbox = kernel.inbox({Noted: note})
    poisoned = record(Noted(person_id=person, number=1, poison=True), 0, extra=odd)
    await inbox.take([poisoned], cluster_id=CLUSTER)
    await kernel.pool.execute("UPDATE parked SET value = $1", payload_of(Noted(person_id=person, number=1)))
    await kernel.pool.execute(NOW_DUE)
    assert await inbox.retry_parked() == 1
    assert (await effects(kernel, person), await kernel.count("parked")) == (["1"], 0)


async def test_rejected_event_is_neither_parked_nor_quarantined(kernel: Kernel) -> None:
    person = uuid4()

    async def refuse(work: Work, events: Sequence[Received]) -> None:
        await note(work, events)
        if any(received.offset == 0 for received in events):
            raise Rejected("too_late", _("Too late."))

    batch = [record(Noted(person_id=person, number=n), n) for n in range(2)]
    await kernel.inbox({Noted: refuse}).take(batch, cluster_id=CLUSTER)
    assert (await kernel.count("parked"), await kernel.count("quarantined")) == (0, 0)
    assert (await effects(kernel, person), await next_offset(kernel)) == (["1"], 2)


async def test_unknown_and_unrouted_types_are_passed_over(kernel: Kernel) -> None:
    person = uuid4()
    newer = Record(
        Noted.topic.name, 0, 0, b"k", [("ce_type", b"test.noted.v99"), ("ce_id", b"whatever")], b"of a later version"
    )
    unrouted = record(Counted(count_id=uuid4(), number=1), 0)
    batch = [newer, unrouted, record(Noted(person_id=person, number=1), 1)]
    assert await kernel.inbox({Noted: note}).take(batch, cluster_id=CLUSTER) == 1
    assert (await kernel.count("quarantined"), await kernel.count("parked")) == (0, 0)
    assert await effects(kernel, person) == ["1"]


async def test_parked_record_of_a_newer_version_waits_for_it(kernel: Kernel) -> None:
    """In a rolling deploy the old version's worker meets what the new one parked."""
    person = uuid4()
    await kernel.inbox({Noted: note}).take(
        [record(Noted(person_id=person, number=1, poison=True), 0)], cluster_id=CLUSTER
    )
    await kernel.pool.execute("UPDATE parked SET value = $1", payload_of(Noted(person_id=person, number=1)))
    await kernel.pool.execute(NOW_DUE)
    assert await kernel.inbox({}).retry_parked() == 1
    assert [tuple(row) for row in await kernel.pool.fetch("SELECT status, attempts FROM parked")] == [("parked", 1)]
    await kernel.pool.execute(NOW_DUE)
    assert await kernel.inbox({Noted: note}).retry_parked() == 1
    assert (await effects(kernel, person), await kernel.count("parked")) == (["1"], 0)


async def test_erased_persons_events_are_forgotten(kernel: Kernel) -> None:
    erased, other = uuid4(), uuid4()
    inbox = kernel.inbox({Noted: note})
    await inbox.take([record(Noted(person_id=erased, number=0, poison=True), 0)], cluster_id=CLUSTER)
    await kernel.pool.execute("INSERT INTO tombstones VALUES ($1, now(), $2)", erased, uuid4())
    handled = await inbox.take(
        [record(Noted(person_id=erased, number=1), 1), record(Noted(person_id=other, number=1), 2)], cluster_id=CLUSTER
    )
    assert handled == 1
    # What was parked before the erasure must not bring the person back either.
    await kernel.pool.execute("UPDATE parked SET value = $1", payload_of(Noted(person_id=erased, number=0)))
    await kernel.pool.execute(NOW_DUE)
    assert await inbox.retry_parked() == 1
    assert await kernel.count("parked") == 0
    assert (await effects(kernel, erased), await effects(kernel, other)) == ([], ["1"])


@pytest.mark.parametrize("fault", [asyncpg.DeadlockDetectedError("x"), ConnectionError(), TimeoutError()])
async def test_infrastructure_fault_rolls_back_everything(kernel: Kernel, fault: Exception) -> None:
    person = uuid4()
    faults = [fault]

    async def act(work: Work, events: Sequence[Received]) -> None:
        await note(work, events)
        work.emit(*(Counted(count_id=person, number=received.offset) for received in events))
        if faults:
            raise faults.pop()

    inbox, batch = kernel.inbox({Noted: act}), [record(Noted(person_id=person, number=n), n) for n in range(2)]
    with pytest.raises(type(fault)):
        await inbox.take(batch, cluster_id=CLUSTER)
    tables = ("effects", "outbox", "streams", "parked", "inbox_offsets", "inbox_seen")
    assert [await kernel.count(table) for table in tables] == [0] * 6
    assert await inbox.take(batch, cluster_id=CLUSTER) == 2
    assert [await kernel.count(table) for table in tables] == [2, 2, 1, 0, 1, 2]


async def test_offsets_that_can_not_be_written_undo_the_effect(kernel: Kernel) -> None:
    """The database goes away between the effect and the offsets: neither is there, and the batch comes again."""
    person = uuid4()
    await kernel.database.execute(
        "CREATE FUNCTION go_away() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE EXCEPTION 'away' USING ERRCODE = 'admin_shutdown'; END $$"
    )
    await kernel.database.execute(
        "CREATE TRIGGER goes_away BEFORE UPDATE ON inbox_offsets FOR EACH ROW EXECUTE FUNCTION go_away()"
    )
    inbox, batch = kernel.inbox({Noted: note}), [record(Noted(person_id=person, number=n), n) for n in range(2)]
    with pytest.raises(asyncpg.AdminShutdownError):
        await inbox.take(batch, cluster_id=CLUSTER)
    assert [await kernel.count(table) for table in ("effects", "inbox_seen", "inbox_offsets")] == [0, 0, 0]
    await kernel.database.execute("DROP TRIGGER goes_away ON inbox_offsets")
    assert await inbox.take(batch, cluster_id=CLUSTER) == 2
    assert await effects(kernel, person) == ["0", "1"]


async def test_wrong_argument_parks_its_record_instead_of_blocking_the_partition(kernel: Kernel) -> None:
    sick, well = uuid4(), uuid4()

    async def act(work: Work, events: Sequence[Received]) -> None:
        for received in events:
            assert isinstance(received.event, Noted)
            # int4 takes no 2**40, as asyncpg says before it sends anything.
            await work.connection.execute("SELECT $1::int4", received.event.number)
        await note(work, events)

    batch = [record(Noted(person_id=sick, number=2**40), 0), record(Noted(person_id=well, number=1), 1)]
    await kernel.inbox({Noted: act}).take(batch, cluster_id=CLUSTER)
    assert (await effects(kernel, sick), await effects(kernel, well)) == ([], ["1"])
    assert await kernel.pool.fetchval("SELECT error FROM parked") == "DataError"


async def test_failed_records_own_events_are_undone_and_the_others_stay(kernel: Kernel) -> None:
    people = [uuid4() for _ in range(3)]

    async def act(work: Work, events: Sequence[Received]) -> None:
        for received in events:
            work.emit(Counted(count_id=received.event.person_ids[0], number=1))
        await note(work, events)

    batch = [record(Noted(person_id=person, number=n, poison=n == 1), n) for n, person in enumerate(people)]
    await kernel.inbox({Noted: act}).take(batch, cluster_id=CLUSTER)
    keys = {row["key"] for row in await kernel.pool.fetch("SELECT key FROM outbox")}
    assert keys == {str(people[0]), str(people[2])}
