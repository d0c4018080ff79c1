"""What the two parties do with an offer and a call. Each function locks the call first and looks at its state.

A state that does not fit is answered with a sentence and changes nothing, so a link that is used twice, late, or by
a mail scanner does no harm. Timers look again in the same way.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from services.matching.domain import availability as hours
from services.matching.domain import calls as rules
from services.matching.domain.calls import Answer
from services.matching.domain.model import cap_label
from services.matching.store import availability, bookings, queue, rounds
from services.matching.store.bookings import Call
from shared import timers
from shared.errors import NotFound, Rejected
from shared.events.envelope import new_id
from shared.events.matching import (
    AttestationDue,
    CallBooked,
    CallCancelled,
    CallCompleted,
    CallMissed,
    CallReminderDue,
    MatchDeclined,
    MatchExpired,
    Party,
)
from shared.people import resolve
from shared.timers import Timer
from shared.web.text import Message, _
from shared.work import Work

HOLD_EXPIRY, REMINDER, ATTESTATION = "hold_expiry", "call_reminder", "attestation"

_CLOSED: dict[str, Message] = {
    "confirmed": _("You have already said yes to this time. To change it, open the call and choose another time."),
    "expired": _(
        "This offer has run out, and the time went back to others. You can get back in line on your calls page."
    ),
    "declined": _("This offer was already answered. We look for another time for you."),
    "cancelled": _("This call was taken off the calendar. There is nothing left to do here."),
    "completed": _("This call is over and was recorded. There is nothing left to do here."),
    "missed": _("This call was recorded as missed. There is nothing left to do here."),
    "held": _("Nobody has confirmed this call yet. Answer the offer first."),
}


async def party_of(work: Work, call: Call, person_id: UUID) -> Party | None:
    """Which side of the call this person is; merged ids count as one."""
    current = await resolve(work.connection, [person_id, call.prospect_id, call.volunteer_id])
    if current[person_id] == current[call.prospect_id]:
        return "prospect"
    return "volunteer" if current[person_id] == current[call.volunteer_id] else None


async def locked(work: Work, call_id: UUID, state: str) -> Call:
    """The call, locked, if it is in this state. Raises NotFound or Rejected."""
    call = await bookings.lock_call(work.connection, call_id)
    if call is None:
        raise NotFound
    if call.state != state:
        raise Rejected(f"call_{call.state}", _CLOSED[call.state], status=410 if call.state == "expired" else 409)
    return call


def _parties(call: Call) -> dict[str, object]:
    return {
        "call_id": call.call_id,
        "prospect_id": call.prospect_id,
        "volunteer_id": call.volunteer_id,
        "purpose": call.purpose,
    }


async def accept(work: Work, call_id: UUID) -> Call:
    """The prospect says yes."""
    call = await locked(work, call_id, "held")
    if work.now >= call.hold_expires_at:
        raise Rejected("call_expired", _CLOSED["expired"], status=410)
    await bookings.mark_confirmed(work.connection, call_id, work.now)
    await queue.mark_state(work.connection, call.prospect_id, call.purpose, "booked")
    await timers.cancel(work, str(call_id), HOLD_EXPIRY)
    await _book(work, call, call.call_id, call.starts_at, call.ends_at, None)
    return call


async def _book(
    work: Work, call: Call, call_id: UUID, starts_at: datetime, ends_at: datetime, replaces: UUID | None
) -> None:
    """Timers and event of a call that both are expected at."""
    owner, policy = str(call_id), work.program.one_on_one
    for hour in policy.reminder_hours:
        due = starts_at - timedelta(hours=hour)
        if due > work.now:
            await timers.schedule(work, REMINDER, owner, due, part=str(hour), hours_before=hour)
    await timers.schedule(work, ATTESTATION, owner, rules.attest_at(ends_at, 1, policy), attempt=1)
    parties = {**_parties(call), "call_id": call_id}
    work.emit(CallBooked(**parties, starts_at=starts_at, ends_at=ends_at, replaces=replaces))


async def decline(work: Work, call_id: UUID, answer: Answer) -> Call:
    """The prospect lets the held hour go; what follows depends on why."""
    call = await locked(work, call_id, "held")
    await bookings.mark_closed(work.connection, call, "declined", work.now, by="prospect", reason=answer)
    await timers.cancel(work, str(call_id))
    if answer == "another_person":
        await rounds.insert_pair(work.connection, call.prospect_id, call.volunteer_id, "another_person", work.now)
    await _back_in_line(work, call, park="not_now" if answer == "not_now" else None)
    work.emit(MatchDeclined(**_parties(call), by="prospect", reason=answer))
    return call


async def _back_in_line(
    work: Work, call: Call, *, park: str | None = None, credit_hours: int = 0, no_shows: int = 0
) -> None:
    entry = await queue.lock_entry(work.connection, call.prospect_id, call.purpose)
    if entry is None:
        return
    shows = entry["no_shows"] + no_shows
    if park is not None:
        await queue.mark_parked(work.connection, entry, park, no_shows=shows)
    else:
        await queue.mark_waiting(work.connection, entry, work.now, credit_hours=credit_hours, no_shows=shows)


async def on_hold_expiry(work: Work, timer: Timer) -> None:
    """The hold ran out: the first silence puts the prospect back in line, the second parks them."""
    call = await bookings.lock_call(work.connection, UUID(timer.owner_key))
    if call is None or call.state != "held" or work.now < call.hold_expires_at:
        return
    await bookings.mark_closed(work.connection, call, "expired", work.now, reason="silence")
    entry = await queue.lock_entry(work.connection, call.prospect_id, call.purpose)
    parked = False
    if entry is not None:
        silences = entry["silences"] + 1
        parked = silences >= rules.SILENCES
        if parked:
            await queue.mark_parked(work.connection, entry, "silence", no_shows=entry["no_shows"])
        else:
            await queue.mark_waiting(work.connection, entry, work.now, silences=silences)
    work.emit(MatchExpired(**_parties(call), parked=parked))


async def cancel(work: Work, call_id: UUID, by: Party) -> Call:
    """Take an offer or a call off the calendar.

    A prospect's cancellation parks them: they come back when they ask. A volunteer hands the call back, early enough,
    or staff cancel: the prospect goes back in line with credit.
    """
    call = await bookings.lock_call(work.connection, call_id)
    if call is None:
        raise NotFound
    if call.state == "held" and by == "prospect":
        return await decline(work, call_id, "not_now")
    if call.state not in ("held", "confirmed"):
        raise Rejected(f"call_{call.state}", _CLOSED[call.state], status=410 if call.state == "expired" else 409)
    if work.now >= call.starts_at:
        raise Rejected("call_started", _("This call has begun. Afterwards the volunteer tells us how it went."))
    if (
        by == "volunteer"
        and call.state == "confirmed"
        and not rules.may_hand_back(work.now, call.starts_at, work.program.one_on_one)
    ):
        raise Rejected(
            "too_late_to_hand_back",
            _(
                "This call is less than %(hours)d hours away. Write to us, so that somebody can step in for you.",
                hours=work.program.one_on_one.decline_window_hours,
            ),
        )
    state: rules.State = "declined" if call.state == "held" else "cancelled"
    reason = "volunteer_unavailable" if call.state == "held" else None
    await bookings.mark_closed(work.connection, call, state, work.now, by=by, reason=reason)
    await timers.cancel(work, str(call_id))
    if by == "prospect":
        await _back_in_line(work, call, park="cancelled")
    else:
        await _back_in_line(work, call, credit_hours=rules.HANDED_BACK_CREDIT_HOURS)
    if call.state == "held":
        work.emit(MatchDeclined(**_parties(call), by=by, reason="volunteer_unavailable"))
    else:
        work.emit(CallCancelled(**_parties(call), by=by))
    return call


async def free_slots(work: Work, call: Call) -> list[tuple[datetime, datetime]]:
    """Times that the call could be moved to: both are free then, and the volunteer's week has room."""
    policy = work.program.one_on_one
    stated = await availability.get_many(work.connection, [call.prospect_id, call.volunteer_id])
    if len(stated) < 2:
        return []
    start = rules.on_grid(work.now, policy.call_minutes)
    end = start + timedelta(days=policy.horizon_days)
    offered = [
        hours.slots_between(
            stated[person].windows,
            hours.zone_of(stated[person].time_zone),
            start,
            end,
            policy.call_minutes,
            frozenset(stated[person].away),
        )
        for person in (call.prospect_id, call.volunteer_id)
    ]
    taken = [
        (taken_from, taken_until)
        for prospect, volunteer, taken_from, taken_until in await bookings.find_taken(work.connection, start, end)
        if {prospect, volunteer} & {call.prospect_id, call.volunteer_id}
    ]
    free = rules.open_slots(offered[0], offered[1], taken, work.now + rules.RESCHEDULE_LEAD)
    used = await bookings.get_used(work.connection, [call.volunteer_id])
    volunteer = stated[call.volunteer_id]
    cap = policy.weekly_cap_default if volunteer.weekly_cap is None else volunteer.weekly_cap
    room = 0 if volunteer.paused else cap
    zone = hours.zone_of(volunteer.time_zone)

    def fits(starts_at: datetime) -> bool:
        week = cap_label("iso_week", starts_at, zone)
        return week == call.week or used.get((call.volunteer_id, week), 0) < room

    return [slot for slot in free if fits(slot[0])]


async def reschedule(work: Work, call_id: UUID, starts_at: datetime, by: Party) -> UUID:
    """Move a booked call to another of its free slots: the new call is in, and the old one out, or nothing is."""
    call = await locked(work, call_id, "confirmed")
    if work.now >= call.starts_at:
        raise Rejected("call_started", _("This call has begun. Afterwards the volunteer tells us how it went."))
    slot = next((slot for slot in await free_slots(work, call) if slot[0] == starts_at), None)
    taken = Rejected("slot_taken", _("That time is not free any more. Choose another one."))
    if slot is None:
        raise taken
    moved_to = new_id()
    stated = (await availability.get_many(work.connection, [call.volunteer_id]))[call.volunteer_id]
    week = cap_label("iso_week", slot[0], hours.zone_of(stated.time_zone))
    default_cap = work.program.one_on_one.weekly_cap_default
    room = await bookings.lock_weeks(work.connection, [(call.volunteer_id, week)], default_cap)
    if week != call.week and room[call.volunteer_id, week] < 1:
        raise taken
    await bookings.mark_closed(
        work.connection, call, "cancelled", work.now, by=by, reason="moved", replaced_by=moved_to
    )
    program = (work.program.version, work.program.content_hash)
    if not await bookings.insert_moved(work.connection, moved_to, call, *slot, week, work.now, program):
        raise taken
    await bookings.add_used(work.connection, {(call.volunteer_id, week): 1})
    await work.connection.execute(rounds.COPY_EXPLANATION, call_id, moved_to)
    await timers.cancel(work, str(call_id))
    work.emit(CallCancelled(**_parties(call), by=by, replaced_by=moved_to))
    await _book(work, call, moved_to, *slot, call_id)
    return moved_to


async def on_reminder(work: Work, timer: Timer) -> None:
    """A booked call is near."""
    call = await bookings.lock_call(work.connection, UUID(timer.owner_key))
    if call is None or call.state != "confirmed" or work.now >= call.starts_at:
        return
    work.emit(
        CallReminderDue(
            **_parties(call),
            starts_at=call.starts_at,
            hours_before=timer.payload["hours_before"],
        )
    )


async def on_attestation(work: Work, timer: Timer) -> None:
    """The call's time is over and nobody has said how it went: ask, at most three times."""
    call = await bookings.lock_call(work.connection, UUID(timer.owner_key))
    if call is None or call.state != "confirmed":
        return
    attempt = int(timer.payload["attempt"])
    work.emit(AttestationDue(**_parties(call), attempt=attempt))
    if attempt <= len(rules.ATTEST_AGAIN):
        due = rules.attest_at(call.ends_at, attempt + 1, work.program.one_on_one)
        await timers.schedule(work, ATTESTATION, timer.owner_key, due, attempt=attempt + 1)


async def attest(
    work: Work,
    call_id: UUID,
    volunteer_id: UUID,
    *,
    outcome: str | None,
    follow_ups: Sequence[str],
    missed_by: str | None,
    notes: str,
    concern: str | None,
) -> Call:
    """The volunteer says how the call went: an `outcome`, or who missed it. Raises Rejected.

    Notes and concern stay in this database; a concern is shown to staff.
    """
    call = await locked(work, call_id, "confirmed")
    if work.now < call.ends_at:
        raise Rejected("call_not_over", _("This call is not over yet. Come back when it has ended."))
    codes = {entry.id for entry in work.program.one_on_one.outcomes}
    if (outcome is None) == (missed_by is None) or (outcome is not None and outcome not in codes):
        raise Rejected(
            "outcome_unknown",
            _("Choose how the call went."),
            status=422,
            fields={"outcome": _("Choose how the call went.")},
        )
    if unknown := [code for code in follow_ups if code not in rules.FOLLOW_UPS]:
        raise Rejected(
            "follow_up_unknown",
            _("Choose next steps from the list; there is no “%(code)s”.", code=unknown[0]),
            status=422,
            fields={"follow_ups": _("Choose next steps from the list.")},
        )
    steps = sorted(set(follow_ups)) if outcome is not None else []
    state: rules.State = "completed" if outcome is not None else "missed"
    await bookings.mark_attested(
        work.connection, call_id, state, work.now,
        missed_by=missed_by, outcome=outcome, follow_ups=steps,
    )  # fmt: skip
    await work.connection.execute(rounds.INSERT_ATTESTATION, call_id, volunteer_id, work.now, state, notes, concern)
    await timers.cancel(work, str(call_id))
    if outcome is not None:
        await queue.mark_state(work.connection, call.prospect_id, call.purpose, "done")
        work.emit(CallCompleted(**_parties(call), outcome=outcome, follow_ups=tuple(steps)))
        return call
    if missed_by == "volunteer":
        await rounds.insert_pair(work.connection, call.prospect_id, call.volunteer_id, "no_show", work.now)
        await _back_in_line(work, call, credit_hours=rules.NO_SHOW_CREDIT_HOURS)
    else:
        entry = await queue.lock_entry(work.connection, call.prospect_id, call.purpose)
        again = entry is not None and entry["no_shows"] + 1 >= rules.NO_SHOWS
        await _back_in_line(work, call, park="no_show" if again else None, no_shows=1)
    work.emit(CallMissed(**_parties(call), missed_by=missed_by))
    return call
