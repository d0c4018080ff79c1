"""Rules of one call: how long an offer stands, what may still be done, what comes after, how long the wait is."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Literal

from shared.program.pipeline import OneOnOne
from shared.web.text import Message, _

State = Literal["held", "confirmed", "completed", "missed", "declined", "expired", "cancelled"]
Answer = Literal["another_time", "another_person", "not_now"]

NO_SHOW_CREDIT_HOURS = 7 * 24
"""Added to the wait of a prospect whose volunteer did not come."""
HANDED_BACK_CREDIT_HOURS = 3 * 24
"""Added to the wait of a prospect whose volunteer, or the staff, took the call off the calendar."""
SILENCES = 2
"""Offers without an answer after which a prospect is asked no more until they come back."""
NO_SHOWS = 2
RESCHEDULE_LEAD = timedelta(hours=2)
SLOTS_SHOWN = 12
ATTEST_AGAIN = (timedelta(hours=24), timedelta(hours=72))
"""After the end of a call: the second and the third time the volunteer is asked."""

FOLLOW_UPS: dict[str, Message] = {
    "training": _("Training on campaigning"),
    "send_filing_guide": _("The guide to getting on the ballot"),
    "second_call": _("A second call"),
    "mentor": _("A mentor"),
    "introduce_alum": _("Meeting somebody who has held that office"),
    "safety_pack": _("The guide to staying safe as a candidate"),
    "check_in": _("That we check in again"),
}
"""What volunteer and prospect can agree on; the codes travel on `CallCompleted`."""


def first_start(now: datetime, rules: OneOnOne) -> datetime:
    """The earliest start that may be offered: a hold fits before it, with an hour to spare; on the grid of calls."""
    return on_grid(now + timedelta(hours=rules.near_hold_hours + 1), rules.call_minutes)


def on_grid(moment: datetime, minutes: int) -> datetime:
    """The next multiple of so many minutes, counted in UTC."""
    seconds = minutes * 60
    return datetime.fromtimestamp(ceil(moment.timestamp() / seconds) * seconds, UTC)


def hold_until(now: datetime, starts_at: datetime, rules: OneOnOne) -> datetime:
    """When an offer made now lapses; always before its call."""
    near = starts_at - now <= timedelta(hours=rules.near_within_hours)
    hours = rules.near_hold_hours if near else rules.hold_hours
    return min(now + timedelta(hours=hours), starts_at - timedelta(minutes=30))


def may_hand_back(now: datetime, starts_at: datetime, rules: OneOnOne) -> bool:
    """Whether a volunteer may still take a booked call off the calendar without the staff."""
    return now <= starts_at - timedelta(hours=rules.decline_window_hours)


def attest_at(ends_at: datetime, attempt: int, rules: OneOnOne) -> datetime:
    """When the volunteer is asked for the `attempt`th time (from 1) how the call went."""
    first = timedelta(minutes=rules.attest_after_minutes)
    return ends_at + (first if attempt == 1 else ATTEST_AGAIN[attempt - 2])


def open_slots(
    ours: Collection[tuple[datetime, datetime]],
    theirs: Collection[tuple[datetime, datetime]],
    taken: Iterable[tuple[datetime, datetime]],
    earliest: datetime,
) -> list[tuple[datetime, datetime]]:
    """Slots that both offer, from `earliest` on, that overlap nothing taken; in order."""
    busy = list(taken)
    shared = sorted(set(ours) & set(theirs))
    return [
        (start, end)
        for start, end in shared
        if start >= earliest and not any(start < busy_end and busy_start < end for busy_start, busy_end in busy)
    ]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What to tell somebody who waits: their place, and about how many weeks; None when no hours are offered."""

    place: int
    weeks: int | None


def forecast(ahead: int, calls_a_week: int) -> Forecast:
    """With `ahead` people before them, and so many calls that volunteers offer each week."""
    return Forecast(ahead + 1, ceil((ahead + 1) / calls_a_week) if calls_a_week > 0 else None)
