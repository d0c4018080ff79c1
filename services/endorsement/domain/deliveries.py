"""When a webhook is tried again, and when it is given up."""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

RETRY_DELAYS = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
"""The wait after each failed try; after one more the delivery is dead. Source: Standard Webhooks' schedule."""

LONGEST_WAIT = timedelta(hours=24)


def next_attempt(failures: int, now: datetime, retry_after: timedelta | None = None) -> datetime | None:
    """When to try again after so many failures; None when the tries are used up.

    A receiver's Retry-After lengthens the wait, up to a day, and never shortens it.
    """
    if failures > len(RETRY_DELAYS):
        return None
    wait = RETRY_DELAYS[failures - 1]
    if retry_after is not None:
        wait = max(wait, min(retry_after, LONGEST_WAIT))
    return now + wait


def read_retry_after(header: str | None, now: datetime) -> timedelta | None:
    """Seconds or an HTTP date, as RFC 9110 has it; None for anything else, whatever it is. `now` is wall-clock time."""
    if header is None:
        return None
    text = header.strip()
    # Python reads no number of thousands of digits, and no date whose year or zone is past all bounds.
    try:
        if text.isascii() and text.isdigit():
            return timedelta(seconds=min(int(text), int(LONGEST_WAIT.total_seconds())))
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        return None
    return max(moment - now, timedelta(0))
