"""Group calls: scheduling, inviting, answering, cancelling, attendance. One transaction each.

Locks are taken in one order everywhere: the calendar, people by id, the call, the audit chain.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from services.matching.actions import queue
from services.matching.domain import intro_calls as rules
from services.matching.domain.intro_calls import Answer, Origin, Plan, SeatState
from services.matching.store import audit
from services.matching.store import intro_calls as calls
from services.matching.store import intro_calls_people as people
from services.matching.store.intro_calls_people import IntroPerson
from shared import timers
from shared.directory import Profile
from shared.errors import NotFound, Rejected
from shared.events.envelope import Received
from shared.events.matching import (
    IntroCallAnswered,
    IntroCallAttended,
    IntroCallCancelled,
    IntroCallDropped,
    IntroCallInvited,
    IntroCallMissed,
    IntroCallPromoted,
    IntroCallReminderDue,
    IntroCallScheduled,
)
from shared.events.signup import PersonConfirmed, RoleAdded
from shared.people import resolve
from shared.web.sessions import Principal
from shared.web.text import _
from shared.work import Work

REMINDER = "intro_calls.reminder"
CLOSE = "intro_calls.close"
INVITE = "intro_calls.invite"

BATCH = 5000
"""Invitations in one transaction; what is left follows by timer."""


def owner_key(intro_call_id: UUID) -> str:
    """Under which the timers of a call stand."""
    return f"intro_call:{intro_call_id}"


# ---------------------------------------------------------------- people


async def on_people_confirmed(work: Work, events: Sequence[Received]) -> None:
    """Keep the newly confirmed people and invite the prospects among them. A repeat invites nobody twice."""
    confirmed = [(e.event, e.time) for e in events if isinstance(e.event, PersonConfirmed)]
    await take_people(
        work,
        [
            IntroPerson(e.person_id, str(e.language), e.tracks, e.time_zone, "prospect" in e.roles, time)
            for e, time in confirmed
        ],
        _causes(events),
    )


async def on_roles_added(work: Work, events: Sequence[Received]) -> None:
    """Invite those who have become prospects. A repeat invites nobody twice."""
    became = sorted(
        {e.event.person_id for e in events if isinstance(e.event, RoleAdded) and e.event.role == "prospect"}
    )
    if not became:
        return
    await people.share_calendar(work.connection)
    await people.mark_prospects(work.connection, became)
    await invite_next(work, became, causes=_causes(events))


def _causes(events: Sequence[Received]) -> Mapping[UUID, Received]:
    """The event of each person; the last, where there are several."""
    return {person_id: received for received in events for person_id in received.event.person_ids}


async def on_profiles_fetched(work: Work, profiles: Sequence[Profile]) -> None:
    """Take over changed profiles: who became a prospect is invited, others keep what they have."""
    await take_people(
        work,
        [
            IntroPerson(p.current_id, p.language, p.tracks, p.time_zone, "prospect" in p.roles, p.confirmed_at)
            for p in profiles
            if p.confirmed_at is not None
        ],
    )


async def take_people(
    work: Work, confirmed: Sequence[IntroPerson], causes: Mapping[UUID, Received] | None = None
) -> None:
    """Keep what is known of confirmed people, and invite the prospects among them as far as they may be.

    `causes` names the event that told of each person.
    """
    if not confirmed:
        return
    await people.share_calendar(work.connection)
    await people.upsert_people(work.connection, confirmed)
    await invite_next(work, [person.person_id for person in confirmed if person.prospect], causes=causes)


async def invite_next(
    work: Work,
    person_ids: Sequence[UUID],
    origin: Origin = "confirmed",
    *,
    causes: Mapping[UUID, Received] | None = None,
) -> int:
    """Invite each of these people to the next call that fits, if they may be invited; how many were.

    Takes the calendar lock: call it before locking rows, or hold the lock already.
    """
    if not person_ids:
        return 0
    await people.share_calendar(work.connection)
    current = await resolve(work.connection, person_ids)
    cause_of = {current[person_id]: cause for person_id, cause in (causes or {}).items() if person_id in current}
    invited = await people.invite_next(work.connection, sorted(set(current.values())), origin, work.now)
    for one in invited:
        work.emit(
            IntroCallInvited(intro_call_id=one.intro_call_id, person_id=one.person_id, starts_at=one.starts_at),
            cause=cause_of.get(one.person_id),
        )
    return len(invited)


# ---------------------------------------------------------------- staff


async def schedule(work: Work, actor: Principal, intro_call_id: UUID, plan: Plan) -> tuple[Any, int]:
    """Put a call on the calendar and invite whom it fits; the call, and how many were invited now.

    `intro_call_id` is the caller's: sent again, it finds the call that it made and changes nothing.
    """
    await people.lock_calendar(work.connection)
    policy = work.program.intro_calls
    is_new = await calls.insert_call(
        work.connection,
        intro_call_id,
        plan,
        waiting_list=policy.waiting_list,
        now=work.now,
        created_by=actor.person_id,
        program_version=work.program.version,
        program_hash=work.program.content_hash,
    )
    call = await calls.get_call(work.connection, intro_call_id)
    assert call is not None
    if not is_new:
        return call, 0
    work.emit(
        IntroCallScheduled(
            intro_call_id=intro_call_id,
            starts_at=plan.starts_at,
            minutes=plan.minutes,
            capacity=plan.capacity,
            language=plan.language,
            track=plan.track,
        )
    )
    owner = owner_key(intro_call_id)
    for hours in policy.reminder_hours:
        due_at = plan.starts_at - dt.timedelta(hours=hours)
        if due_at > work.now:
            await timers.schedule(work, REMINDER, owner, due_at, part=str(hours), hours=hours)
    await timers.schedule(work, CLOSE, owner, plan.ends_at)
    invited = await _invite_fitting(work, call, "scheduled")
    await audit.insert_entry(work, actor, "intro_call.schedule", intro_call_id, {"invited": invited})
    return call, invited


async def invite(work: Work, actor: Principal, intro_call_id: UUID, person_ids: Sequence[UUID]) -> tuple[int, int]:
    """Invite the people named, or without names everybody whom the call fits; how many were, how many were not.

    Named people are invited whatever their language and track, unless they have to do with the call already.
    """
    await people.share_calendar(work.connection)
    call = await _open_call(work, intro_call_id)
    if person_ids:
        current = sorted(set((await resolve(work.connection, person_ids)).values()))
        invited_ids = await people.invite_named(work.connection, call, current, work.now)
        _emit_invited(work, call, invited_ids)
        invited, skipped = len(invited_ids), len(current) - len(invited_ids)
    else:
        invited, skipped = await _invite_fitting(work, call, "staff"), 0
    await audit.insert_entry(work, actor, "intro_call.invite", intro_call_id, {"invited": invited})
    return invited, skipped


async def invite_more(work: Work, intro_call_id: UUID) -> None:
    """The next batch of a call that fits more people than one transaction invites."""
    await people.share_calendar(work.connection)
    await _invite_fitting(work, await _open_call(work, intro_call_id), "scheduled")


async def _open_call(work: Work, intro_call_id: UUID) -> Any:
    call = await calls.get_call(work.connection, intro_call_id)
    if call is None:
        raise NotFound
    rules.may_answer(call["status"], call["starts_at"], work.now)
    return call


async def _invite_fitting(work: Work, call: Any, origin: Origin) -> int:
    invited = await people.invite_to_call(work.connection, call, origin, work.now, BATCH)
    _emit_invited(work, call, invited)
    if len(invited) == BATCH:
        await timers.schedule(work, INVITE, owner_key(call["intro_call_id"]), work.now)
    return len(invited)


def _emit_invited(work: Work, call: Any, person_ids: Sequence[UUID]) -> None:
    call_id, starts_at = call["intro_call_id"], call["starts_at"]
    work.emit(*(IntroCallInvited(intro_call_id=call_id, person_id=p, starts_at=starts_at) for p in person_ids))


async def cancel(work: Work, actor: Principal, intro_call_id: UUID) -> int:
    """Take a call off the calendar; how many people are told. Cancelled again, it stays cancelled.

    Whoever was invited or had a place is told, and invited to the next call that fits.
    """
    await people.share_calendar(work.connection)
    told = await calls.find_people_in(work.connection, intro_call_id, ("invited", "going", "waiting"))
    await people.lock_people(work.connection, told)
    call = await calls.lock_call(work.connection, intro_call_id)
    if call is None:
        raise NotFound
    if call["status"] == "cancelled":
        return 0
    if call["starts_at"] <= work.now:
        raise Rejected("over", _("This call has begun. It can't be cancelled any more; record who was there."))
    dropped = sorted(await calls.drop_seats(work.connection, intro_call_id, work.now))
    await calls.mark_cancelled(work.connection, intro_call_id)
    await timers.cancel(work, owner_key(intro_call_id))
    work.emit(IntroCallCancelled(intro_call_id=intro_call_id))
    work.emit(
        *(IntroCallDropped(intro_call_id=intro_call_id, person_id=p, starts_at=call["starts_at"]) for p in dropped)
    )
    await people.recount_holds(work.connection, dropped, work.now)
    await people.forgive_unanswered(work.connection, dropped)
    await invite_next(work, dropped, "cancelled")
    await audit.insert_entry(work, actor, "intro_call.cancel", intro_call_id, {"told": len(dropped)})
    return len(dropped)


async def record_attendance(
    work: Work, actor: Principal, intro_call_id: UUID, attended: Sequence[UUID], missed: Sequence[UUID]
) -> tuple[int, int]:
    """Record who was there and who was expected and did not come; how many marks were new.

    Repeats change nothing. Whoever missed the call is invited to the next; a prospect who was there waits for a
    one-on-one, where the program promises one to all.
    """
    if set(attended) & set(missed):
        raise Rejected(
            "contradiction", _("Somebody is in both lists. Put each person in one: there, or missed."), status=422
        )
    everyone = sorted({*attended, *missed})
    await people.share_calendar(work.connection)
    known = await people.lock_people(work.connection, everyone)
    call = await calls.lock_call(work.connection, intro_call_id)
    if call is None:
        raise NotFound
    if call["status"] == "cancelled":
        raise Rejected("cancelled", _("This call was cancelled, so nobody was there. Record another call."))
    if call["starts_at"] > work.now:
        raise Rejected("too_early", _("This call has not begun. Record who was there once it has."))
    if known != set(everyone):
        raise Rejected(
            "unknown_person",
            _("Somebody in your list has not signed up and confirmed. Ask them to, then record them."),
            status=422,
        )
    seats = await calls.find_seats(work.connection, intro_call_id, everyone)
    changed = {
        mark: [
            person_id
            for person_id in sorted(set(listed))
            if rules.mark(*_state_of(seats.get(person_id)), mark)  # type: ignore[arg-type]
        ]
        for mark, listed in (("attended", attended), ("missed", missed))
    }
    came, stayed_away = changed["attended"], changed["missed"]
    if came:
        await calls.mark_attendance(work.connection, intro_call_id, came, "attended", work.now, actor.person_id)
        await people.mark_attended(work.connection, came, work.now)
        work.emit(*(IntroCallAttended(intro_call_id=intro_call_id, person_id=p) for p in came))
        if work.program.one_on_one.promised_to_all:
            for person_id in await people.find_prospects(work.connection, came):
                await queue.enqueue(work, person_id, "one_on_one")
    if stayed_away:
        await calls.mark_attendance(work.connection, intro_call_id, stayed_away, "missed", work.now, actor.person_id)
        work.emit(*(IntroCallMissed(intro_call_id=intro_call_id, person_id=p) for p in stayed_away))
        await people.recount_holds(work.connection, stayed_away, work.now)
        await invite_next(work, stayed_away, "missed")
    if came or stayed_away:
        details = {"attended": [str(p) for p in came], "missed": [str(p) for p in stayed_away]}
        await audit.insert_entry(work, actor, "intro_call.attendance", intro_call_id, details)
    return len(came), len(stayed_away)


def _state_of(seat: Any | None) -> tuple[SeatState | None, rules.Attendance | None]:
    return (seat["state"], seat["attendance"]) if seat else (None, None)


# ---------------------------------------------------------------- prospects


async def answer(work: Work, intro_call_id: UUID, person_id: UUID, reply: Answer) -> SeatState:
    """A person's answer to a call, invited or not; what it comes to. The same answer again changes nothing.

    Raises `Rejected`: `cancelled` or `over` (410), `full`, `not_a_prospect`.
    """
    current = (await resolve(work.connection, [person_id]))[person_id]
    known = await people.lock_people(work.connection, [person_id, current])
    call = await calls.lock_call(work.connection, intro_call_id)
    if call is None:
        raise NotFound
    rules.may_answer(call["status"], call["starts_at"], work.now)
    # An invitation from before a merge stands under the older id.
    seat = await calls.get_seat(work.connection, intro_call_id, person_id)
    holder = person_id if seat is not None else current
    if seat is None and current != person_id:
        seat = await calls.get_seat(work.connection, intro_call_id, current)
    person = await people.get_person(work.connection, holder) if holder in known else None
    if seat is None and (person is None or not person["prospect"]):
        raise Rejected(
            "not_a_prospect",
            _("Intro calls are for people who think about running. Sign up for that and confirm your address first."),
        )
    before: SeatState | None = seat["state"] if seat else None
    free = {"going": call["going"], "capacity": call["capacity"]}
    after = before
    if not (reply == before == "going"):
        after = rules.place_for(reply, **free, waiting_list=call["waiting_list"], waits=before == "waiting")
    assert after is not None
    if after == before:
        return after
    await calls.put_seat(work.connection, intro_call_id, holder, after, "self", work.now)
    starts_at = call["starts_at"]
    if after in ("going", "waiting", "declined"):
        work.emit(IntroCallAnswered(intro_call_id=intro_call_id, person_id=holder, answer=after, starts_at=starts_at))
    if after == "going":
        await calls.change_going(work.connection, intro_call_id, 1)
    if before == "going":
        await calls.change_going(work.connection, intro_call_id, -1)
        await _promote(work, call, call["capacity"] - call["going"] + 1)
    await people.mark_answered(work.connection, holder)
    await people.recount_holds(work.connection, [holder], work.now)
    return after


async def _promote(work: Work, call: Any, seats: int) -> None:
    """Give free seats of a locked call to the first who wait."""
    call_id = call["intro_call_id"]
    promoted = await calls.take_first_waiting(work.connection, call_id, seats, work.now)
    if promoted:
        await calls.change_going(work.connection, call_id, len(promoted))
        work.emit(
            *(IntroCallPromoted(intro_call_id=call_id, person_id=p, starts_at=call["starts_at"]) for p in promoted)
        )


async def forget(work: Work, person_ids: Sequence[UUID]) -> None:
    """Erase these people from group calls; seats they held in calls to come go to the first who wait."""
    await people.lock_people(work.connection, person_ids)
    for intro_call_id in await calls.find_calls_of(work.connection, person_ids):
        call = await calls.lock_call(work.connection, intro_call_id)
        freed = await calls.delete_seats(work.connection, intro_call_id, person_ids)
        await calls.change_going(work.connection, intro_call_id, -freed)
        if freed and call["status"] == "scheduled" and call["starts_at"] > work.now:  # type: ignore[index]
            await _promote(work, call, call["capacity"] - call["going"] + freed)  # type: ignore[index]
    await people.delete_people(work.connection, person_ids)


# ---------------------------------------------------------------- timers


async def remind(work: Work, intro_call_id: UUID, hours: int) -> None:
    """Tell everyone who goes that the call is near; nothing once it has begun or was cancelled."""
    call = await calls.lock_call(work.connection, intro_call_id)
    if call is None:
        return
    rules.may_answer(call["status"], call["starts_at"], work.now)
    going = await calls.find_people_in(work.connection, intro_call_id, ("going",))
    work.emit(
        *(
            IntroCallReminderDue(
                intro_call_id=intro_call_id, person_id=p, starts_at=call["starts_at"], hours_before=hours
            )
            for p in going
        )
    )


async def close(work: Work, intro_call_id: UUID) -> None:
    """The call is over: whoever did not answer, got no seat or could not make it is invited to the next."""
    await people.share_calendar(work.connection)
    left = await calls.find_people_in(work.connection, intro_call_id, ("invited", "waiting", "declined"))
    await people.lock_people(work.connection, left)
    await people.recount_holds(work.connection, left, work.now)
    await invite_next(work, left, "closed")
