"""Outbox rows packed into batches: where they go, in what order, and what is too large."""

import random
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

import orjson
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

from shared.batches import MAX_REQUEST_BYTES, Batch, Packing

PARTITIONS = {"one": 3, "other": 7}
BATCH_BYTES = 4_000


def row(number: int, topic: str, key: str, *, payload_bytes: int = 100) -> tuple[Any, ...]:
    """A row of an outbox; `number` is its id."""
    return (number % 4, number, topic, key, orjson.dumps([("ce_id", str(number))]).decode(), b"x" * payload_bytes)


def pack(rows: Sequence[Any], *, alone: Sequence[str] = (), refused: Sequence[int] = ()) -> Packing:
    """The rows, packed a few at a time."""
    packing = Packing(PARTITIONS, partial(BatchBuilder, BATCH_BYTES, 0), alone=alone, refused=refused)
    for start in range(0, len(rows), 7):
        packing.add(rows[start : start + 7])
    return packing


def ids(batches: Sequence[Batch]) -> list[list[int]]:
    """The ids in each batch."""
    return [[row[1] for row in batch.rows] for batch in batches]


def some_rows(count: int) -> list[tuple[Any, ...]]:
    """Rows of forty keys in both topics."""
    chance = random.Random(11)
    keys = [str(UUID(int=chance.getrandbits(128))) for _ in range(40)]
    return [row(number, chance.choice(list(PARTITIONS)), chance.choice(keys)) for number in range(count)]


def test_rows_keep_their_order_within_each_partition() -> None:
    rows = some_rows(600)
    batches = pack(rows).batches()
    found: dict[tuple[str, int], list[Any]] = defaultdict(list)
    for batch in batches:
        found[batch.topic, batch.partition] += batch.rows
        assert batch.builder.record_count() == len(batch.rows)
        assert batch.builder.size() <= BATCH_BYTES
    wanted = defaultdict(list)
    for each in rows:
        everywhere = list(range(PARTITIONS[each[2]]))
        wanted[each[2], DefaultPartitioner()(each[3].encode(), everywhere, everywhere)].append(each)
    assert dict(found) == dict(wanted)
    assert len(batches) > len(found), "partitions with more than one batch"


def test_first_batch_of_each_partition_comes_before_any_second() -> None:
    batches = pack(some_rows(600)).batches()
    turns: dict[tuple[str, int], int] = defaultdict(int)
    order = []
    for batch in batches:
        order.append(turns[batch.topic, batch.partition])
        turns[batch.topic, batch.partition] += 1
    assert order == sorted(order)
    assert [batch.builder.closed() for batch in batches] == [True] * len(batches)


def test_record_too_large_stays_out_with_what_follows_its_key() -> None:
    rows = [
        row(0, "one", "a"),
        row(1, "one", "a", payload_bytes=MAX_REQUEST_BYTES),
        row(2, "one", "a"),
        row(3, "other", "a"),
        row(4, "one", "b"),
    ]
    packing = pack(rows)
    assert sorted(number for batch in ids(packing.batches()) for number in batch) == [0, 4]
    assert packing.too_large == {"a": rows[1]}


def test_record_larger_than_a_batch_goes_alone() -> None:
    batches = pack([row(0, "one", "a"), row(1, "one", "a", payload_bytes=BATCH_BYTES), row(2, "one", "a")]).batches()
    assert ids(batches) == [[0], [1], [2]]


def test_keys_named_get_a_batch_for_each_record() -> None:
    rows = [row(0, "one", "a"), row(1, "one", "a"), row(2, "one", "a")]
    assert ids(pack(rows).batches()) == [[0, 1, 2]]
    assert ids(pack(rows, alone=["a"]).batches()) == [[0], [1], [2]]


def test_row_refused_before_is_too_large() -> None:
    rows = [row(0, "one", "a"), row(1, "one", "a"), row(2, "one", "a"), row(3, "one", "b")]
    packing = pack(rows, alone=["a"], refused=[1])
    assert sorted(ids(packing.batches())) == [[0], [3]]
    assert packing.too_large == {"a": rows[1]}


def test_nothing_makes_no_batch() -> None:
    assert pack([]).batches() == []
