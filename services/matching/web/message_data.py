"""What messages need to say, asked for by notifications at the moment of sending.

Each template has one teller in `TEMPLATES`; those of the group calls are in `INTRO_TEMPLATES`. A teller looks again
at the state: a message whose moment has passed is `gone`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, TypeAlias
from uuid import UUID

from fastapi import APIRouter, Depends, Request

from services.matching.store import availability, bookings, people, queue
from services.matching.web.addresses import Addresses, Side
from services.matching.web.calendar import attachment
from services.matching.web.calls import ics
from services.matching.web.calls_json import begin
from services.matching.web.present import PURPOSE, ShownCall, shown_calls
from shared import messages
from shared.db import Connection
from shared.directory import Contact, Contacts
from shared.messages import Answer, Answers, Item
from shared.people import resolve
from shared.web.internal import InternalClient, record_access, require_scope
from shared.work import Work

router = APIRouter(tags=["internal"])

Teller: TypeAlias = Callable[[Request, Sequence[Item]], Awaitable[list[Answer]]]
"""Answers questions about one template, in their order; opens its own transactions."""


def gone(item: Item, reason: str) -> Answer:
    """The message no longer applies."""
    return Answer(id=item.id, status="gone", reason=reason)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


async def tell_availability(request: Request, items: Sequence[Item]) -> list[Answer]:
    """Gone once they have stated hours, or give none and wait for nothing."""
    at = Addresses.of(request.app.state.settings)
    answers = []
    async with begin(request) as work:
        current = await resolve(work.connection, [item.person_id for item in items])
        known = await people.get_people(work.connection, list(current.values()))
        hours = await availability.get_many(work.connection, list(current.values()))
        for item in items:
            person_id = current[item.person_id]
            stated = hours.get(person_id)
            roles = known[person_id]["roles"] if person_id in known else ()
            if stated is not None and stated.windows:
                answers.append(gone(item, "hours_stated"))
            elif not {"prospect", "volunteer"} & set(roles):
                answers.append(gone(item, "role_gone"))
            else:
                role = "volunteer" if "volunteer" in roles else "prospect"
                url = at.availability(person_id)
                answers.append(messages.AvailabilityRequest(availability_url=url, role=role).answer(item))
    return answers


Tell = Callable[[Request, Work, Item, ShownCall, Addresses], Awaitable[Answer]]


def _about_calls(tell: Tell) -> Teller:
    """A teller of a template whose reference is a call of the recipient's."""

    async def teller(request: Request, items: Sequence[Item]) -> list[Answer]:
        at = Addresses.of(request.app.state.settings)
        async with begin(request) as work:
            ids = [call_id for item in items if (call_id := _uuid(item.reference)) is not None]
            found = await bookings.get_calls(work.connection, ids)
            answers = []
            for item in items:
                call = found.get(_uuid(item.reference) or UUID(int=0))
                shown = await shown_calls(work, [call], item.person_id, at) if call is not None else []
                answers.append(await tell(request, work, item, shown[0], at) if shown else gone(item, "unknown_call"))
        return answers

    return teller


def _calendar(request: Request, work: Work, shown: ShownCall, language: str) -> messages.Attachment:
    return attachment(ics(request, shown, work.now, language))


async def _language(request: Request, connection: Connection, person_id: UUID) -> str:
    known = (await people.get_people(connection, [person_id])).get(person_id)
    language: str = known["language"] if known is not None else ""
    offered = request.app.state.pages.languages
    return language if language in offered else str(request.app.state.pages.default_language)


async def tell_offer(request: Request, work: Work, item: Item, shown: ShownCall, at: Addresses) -> Answer:  # noqa: ARG001
    """Gone when it was answered or lapsed. `call_url` is where the offer is answered."""
    call = shown.call
    if call.state != "held" or work.now >= call.hold_expires_at or shown.role != "prospect":
        return gone(item, f"call_{call.state}")
    return messages.MatchOffer(
        with_name=shown.with_name,
        starts_at=call.starts_at,
        ends_at=call.ends_at,
        call_url=at.offer(call.call_id),
        expires_at=call.hold_expires_at,
        reasons=tuple(shown.codes),
    ).answer(item)


async def tell_expired(request: Request, work: Work, item: Item, shown: ShownCall, at: Addresses) -> Answer:  # noqa: ARG001
    """Gone when they have another offer or call by now."""
    entry = await queue.get_entry(work.connection, shown.call.prospect_id, PURPOSE)
    if shown.call.state != "expired" or entry is None or entry["state"] not in ("waiting", "parked"):
        return gone(item, "moved_on")
    return messages.MatchExpired(
        parked=entry["state"] == "parked", rejoin_url=at.rejoin(shown.call.prospect_id)
    ).answer(item)


async def tell_booked(request: Request, work: Work, item: Item, shown: ShownCall, at: Addresses) -> Answer:
    """To the prospect; with the calendar file."""
    call = shown.call
    if call.state != "confirmed" or work.now >= call.starts_at:
        return gone(item, f"call_{call.state}")
    language = await _language(request, work.connection, call.prospect_id)
    return messages.CallBooked(
        with_name=shown.with_name,
        starts_at=call.starts_at,
        ends_at=call.ends_at,
        call_url=at.call(call.call_id, "prospect"),
        moved=call.replaces is not None,
    ).answer(item, _calendar(request, work, shown, language))


async def tell_reminder(request: Request, work: Work, item: Item, shown: ShownCall, at: Addresses) -> Answer:  # noqa: ARG001
    """To either party, while the call is ahead."""
    call = shown.call
    if call.state != "confirmed" or work.now >= call.starts_at:
        return gone(item, f"call_{call.state}")
    hours = round((call.starts_at - work.now).total_seconds() / 3600)
    return messages.CallReminder(
        with_name=shown.with_name,
        starts_at=call.starts_at,
        ends_at=call.ends_at,
        call_url=shown.links["page"],
        hours_before=max(1, hours),
    ).answer(item)


async def tell_cancelled(request: Request, work: Work, item: Item, shown: ShownCall, at: Addresses) -> Answer:  # noqa: ARG001
    """To either party, with the cancelling calendar file; gone when it was only moved."""
    call, role = shown.call, shown.role
    if call.state != "cancelled" or call.replaced_by is not None or call.closed_by is None:
        return gone(item, "moved" if call.replaced_by is not None else f"call_{call.state}")
    side: Side = "prospect" if role == "prospect" else "volunteer"
    language = await _language(request, work.connection, call.prospect_id if side == "prospect" else call.volunteer_id)
    return messages.CallCancelled(
        with_name=shown.with_name, starts_at=call.starts_at, by=call.closed_by, to_role=side
    ).answer(item, _calendar(request, work, shown, language))


async def tell_attest(request: Request, work: Work, item: Item, shown: ShownCall, at: Addresses) -> Answer:  # noqa: ARG001
    """To the volunteer, until they have said how it went."""
    call = shown.call
    if call.state != "confirmed" or work.now < call.ends_at or shown.role != "volunteer":
        return gone(item, f"call_{call.state}")
    return messages.AttestRequest(
        with_name=shown.with_name,
        starts_at=call.starts_at,
        ends_at=call.ends_at,
        call_url=shown.links["page"],
        attest_url=at.attest(call.call_id),
    ).answer(item)


async def tell_completed(request: Request, work: Work, item: Item, shown: ShownCall, at: Addresses) -> Answer:  # noqa: ARG001
    """To the prospect."""
    if shown.call.state != "completed" or shown.role != "prospect":
        return gone(item, f"call_{shown.call.state}")
    page = f"{request.app.state.settings.public_url('signup')}/me"
    return messages.CallCompletedFollowup(
        with_name=shown.with_name, follow_ups=shown.call.follow_ups, next_url=page
    ).answer(item)


async def tell_missed(request: Request, work: Work, item: Item, shown: ShownCall, at: Addresses) -> Answer:  # noqa: ARG001
    """To the prospect."""
    call = shown.call
    if call.state != "missed" or shown.role != "prospect" or call.missed_by is None:
        return gone(item, f"call_{call.state}")
    missed_by: Side = "prospect" if call.missed_by == "prospect" else "volunteer"
    return messages.CallMissed(
        with_name=shown.with_name, missed_by=missed_by, rejoin_url=at.rejoin(call.prospect_id)
    ).answer(item)


async def tell_booked_volunteer(request: Request, items: Sequence[Item]) -> list[Answer]:
    """To the volunteer: with how to reach the prospect, fetched from signup outside any transaction."""
    async with begin(request) as work:
        ids = [call_id for item in items if (call_id := _uuid(item.reference)) is not None]
        found = await bookings.get_calls(work.connection, ids)
    prospects = sorted({call.prospect_id for call in found.values() if call.state == "confirmed"})
    contacts = await _contacts(request, prospects)

    async def tell(request: Request, work: Work, item: Item, shown: ShownCall, at: Addresses) -> Answer:
        call, contact = shown.call, contacts.get(shown.call.prospect_id)
        if call.state != "confirmed" or work.now >= call.starts_at or shown.role != "volunteer":
            return gone(item, f"call_{call.state}")
        if contact is None or contact.email is None:
            return gone(item, "prospect_gone")
        known = (await people.get_people(work.connection, [call.prospect_id]))[call.prospect_id]
        language = await _language(request, work.connection, call.volunteer_id)
        return messages.CallBookedVolunteer(
            with_name=contact.name,
            starts_at=call.starts_at,
            ends_at=call.ends_at,
            call_url=at.call(call.call_id, "volunteer"),
            moved=call.replaces is not None,
            with_phone=contact.phone,
            with_email=contact.email,
            office=known["office"],
            state=known["state"],
            tracks=tuple(known["tracks"]),
        ).answer(item, _calendar(request, work, shown, language))

    return await _about_calls(tell)(request, items)


async def _contacts(request: Request, person_ids: list[UUID]) -> dict[UUID, Contact]:
    if not person_ids:
        return {}
    signup: InternalClient = request.app.state.signup
    answer = await signup.post("/internal/contacts", {"person_ids": [str(person_id) for person_id in person_ids]})
    return {contact.person_id: contact for contact in Contacts.model_validate(answer).contacts}


TEMPLATES: Mapping[str, Teller] = {
    "availability_request": tell_availability,
    "match_offer": _about_calls(tell_offer),
    "match_expired": _about_calls(tell_expired),
    "call_booked": _about_calls(tell_booked),
    "call_rescheduled": _about_calls(tell_booked),
    "call_booked_volunteer": tell_booked_volunteer,
    "call_reminder": _about_calls(tell_reminder),
    "call_cancelled": _about_calls(tell_cancelled),
    "attest_request": _about_calls(tell_attest),
    "call_completed_followup": _about_calls(tell_completed),
    "call_missed": _about_calls(tell_missed),
}


@router.post(messages.PATH, summary="What messages need to say")
async def message_data(
    request: Request, asked: messages.Request, caller: Annotated[str, Depends(require_scope(messages.SCOPE))]
) -> Answers:
    """In the order of the questions; an unknown template, or one that no longer applies, is `gone`."""
    tellers: Mapping[str, Teller] = request.app.state.message_templates
    answers: dict[str, Answer] = {}
    for template in sorted({item.template for item in asked.items}):
        items = [item for item in asked.items if item.template == template]
        teller = tellers.get(template)
        told = await teller(request, items) if teller else [gone(item, "unknown_template") for item in items]
        answers.update((answer.id, answer) for answer in told)
    async with begin(request) as work:
        await record_access(work.connection, caller, messages.SCOPE, len(asked.items))
    return Answers(items=tuple(answers[item.id] for item in asked.items))
