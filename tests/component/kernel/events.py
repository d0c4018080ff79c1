"""Event types for the kernel's tests, and their records."""

import datetime as dt
from collections.abc import Sequence
from typing import ClassVar
from uuid import UUID

from shared.events.base import Event
from shared.events.envelope import headers_of, new_id, payload_of
from shared.events.topics import Topic
from shared.inbox import Record

NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


class Noted(Event):
    """Something was noted about a person; `poison` makes a handler fail, `padding` makes the record large."""

    type: ClassVar[str] = "test.noted.v1"
    topic: ClassVar[Topic] = Topic("test.notes", key="person_id")

    person_id: UUID
    number: int
    poison: bool = False
    padding: str = ""


class Counted(Event):
    """The state of a count, on a compacted topic: the last record of a key is what holds."""

    type: ClassVar[str] = "test.counted.v1"
    topic: ClassVar[Topic] = Topic("test.counts", key="count_id", compacted=True)

    count_id: UUID
    number: int


def record(
    event: Event,
    offset: int,
    *,
    event_id: UUID | None = None,
    time: dt.datetime = NOON,
    extra: Sequence[tuple[str, bytes | None]] = (),
) -> Record:
    """A record of partition 0, as a relay of ours would have sent it."""
    headers: list[tuple[str, bytes | None]] = [
        (name, value.encode())
        for name, value in headers_of(
            event, event_id=event_id or new_id(), source="test", time=time, sequence=offset + 1, correlation_id=None
        )
    ]
    return Record(event.topic.name, 0, offset, event.key.encode(), [*headers, *extra], payload_of(event))
