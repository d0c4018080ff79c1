"""What the organization sends, when texts may arrive, and how long data is kept."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, model_validator

from shared.program.intake import Channel
from shared.program.vocabulary import Localized, Misfit, Section, Zone

MessageKind = Literal[
    "welcome_confirm",
    "already_known",
    "sign_in",
    "confirmed_welcome",
    "intro_invitation",
    "intro_confirmed",
    "intro_waiting",
    "intro_promoted",
    "intro_reminder",
    "intro_missed",
    "intro_cancelled",
    "availability_request",
    "match_offer",
    "match_expired",
    "call_booked",
    "call_booked_volunteer",
    "call_reminder",
    "call_cancelled",
    "call_rescheduled",
    "attest_request",
    "call_completed_followup",
    "call_missed",
    "filing_confirmed",
    "filing_returned",
    "application_received",
    "eligibility_result",
    "decision_endorsed",
    "decision_declined",
    "endorsement_announced",
    "endorsement_rescinded",
]
MESSAGE_KINDS: tuple[str, ...] = get_args(MessageKind)

LINKS = ("welcome_confirm", "already_known", "sign_in")
"""Messages that carry a one-time link. No program works without them."""


class Message(Section):
    """A kind of message that this program sends. Kinds that are not listed are not sent."""

    kind: MessageKind
    """Which one. `welcome_confirm`, `already_known` and `sign_in` must be there."""
    delivery: Literal["link", "transactional", "bulk"] = Field(alias="class")
    """What happens when a hand-over ends unknown: `link` is sent once more, `transactional` once more after
    a wait, `bulk` and every text message never."""
    channels: tuple[Channel, ...] = Field(min_length=1)
    """Where it goes; a text only with consent, and beside the e-mail."""
    delay_minutes: int = Field(default=0, ge=0, le=525_600)
    """Time between the event and the message."""

    @model_validator(mode="after")
    def _class_fits(self) -> Message:
        if (self.kind in LINKS) != (self.delivery == "link"):
            remedy = 'use "link"' if self.kind in LINKS else 'use "transactional" or "bulk"'
            raise Misfit(f'is "{self.delivery}" for {self.kind}; {remedy}', ("class",))
        if self.kind in LINKS and self.channels != ("email",):
            raise Misfit(f'of {self.kind} must be ["email"]; links prove an e-mail address', ("channels",))
        if len(set(self.channels)) != len(self.channels):
            raise Misfit("names a channel twice; name each once", ("channels",))
        return self


class Texting(Section):
    """Text messages: hours in which they may arrive, local time of the recipient."""

    frequency: Localized
    """How many texts to expect, as told before consent and in the first text."""
    from_hour: int = Field(ge=8, le=20)
    """Not before this hour."""
    until_hour: int = Field(ge=9, le=21)
    """Not from this hour on."""
    unknown_zone: Zone
    """Zone assumed for people whose zone is unknown."""
    unknown_zone_from_hour: int = Field(ge=12, le=20)
    """Not before this hour there; noon in New York is nine in California."""
    unknown_zone_until_hour: int = Field(ge=13, le=21)
    """Not from this hour on."""

    @model_validator(mode="after")
    def _ordered(self) -> Texting:
        if self.until_hour <= self.from_hour:
            raise Misfit(f"is not after from_hour ({self.from_hour}); raise it", ("until_hour",))
        if self.unknown_zone_until_hour <= self.unknown_zone_from_hour:
            raise Misfit(
                f"is not after unknown_zone_from_hour ({self.unknown_zone_from_hour}); raise it",
                ("unknown_zone_until_hour",),
            )
        return self


class Privacy(Section):
    """How long data is kept."""

    topic_retention_days: int = Field(ge=1, le=28)
    """Events on Kafka; short enough that an erasure is complete within 30 days."""
    message_body_days: int = Field(ge=1, le=28)
    """Texts of messages that were sent."""
    unconfirmed_days: int = Field(ge=1, le=90)
    """Sign-ups whose address was never confirmed."""
    inactive_months: int = Field(ge=12, le=120)
    """People who have not been heard of, after notice."""
