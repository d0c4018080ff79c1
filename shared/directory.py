"""Who people are: the contract between signup, which owns persons, and the services that need to know of them.

Asked by reference, in batches, at the moment of need; never on a topic. Each access leaves an audit row.
"""

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

MAX_PEOPLE = 200


class ContactsRequest(BaseModel):
    """`POST signup/internal/contacts` (scope `contacts`): how to reach these people."""

    model_config = ConfigDict(frozen=True)

    person_ids: tuple[UUID, ...] = Field(max_length=MAX_PEOPLE)


class Contact(BaseModel):
    """One person's contact. `person_id` is the id asked for; `current_id` what it resolves to after merges.

    `consents` maps a channel to whether it is granted. An unknown or erased person has no entry in the answer.
    """

    model_config = ConfigDict(frozen=True)

    person_id: UUID
    current_id: UUID
    name: str
    email: str | None
    phone: str | None
    language: str
    time_zone: str | None
    state: str | None
    confirmed: bool
    consents: dict[str, bool]
    legal_body: str


class Contacts(BaseModel):
    """The answer, for those that exist."""

    model_config = ConfigDict(frozen=True)

    contacts: tuple[Contact, ...]


class ProfilesRequest(BaseModel):
    """`POST signup/internal/profiles` (scope `profiles`): what the solver and eligibility need to know."""

    model_config = ConfigDict(frozen=True)

    person_ids: tuple[UUID, ...] = Field(max_length=MAX_PEOPLE)


class AvailabilityWindow(BaseModel):
    """Weekly local wall clock: `dow` 0 is Monday, `start` and `end` are `HH:MM`, end after start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dow: int = Field(ge=0, le=6)
    start: str = Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    end: str = Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")


class Profile(BaseModel):
    """One person's profile for matching and eligibility; `name` is the first name for the other party."""

    model_config = ConfigDict(frozen=True)

    person_id: UUID
    current_id: UUID
    name: str
    roles: tuple[str, ...]
    state: str | None
    zip: str | None
    birth_year: int | None
    office: str | None
    tracks: tuple[str, ...]
    language: str
    spoken_languages: tuple[str, ...]
    time_zone: str | None
    availability: tuple[AvailabilityWindow, ...]
    signed_up_at: AwareDatetime
    confirmed_at: AwareDatetime | None
    answers: dict[str, Any]


class Profiles(BaseModel):
    """The answer, for those that exist."""

    model_config = ConfigDict(frozen=True)

    profiles: tuple[Profile, ...]
