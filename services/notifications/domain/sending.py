"""The rules at the moment of sending: may this message go to this person now, and what follows from an answer.

No I/O. Times are aware; `now` is business time.
"""

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shared.directory import Contact
from shared.program import Texting

Delivery = Literal["link", "transactional", "bulk"]
Channel = Literal["email", "sms"]
Scope = Literal["bulk", "all", "address"]
Outcome = Literal["accepted", "temporary", "rejected", "unknown"]

MAX_TRIES = 48
RETRY_SECONDS = 300
RESEND_AFTER = dt.timedelta(minutes=15)
LOOK_UP_AFTER = dt.timedelta(minutes=5)
LOOK_BACK = 10
DEMOTE_MIN = 5
DEMOTE_SHARE = 0.5
SLOW_SHARE = 0.5
PAUSE_MIN_SENT = 100
PAUSE_BOUNCES = 0.04
PAUSE_COMPLAINTS = 0.0008


@dataclass(frozen=True, slots=True)
class Drop:
    """It will not be sent; `reason` is a code."""

    reason: str


@dataclass(frozen=True, slots=True)
class Defer:
    """Not now; at `until` it is looked at again."""

    until: dt.datetime


Verdict: TypeAlias = Drop | Defer | None
"""None: hand it over."""


def suppresses(scope: str, delivery: str) -> bool:
    """Whether a suppression of that scope stops a message of that class."""
    if scope == "address":
        return True
    return delivery == "bulk" if scope == "bulk" else delivery != "link"


def may_send(
    *,
    channel: Channel,
    delivery: Delivery,
    contact: Contact,
    scopes: Collection[str],
    withdrawn: bool,
    expires_at: dt.datetime | None,
    texting: Texting,
    now: dt.datetime,
) -> Verdict:
    """The check at hand-off.

    `scopes` are the suppressions that hold for the person or the contact on this channel. `withdrawn` tells that
    the local record says consent was withdrawn; it can only add to what the contact's consents say, never lift it.
    """
    if expires_at is not None and now >= expires_at:
        return Drop("expired")
    if (contact.email if channel == "email" else contact.phone) is None:
        return Drop("no_contact")
    if any(suppresses(scope, delivery) for scope in scopes):
        return Drop("suppressed")
    if not contact.confirmed and delivery != "link":
        return Drop("unconfirmed")
    needs_consent = channel == "sms" or delivery == "bulk"
    if needs_consent and (withdrawn or not contact.consents.get(channel, False)):
        return Drop("no_consent")
    if channel == "sms" and (opens := texting_opens(contact.time_zone, texting, now)) > now:
        if expires_at is not None and opens >= expires_at:
            return Drop("expired")
        return Defer(opens)
    return None


def texting_opens(zone: str | None, texting: Texting, now: dt.datetime) -> dt.datetime:
    """`now` while texts may arrive there, else when they next may (UTC)."""
    try:
        local_zone, start, end = ZoneInfo(zone or ""), texting.from_hour, texting.until_hour
    except (ValueError, ZoneInfoNotFoundError):
        local_zone = ZoneInfo(texting.unknown_zone)
        start, end = texting.unknown_zone_from_hour, texting.unknown_zone_until_hour
    local = now.astimezone(local_zone)
    if start <= local.hour < end:
        return now
    day = local.date() if local.hour < start else local.date() + dt.timedelta(days=1)
    return dt.datetime.combine(day, dt.time(start), local_zone).astimezone(dt.UTC)


@dataclass(frozen=True, slots=True)
class Next:
    """Where a message goes from an outcome: the state, why, and when it is due again (None: not by itself)."""

    state: Literal["accepted", "queued", "rejected", "unknown"]
    reason: str | None
    due_at: dt.datetime | None


def after(
    outcome: Outcome, reason: str | None, *, channel: Channel, delivery: Delivery, tries: int, hands: int,
    now: dt.datetime, retry_after_seconds: int | None = None, can_look_up: bool = False,
) -> Next:  # fmt: skip
    """What follows from an answer. `tries` and `hands` count this one: attempts in all, and hand-overs whose body
    may have been taken.
    """
    if outcome == "accepted":
        return Next("accepted", None, None)
    if outcome == "rejected":
        return Next("rejected", reason, None)
    if outcome == "temporary":
        if tries > MAX_TRIES:
            return Next("rejected", "out_of_tries", None)
        usual = 0 if tries == 1 else RETRY_SECONDS
        wait = retry_after_seconds if retry_after_seconds is not None else usual
        return Next("queued", reason, now + dt.timedelta(seconds=wait))
    return Next("unknown", reason, when_unknown_is_due(channel, delivery, hands, now, can_look_up=can_look_up))


def when_unknown_is_due(
    channel: str, delivery: str, hands: int, now: dt.datetime, *, can_look_up: bool
) -> dt.datetime | None:
    """When an unknown message is acted on: sent once more, or (a text) looked up. None: an operator decides."""
    if channel == "sms":
        return now + LOOK_UP_AFTER if can_look_up else None
    if delivery == "bulk" or hands > 1:
        return None
    return now if delivery == "link" else now + RESEND_AFTER


def is_demoted(failed: Collection[bool]) -> bool:
    """Whether a provider is demoted, by whether its last hand-overs (at most `LOOK_BACK`) failed or were slow."""
    return len(failed) >= DEMOTE_MIN and sum(failed) >= DEMOTE_SHARE * len(failed)


def is_slow(seconds: float, timeout_seconds: float) -> bool:
    """Whether a hand-over took so long that it counts as failed."""
    return seconds > SLOW_SHARE * timeout_seconds


def bulk_is_paused(sent: int, bounced: int, complained: int) -> bool:
    """Whether bulk mail stops by itself: too many of the recent ones bounced, or were called spam."""
    if sent < PAUSE_MIN_SENT:
        return False
    return bounced / sent >= PAUSE_BOUNCES or complained / sent >= PAUSE_COMPLAINTS
