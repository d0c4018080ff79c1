"""Stating weekly hours, days away, cap and pauses."""

from collections.abc import Sequence
from datetime import date, time, timedelta
from uuid import UUID

from services.matching.domain.availability import Window
from services.matching.store import availability, people, queue
from services.matching.store.availability import Availability
from shared.errors import NotFound, Rejected
from shared.people import resolve
from shared.web.text import Message, _
from shared.work import Work

WINDOWS_A_DAY = 2
AWAY_DAYS = 366
MAX_AWAY = 100
MIDNIGHT = time(0)


async def state_hours(
    work: Work,
    person_id: UUID,
    *,
    time_zone: str,
    windows: Sequence[Window],
    away: Sequence[date],
    weekly_cap: int | None,
    paused: bool,
) -> Availability:
    """Replace a person's hours. Booked calls stand; the next round of matching reads the new hours.

    Raises NotFound for somebody this service does not know, Rejected with what to mend.
    """
    current = (await resolve(work.connection, [person_id]))[person_id]
    known = (await people.get_people(work.connection, [current])).get(current)
    if known is None:
        raise NotFound
    policy = work.program.one_on_one
    _check(work, windows, away, weekly_cap)
    stated = Availability(
        person_id=current,
        time_zone=time_zone,
        windows=tuple(windows),
        away=tuple(sorted(set(away))),
        weekly_cap=weekly_cap,
        paused=paused,
    )
    await availability.upsert(work.connection, stated, work.now)
    cap = policy.weekly_cap_default if weekly_cap is None else weekly_cap
    await availability.set_week_caps(work.connection, current, cap)
    await queue.mark_new(work.connection, current, work.now)
    return stated


def _check(work: Work, windows: Sequence[Window], away: Sequence[date], weekly_cap: int | None) -> None:
    policy = work.program.one_on_one
    for window in windows:
        if window.minutes < policy.call_minutes:
            short = _(
                "Each time must be at least %(minutes)d minutes long; make it longer.", minutes=policy.call_minutes
            )
            raise _wrong("windows", short)
    for day in range(7):
        of_day = sorted((w for w in windows if w.dow == day), key=lambda w: w.start)
        if len(of_day) > WINDOWS_A_DAY:
            raise _wrong("windows", _("State at most two times a day; join those that touch."))
        if len(of_day) == WINDOWS_A_DAY and (of_day[0].end == MIDNIGHT or of_day[0].end > of_day[1].start):
            raise _wrong("windows", _("Two times of one day overlap; change one, or make them one time."))
    today = work.now.date()
    if len(away) > MAX_AWAY or any(not today - timedelta(days=1) <= day <= today + timedelta(days=AWAY_DAYS)
                                   for day in away):  # fmt: skip
        raise _wrong("away", _("Days away must lie between today and a year from now, at most 100 of them."))
    if weekly_cap is not None and not 0 <= weekly_cap <= policy.weekly_cap_max:
        raise _wrong("weekly_cap", _("Calls a week must be a number from 0 to %(most)d.", most=policy.weekly_cap_max))


def _wrong(field: str, sentence: Message) -> Rejected:
    return Rejected("hours_invalid", sentence, status=422, fields={field: sentence})


async def get_hours(work: Work, person_id: UUID) -> Availability | None:
    """What a person stated, if anything."""
    current = (await resolve(work.connection, [person_id]))[person_id]
    return (await availability.get_many(work.connection, [current])).get(current)
