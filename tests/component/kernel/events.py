"""An event type for the kernel's tests."""

from typing import ClassVar
from uuid import UUID

from shared.events.base import Event
from shared.events.topics import Topic


class Noted(Event):
    """Something was noted about a person; `poison` makes a handler fail."""

    type: ClassVar[str] = "test.noted.v1"
    topic: ClassVar[Topic] = Topic("test.notes", key="person_id")

    person_id: UUID
    number: int
    poison: bool = False
