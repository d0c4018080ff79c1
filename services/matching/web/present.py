"""A person's calls and place in line, as pages and JSON show them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.matching.actions.calls import party_of
from services.matching.domain.calls import Forecast, forecast, may_hand_back
from services.matching.store import availability, bookings, people, queue, rounds
from services.matching.store.bookings import Call
from services.matching.web.addresses import Addresses
from services.matching.web.sentences import STATES, WAITING, reasons
from shared.events.matching import Purpose
from shared.people import resolve
from shared.web.text import Message
from shared.work import Work

PURPOSE: Purpose = "one_on_one"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCall:
    """One call as one party sees it. `may` names what that party can do with it now."""

    call: Call
    role: str
    with_name: str
    zone: str
    state: Message
    codes: list[dict[str, Any]]
    why: list[Message]
    may: tuple[str, ...]
    links: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownQueue:
    """Where a prospect stands: `state` is that of the queue entry, or None when they never asked."""

    state: str | None
    since: datetime | None
    parked_reason: str | None
    has_hours: bool
    waits_for: Message | None
    waits_for_code: str | None
    forecast: Forecast | None
    is_prospect: bool
    is_volunteer: bool


async def zone_for(work: Work, person_id: UUID) -> str:
    """The zone that a person reads times in."""
    hours = (await availability.get_many(work.connection, [person_id])).get(person_id)
    if hours is not None:
        return hours.time_zone
    known = (await people.get_people(work.connection, [person_id])).get(person_id)
    return (known["time_zone"] if known is not None else None) or work.program.organization.time_zone


def _may(work: Work, call: Call, role: str) -> tuple[str, ...]:
    ahead, over = work.now < call.starts_at, work.now >= call.ends_at
    if call.state == "held" and work.now < call.hold_expires_at:
        return ("accept", "decline") if role == "prospect" else ("cancel",)
    if call.state == "confirmed" and ahead:
        late = role == "volunteer" and not may_hand_back(work.now, call.starts_at, work.program.one_on_one)
        return ("reschedule",) if late else ("reschedule", "cancel")
    if call.state == "confirmed" and over and role == "volunteer":
        return ("attest",)
    return ()


async def shown_calls(work: Work, calls: Sequence[Call], person_id: UUID, at: Addresses) -> list[ShownCall]:
    """These calls as that person sees them; those that are not theirs are left out."""
    zone = await zone_for(work, person_id)
    names = await people.get_people(work.connection, [p for c in calls for p in (c.prospect_id, c.volunteer_id)])
    why = await rounds.get_explanations(work.connection, [call.call_id for call in calls])
    shown = []
    for call in calls:
        role = await party_of(work, call, person_id)
        if role not in ("prospect", "volunteer"):
            continue
        other = call.volunteer_id if role == "prospect" else call.prospect_id
        codes = list(why[call.call_id][f"for_{role}"]) if call.call_id in why else []
        may = _may(work, call, role)
        links = {"page": at.call(call.call_id, role), "calendar": at.call(call.call_id, role, "/calendar.ics")}
        if "accept" in may:
            links["offer"] = at.offer(call.call_id)
        if "attest" in may:
            links["attest"] = at.attest(call.call_id)
        shown.append(
            ShownCall(
                call=call,
                role=role,
                with_name=names[other]["first_name"],
                zone=zone,
                state=STATES[call.state],
                codes=codes,
                why=reasons(codes, work.program),
                may=may,
                links=links,
            )
        )
    return shown


async def shown_queue(work: Work, person_id: UUID) -> ShownQueue:
    """A person's place in line, with a forecast: a silent wait reads as a rejection."""
    current = (await resolve(work.connection, [person_id]))[person_id]
    known = (await people.get_people(work.connection, [current])).get(current)
    roles = known["roles"] if known is not None and known["confirmed_at"] is not None else []
    hours = (await availability.get_many(work.connection, [current])).get(current)
    has_hours = hours is not None and bool(hours.windows)
    entry = await queue.get_entry(work.connection, current, PURPOSE)
    ahead = waits_for = code = None
    if entry is not None and entry["state"] == "waiting":
        effective = entry["since"] - timedelta(hours=entry["credit_hours"])
        rules = work.program.one_on_one
        supply = await queue.calls_a_week(work.connection, rules.weekly_cap_default, rules.call_minutes)
        ahead = forecast(await queue.count_ahead(work.connection, entry, effective), supply)
        code = (entry["unmatched"] or {}).get("person", {}).get("code")
        code = "add_hours" if not has_hours else code
        waits_for = WAITING.get(code) if code else None
    return ShownQueue(
        state=entry["state"] if entry is not None else None,
        since=entry["since"] if entry is not None else None,
        parked_reason=entry["parked_reason"] if entry is not None else None,
        has_hours=has_hours,
        waits_for=waits_for,
        waits_for_code=code,
        forecast=ahead,
        is_prospect="prospect" in roles,
        is_volunteer="volunteer" in roles,
    )


async def calls_of(work: Work, person_id: UUID, at: Addresses) -> list[ShownCall]:
    """All of a person's calls, latest first."""
    current = (await resolve(work.connection, [person_id]))[person_id]
    return await shown_calls(work, await bookings.find_of_person(work.connection, current), current, at)
