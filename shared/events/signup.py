"""Events of the signup service, owner of persons, roles, accounts and consent grants."""

from typing import ClassVar, Literal
from uuid import UUID

from shared.events.base import Code, Event, Moment
from shared.events.topics import SIGNUP_PEOPLE, Topic

Role = Literal["prospect", "volunteer", "mentor", "campaign_staff"]
AccountRole = Literal["staff", "reviewer", "admin"]
Channel = Literal["email", "sms"]


class SignedUp(Event):
    """A form was accepted and is durable. Nothing about a known person changes until the mailed link is used.

    Emitted by signup; read by notifications (the confirmation mail). `known` tells that the address belonged to
    a confirmed person already; it never leaves the organization.
    """

    type: ClassVar[str] = "signup.signed_up.v1"
    topic: ClassVar[Topic] = SIGNUP_PEOPLE

    person_id: UUID
    signup_id: UUID
    intent_id: UUID
    form: Code
    role: Role
    known: bool
    legal_body: Code
    program_version: str
    language: Code
    state: str | None = None
    office: Code | None = None
    office_level: Code | None = None
    tracks: tuple[Code, ...] = ()
    time_zone: str | None = None


class PersonConfirmed(Event):
    """The first mailed link of a person was used: the address is theirs, and what they signed up for holds.

    Emitted by signup once per person; read by matching (queues) and notifications (the welcome).
    """

    type: ClassVar[str] = "signup.person_confirmed.v1"
    topic: ClassVar[Topic] = SIGNUP_PEOPLE

    person_id: UUID
    signup_id: UUID
    roles: tuple[Role, ...]
    language: Code
    state: str | None = None
    office: Code | None = None
    tracks: tuple[Code, ...] = ()
    time_zone: str | None = None


class RoleAdded(Event):
    """A confirmed person holds one more role. Emitted by signup at confirmation; read by matching."""

    type: ClassVar[str] = "signup.role_added.v1"
    topic: ClassVar[Topic] = SIGNUP_PEOPLE

    person_id: UUID
    role: Role
    signup_id: UUID | None = None


class ProfileChanged(Event):
    """Facts that others fetch by reference are stale. Emitted by signup; read by matching."""

    type: ClassVar[str] = "signup.profile_changed.v1"
    topic: ClassVar[Topic] = SIGNUP_PEOPLE

    person_id: UUID
    changed: tuple[Code, ...]


class ConsentChanged(Event):
    """A person granted or withdrew consent for one channel. Emitted by signup; read by notifications.

    A grant with the reason `preference` was said on the person's own page, and lifts what they had stopped before. One
    with `start` or `restored` follows from a stop that was taken back, and lifts nothing.
    """

    type: ClassVar[str] = "signup.consent_changed.v1"
    topic: ClassVar[Topic] = SIGNUP_PEOPLE

    person_id: UUID
    channel: Channel
    granted: bool
    wording_version: str
    legal_body: Code
    reason: Code


class SignInRequested(Event):
    """Somebody asked for a sign-in link to an address that we know. Emitted by signup; read by notifications.

    `link_id` names the link; its token is fetched at the moment of sending and is on no topic.
    """

    type: ClassVar[str] = "signup.sign_in_requested.v1"
    topic: ClassVar[Topic] = SIGNUP_PEOPLE

    person_id: UUID
    link_id: UUID
    expires_at: Moment


class AccountChanged(Event):
    """An account of the organization was opened, given other roles, or closed (no roles).

    Emitted by signup; read by endorsement (who may review, who is an outsider).
    """

    type: ClassVar[str] = "signup.account_changed.v1"
    topic: ClassVar[Topic] = SIGNUP_PEOPLE

    person_id: UUID
    account_id: UUID
    roles: tuple[AccountRole, ...]
    outside: bool
