"""Layers: sets that a handler may take at once, such that every key keeps its order."""

import datetime as dt
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from shared.events import Event
from shared.events.envelope import Received
from shared.events.matching import CallCompleted
from shared.events.signup import SignedUp
from shared.inbox import in_layers

TYPES: tuple[type[Event], ...] = (SignedUp, CallCompleted)
NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


def received(offset: int, kind: int, key: int) -> Received:
    """A record of one of two types; only its type, stream and place count here."""
    cls: type[Event] = TYPES[kind]
    return Received(
        event=cls.model_construct(),
        id=UUID(int=offset),
        time=NOON,
        sequence=offset,
        key=str(key),
        correlation_id=None,
        topic="one topic" if key % 2 else "another",
        partition=0,
        offset=offset,
    )


batches = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), max_size=40).map(
    lambda rows: [received(offset, kind, key) for offset, (kind, key) in enumerate(rows)]
)


@given(batches)
def test_layers_hold_every_event_once_and_keep_each_keys_order(batch: list[Received]) -> None:
    layers = list(in_layers(batch))
    flat = [one for _, members in layers for one in members]
    assert sorted(one.offset for one in flat) == [one.offset for one in batch]
    for stream in {(one.topic, one.key) for one in batch}:
        of_stream = [one.offset for one in flat if (one.topic, one.key) == stream]
        assert of_stream == sorted(of_stream)


@given(batches)
def test_layer_is_of_one_type_and_has_each_key_once(batch: list[Received]) -> None:
    for cls, members in in_layers(batch):
        assert {type(one.event) for one in members} == {cls}
        streams = [(one.topic, one.key) for one in members]
        assert len(streams) == len(set(streams))


@given(st.integers(1, 40))
def test_different_keys_of_one_type_are_one_layer(count: int) -> None:
    batch = [received(offset, 0, offset) for offset in range(count)]
    assert [len(members) for _, members in in_layers(batch)] == [count]
