"""L6: time is given once: one active match per prospect and purpose, no overlap, within hours and caps."""

import datetime as dt
from collections import defaultdict
from zoneinfo import ZoneInfo

from cli.ledger.evidence import Evidence, iso
from cli.ledger.report import Check

DAY = 86_400

# Under whatever id a person went by when the booking was made.
TWO_ACTIVE = """
    SELECT group_concat(call_id, ', '), coalesce(a.person_id, b.prospect_id), purpose, count(*)
    FROM matching_bookings AS b LEFT JOIN aliases AS a ON a.service = 'matching' AND a.alias_id = b.prospect_id
    WHERE state IN ('held', 'confirmed') GROUP BY coalesce(a.person_id, b.prospect_id), purpose HAVING count(*) > 1
"""
# Calls that take or took time, of each party.
TIMES = """
    SELECT person_id, starts, ends, call_id FROM (
        SELECT prospect_id AS person_id, starts, ends, call_id, state FROM matching_bookings
        UNION ALL SELECT volunteer_id, starts, ends, call_id, state FROM matching_bookings)
    WHERE state IN ('held', 'confirmed', 'completed', 'missed') ORDER BY person_id, starts, ends
"""
OVER_CAP = "SELECT volunteer_id, week, used, cap FROM matching_weeks WHERE used > cap OR used < 0"
# A call that came to nothing gives its place back.
MISCOUNTED = """
    SELECT coalesce(w.volunteer_id, b.volunteer_id), coalesce(w.week, b.week), coalesce(w.used, 0), coalesce(b.calls, 0)
    FROM matching_weeks AS w
    FULL JOIN (SELECT volunteer_id, week, count(*) AS calls FROM matching_bookings
               WHERE state IN ('held', 'confirmed', 'completed', 'missed') GROUP BY volunteer_id, week) AS b
         ON b.volunteer_id = w.volunteer_id AND b.week = w.week
    WHERE coalesce(w.used, 0) <> coalesce(b.calls, 0)
"""
SHAPE = "SELECT call_id FROM matching_bookings WHERE prospect_id = volunteer_id OR ends <= starts"
# `changed`: the hours are no longer those that held when the call was offered; out of them is then no proof.
OFFERED = """
    SELECT b.call_id, b.volunteer_id, b.starts, b.ends, a.time_zone, b.week, a.updated_at >= b.offered_at AS changed
    FROM matching_bookings AS b JOIN matching_availability AS a ON a.person_id = b.volunteer_id
"""
SEATS = """
    SELECT c.intro_call_id, c.going, c.capacity, coalesce(s.taken, 0) FROM matching_intro_calls AS c
    LEFT JOIN (SELECT intro_call_id, count(*) AS taken FROM matching_seats WHERE state = 'going'
               GROUP BY intro_call_id) AS s ON s.intro_call_id = c.intro_call_id
"""
SEAT_TWICE = """
    SELECT person_id, intro_call_id, count(*) FROM matching_seats GROUP BY person_id, intro_call_id HAVING count(*) > 1
"""


def bookings(evidence: Evidence, check: Check) -> None:
    """L6."""
    check.count(evidence.count("SELECT count(*) FROM matching_bookings"), "bookings")
    check.each(evidence.rows(SHAPE), "the booking is with the same person, or of no length")
    check.each(evidence.rows(TWO_ACTIVE), "{1} has {3} active matches for {2}")
    _overlaps(evidence, check)
    check.count(evidence.count("SELECT count(*) FROM matching_weeks"), "volunteers' weeks")
    check.each(evidence.rows(OVER_CAP), "{2} calls in {1}, where at most {3} are allowed")
    check.each(evidence.rows(MISCOUNTED), "{2} calls are counted in {1}, and {3} are booked")
    _hours(evidence, check)
    calls = 0
    for call_id, going, capacity, taken in evidence.rows(SEATS):
        calls += 1
        if taken > capacity or going != taken:
            check.found(call_id, f"{taken} go to the call, {going} are counted, and it has {capacity} seats")
    check.count(calls, "intro calls")
    check.each(evidence.rows(SEAT_TWICE), "{2} rows for one person in intro call {1}")


def _overlaps(evidence: Evidence, check: Check) -> None:
    before: tuple[str, float, str] | None = None
    for person_id, starts, ends, call_id in evidence.rows(TIMES):
        if before is not None and before[0] == person_id and starts < before[1]:
            check.found(call_id, f"overlaps call {before[2]} of {person_id} at {iso(starts)}")
        if before is None or before[0] != person_id or ends > before[1]:
            before = (person_id, ends, call_id)


def _hours(evidence: Evidence, check: Check) -> None:
    windows: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for person_id, dow, starts, ends in evidence.rows("SELECT person_id, dow, starts, ends FROM matching_windows"):
        windows[person_id].append((dow, starts, ends))
    away = set(evidence.rows("SELECT person_id, away_on FROM matching_away"))
    judged = unjudged = 0
    for call_id, volunteer_id, starts, ends, zone, week, changed in evidence.rows(OFFERED):
        begin = dt.datetime.fromtimestamp(starts, ZoneInfo(zone))
        end = dt.datetime.fromtimestamp(ends, ZoneInfo(zone))
        year, number, _ = begin.isocalendar()
        faults = []
        if not _within(begin, end, windows[volunteer_id]):
            faults.append(f"{begin:%A %H:%M} to {end:%H:%M} is outside of the volunteer's hours")
        if (volunteer_id, begin.date().isoformat()) in away:
            faults.append(f"the volunteer is away on {begin.date()}")
        if week != f"{year}-W{number:02d}":
            faults.append(f"the call counts in week {week}, and is in {year}-W{number:02d}")
        if faults and changed:
            unjudged += 1
            continue
        judged += 1
        for fault in faults:
            check.found(call_id, fault)
    check.count(judged, "of them by hours")
    if unjudged:
        check.skip(f"the hours of {unjudged:,} bookings: the volunteer has changed them since")


def _within(begin: dt.datetime, end: dt.datetime, windows: list[tuple[int, int, int]]) -> bool:
    """Whether the span lies in windows that touch each other; seconds of the local day, over midnight too."""
    first = begin.hour * 3600 + begin.minute * 60 + begin.second
    last = end.hour * 3600 + end.minute * 60 + end.second
    if end.date() != begin.date():
        last += DAY
    spans = [(s + shift, e + shift) for dow, s, e in windows for shift in (0, DAY) if _day(begin, shift) == dow]
    at = first
    for s, e in sorted(spans):
        if s <= at < e:
            at = e
    return at >= last


def _day(begin: dt.datetime, shift: int) -> int:
    return (begin.weekday() + shift // DAY) % 7
