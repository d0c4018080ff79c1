"""Events of the notifications service, owner of messages and suppressions."""

from typing import ClassVar, Literal
from uuid import UUID

from shared.events.base import Code, Event
from shared.events.signup import Channel
from shared.events.topics import NOTIFICATIONS_MESSAGES, Topic


class MessageSent(Event):
    """A provider accepted a message for one person. Emitted by notifications.

    No service reads it; it is for the record.
    """

    type: ClassVar[str] = "notifications.message_sent.v1"
    topic: ClassVar[Topic] = NOTIFICATIONS_MESSAGES

    person_id: UUID
    message_id: UUID
    template: Code
    channel: Channel


class MessageFailed(Event):
    """A message will not be sent: refused by the provider, out of tries, or no longer applicable.

    Emitted by notifications. No service reads it; it is for the record.
    """

    type: ClassVar[str] = "notifications.message_failed.v1"
    topic: ClassVar[Topic] = NOTIFICATIONS_MESSAGES

    person_id: UUID
    message_id: UUID
    template: Code
    channel: Channel
    reason: Code


class ContactSuppressed(Event):
    """A person stopped a channel, or an address bounced; it is already applied where messages are sent.

    Emitted by notifications; read by signup (withdraws the consent).
    """

    type: ClassVar[str] = "notifications.contact_suppressed.v1"
    topic: ClassVar[Topic] = NOTIFICATIONS_MESSAGES

    person_id: UUID
    channel: Channel
    reason: Literal["unsubscribed", "stop", "bounce", "complaint", "preference"]


class ContactRestored(Event):
    """A person took a stop back (START, or the preference page). Read by signup (grants again what the stop took)."""

    type: ClassVar[str] = "notifications.contact_restored.v1"
    topic: ClassVar[Topic] = NOTIFICATIONS_MESSAGES

    person_id: UUID
    channel: Channel
    reason: Literal["start", "preference"]
