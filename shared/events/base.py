"""What every event is: a frozen model that knows its type and its topic."""

import builtins
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, StringConstraints

from shared.events.topics import Topic

Code = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.\-]{0,63}$")]
"""A snake-case identifier out of the program file or a closed list: never free text."""

Moment = AwareDatetime
"""An aware time; written in UTC."""


PARTIES = ("person_id", "prospect_id", "volunteer_id", "reviewer_id")
"""Fields that name a person."""


class Event(BaseModel):
    """Something that happened. Ids, states and coarse facts; no name, contact or free text on internal topics.

    Unknown fields are ignored, so that a reader of today accepts what a later writer adds. The event's own id,
    time, sequence and correlation travel in the envelope (`shared.events.envelope`).
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: ClassVar[str]
    topic: ClassVar[Topic]
    personal_data: ClassVar[str] = "person ids"
    registry: ClassVar[dict[str, builtins.type["Event"]]] = {}
    person_fields: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if "type" not in cls.__dict__:
            return
        if cls.type in Event.registry:
            raise TypeError(f"Event type {cls.type} is declared twice; give {cls.__name__} a type of its own.")
        if cls.topic.key not in cls.model_fields:
            raise TypeError(f"{cls.__name__} lacks {cls.topic.key}, the key of its topic {cls.topic.name}.")
        Event.registry[cls.type] = cls
        # Found once for each class: asking each event for fields that it lacks costs more than reading the event.
        cls.person_fields = tuple(name for name in PARTIES if name in cls.model_fields)

    @property
    def key(self) -> str:
        """The aggregate's id: key of the record, and what orders it."""
        return str(getattr(self, self.topic.key))

    @property
    def person_ids(self) -> tuple[UUID, ...]:
        """Every person the event speaks of, by the fields whose names end in `person_id` or name a party."""
        values = self.__dict__
        return tuple([value for name in self.person_fields if isinstance(value := values[name], UUID)])


__all__ = ["Code", "Event", "Moment"]
