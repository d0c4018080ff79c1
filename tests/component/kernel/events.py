"""Event types for the kernel's tests."""

from typing import ClassVar
from uuid import UUID

from shared.events.base import Event
from shared.events.topics import Topic


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
