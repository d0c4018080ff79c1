"""Pages of calls: the offer, one call, how it went, and a person's list.

Links of mails carry a token of one party for one purpose; GET shows, POST acts.
"""

from datetime import datetime
from typing import Any, get_args
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from services.matching.actions import calls, queue
from services.matching.domain.calls import FOLLOW_UPS, SLOTS_SHOWN, Answer
from services.matching.store import bookings
from services.matching.store.bookings import Call
from services.matching.store.people import get_people
from services.matching.web.addresses import Addresses
from services.matching.web.calendar import CONTENT_TYPE, calendar_file
from services.matching.web.calls_json import At, Me, begin, own_side
from services.matching.web.present import ShownCall, calls_of, shown_calls, shown_queue
from services.matching.web.sentences import PARKED
from shared.errors import NotFound, Rejected
from shared.web.fields import Field, FieldErrors, Option, chosen, value_of
from shared.web.pages import Pages
from shared.web.sessions import signed_in
from shared.web.text import Message, _
from shared.work import Work

router = APIRouter(prefix="/calls", include_in_schema=True, tags=["pages"])

DONE: dict[str, tuple[Message, Message]] = {
    "accepted": (
        _("You’re booked"),
        _("We have told your volunteer. A calendar file is in your mail, and we’ll remind you."),
    ),
    "another_time": (
        _("We’ll find another time"),
        _("You keep your place in line. You can add more hours to help us."),
    ),
    "another_person": (
        _("We’ll find somebody else"),
        _("You keep your place in line. We won’t suggest this person again."),
    ),
    "not_now": (_("All right, not now"), _("We won’t ask again until you tell us that you’re ready.")),
    "cancelled": (_("The call is cancelled"), _("We have told the other person.")),
    "moved": (_("The call was moved"), _("Both of you get a new calendar file.")),
    "attested": (_("Thank you"), _("That is recorded. You gave somebody half an hour that can change a race.")),
    "in_line": (_("You’re in line"), _("We write to you as soon as we have a time for you.")),
}


def pages_of(request: Request) -> Pages:
    """The service's pages."""
    pages: Pages = request.app.state.pages
    return pages


def done(request: Request, what: str, next_href: str | None = None, next_label: Message | None = None) -> Response:
    """The page after an action."""
    title, summary = DONE[what]
    return pages_of(request).response(
        request, "message.html", title=title, summary=summary, next_href=next_href, next_label=next_label
    )


async def _seen_by(work: Work, call: Call, side: str, at: Addresses) -> ShownCall:
    person = call.prospect_id if side == "prospect" else call.volunteer_id
    return (await shown_calls(work, [call], person, at))[0]


async def _call(work: Work, call_id: UUID) -> Call:
    call = (await bookings.get_calls(work.connection, [call_id])).get(call_id)
    if call is None:
        raise NotFound
    return call


@router.get("", summary="A person's calls and place in line")
async def list_page(request: Request, principal: Me, at: At) -> Response:
    """Offers and calls, and for prospects about how long the wait is."""
    async with begin(request) as work:
        place = await shown_queue(work, principal.person_id)
        mine = await calls_of(work, principal.person_id, at)
        now = work.now
    return pages_of(request).response(
        request,
        "calls/list.html",
        language=pages_of(request).page_language(request, principal.language),
        title=_("Your calls"),
        place=place,
        parked=PARKED.get(place.parked_reason or ""),
        calls=mine,
        now=now,
        request_action=f"{at.base}/calls/request",
    )


@router.post("/request", summary="Get in line")
async def request_action(request: Request, principal: Me, at: At) -> Response:
    """A prospect asks for a call."""
    async with begin(request) as work:
        await queue.request(work, principal.person_id)
    return done(request, "in_line", f"{at.base}/availability", _("See your hours"))


@router.get("/guide", summary="How to hold a call")
async def guide_page(request: Request) -> Response:
    """For volunteers; the same for everybody, and no secret."""
    return pages_of(request).response(request, "calls/guide.html", title=_("How to hold a call"), public=True)


@router.get("/rejoin/{person_id}/{token}", summary="Get back in line, from a mail")
async def rejoin_page(request: Request, person_id: UUID, token: str, at: At) -> Response:
    """Asks before it acts: mail scanners follow links."""
    at.check("rejoin", person_id, token)
    return pages_of(request).response(
        request,
        "confirm.html",
        title=_("Get back in line?"),
        explanation=_("We look for a volunteer who has time when you do, and write to you with a time."),
        action=at.rejoin(person_id),
        hidden_values={},
        submit_label=_("Yes, find me a call"),
    )


@router.post("/rejoin/{person_id}/{token}", summary="Get back in line")
async def rejoin_action(request: Request, person_id: UUID, token: str, at: At) -> Response:
    """The same as the button of the signed-in page."""
    at.check("rejoin", person_id, token)
    async with begin(request) as work:
        await queue.request(work, person_id)
    return done(request, "in_line", at.availability(person_id), _("See your hours"))


@router.get("/offer/{call_id}/{token}", summary="An offered time")
async def offer_page(request: Request, call_id: UUID, token: str, at: At) -> Response:
    """When, with whom, why; four answers."""
    at.check("offer", call_id, token)
    async with begin(request) as work:
        call = await calls.locked(work, call_id, "held")
        if work.now >= call.hold_expires_at:
            raise Rejected(
                "call_expired", _("This offer has run out. You can get back in line on your calls page."), status=410
            )
        shown = await _seen_by(work, call, "prospect", at)
        language = (await get_people(work.connection, [call.prospect_id]))[call.prospect_id]["language"]
    return pages_of(request).response(
        request,
        "calls/offer.html",
        language=pages_of(request).page_language(request, language),
        title=_("We found a time for your call"),
        shown=shown,
        action=at.offer(call_id),
    )


@router.post("/offer/{call_id}/{token}", summary="Answer an offered time")
async def offer_action(request: Request, call_id: UUID, token: str, at: At) -> Response:
    """`answer` is yes, another_time, another_person or not_now."""
    at.check("offer", call_id, token)
    answer = value_of(await request.form(), "answer")
    if answer != "yes" and answer not in get_args(Answer):
        raise Rejected("answer_unknown", _("Choose one of the answers on the page."), status=422)
    async with begin(request) as work:
        if answer == "yes":
            await calls.accept(work, call_id)
        else:
            call = await calls.decline(work, call_id, answer)  # type: ignore[arg-type]
    if answer == "yes":
        return done(request, "accepted", at.call(call_id, "prospect"), _("See the call"))
    if answer == "not_now":
        return done(request, answer)
    return done(request, answer, at.availability(call.prospect_id), _("See your hours"))


def _attest_fields(request: Request) -> list[Field]:
    policy = request.app.state.program.one_on_one
    went = [Option(f"outcome:{o.id}", o.label) for o in policy.outcomes]
    missed = [Option(f"missed:{m.by}", m.label) for m in policy.missed]
    return [
        Field(name="outcome", kind="radios", label=_("How did it go?"), options=[*went, *missed]),
        Field(
            name="follow_ups",
            kind="checkboxes",
            label=_("What did you agree on?"),
            required=False,
            options=[Option(code, label) for code, label in FOLLOW_UPS.items()],
        ),
        Field(
            name="notes",
            kind="textarea",
            label=_("Notes"),
            hint=_("What should the next person know? Staff can read this, the other person can’t."),
            required=False,
            max_length=4000,
        ),
        Field(
            name="concern",
            kind="textarea",
            label=_("Are you worried about somebody’s safety?"),
            hint=_("If you are, say here why. Staff see it at once. In an emergency call 911 first."),
            required=False,
            rows=3,
            max_length=4000,
        ),
    ]


async def _attest_form(
    request: Request, call: Call, shown: ShownCall, at: Addresses, values: Any, errors: FieldErrors, language: str
) -> Response:
    return pages_of(request).response(
        request,
        "calls/attest.html",
        status=422 if errors else 200,
        language=pages_of(request).page_language(request, language),
        title=_("How did your call with %(name)s go?", name=shown.with_name),
        shown=shown,
        action=at.attest(call.call_id),
        form_fields=_attest_fields(request),
        values=values,
        errors=errors,
        hidden_values={},
        submit_label=_("Send"),
    )


@router.get("/attest/{call_id}/{token}", summary="How did the call go?")
async def attest_page(request: Request, call_id: UUID, token: str, at: At) -> Response:
    """The volunteer's form; only after the call's end."""
    at.check("attest", call_id, token)
    async with begin(request) as work:
        call = await calls.locked(work, call_id, "confirmed")
        if work.now < call.ends_at:
            raise Rejected("call_not_over", _("This call is not over yet. Come back when it has ended."))
        shown = await _seen_by(work, call, "volunteer", at)
        language = (await get_people(work.connection, [call.volunteer_id]))[call.volunteer_id]["language"]
    return await _attest_form(request, call, shown, at, {}, FieldErrors(), language)


@router.post("/attest/{call_id}/{token}", summary="Say how the call went")
async def attest_action(request: Request, call_id: UUID, token: str, at: At) -> Response:
    """`outcome` is `outcome:<code>` or `missed:<prospect|volunteer>`."""
    at.check("attest", call_id, token)
    form = await request.form()
    kind, _colon, code = value_of(form, "outcome").partition(":")
    try:
        async with begin(request) as work:
            call = await _call(work, call_id)
            await calls.attest(
                work,
                call_id,
                call.volunteer_id,
                outcome=code if kind == "outcome" else None,
                follow_ups=chosen(form, "follow_ups") if kind == "outcome" else [],
                missed_by=code if kind == "missed" and code in ("prospect", "volunteer") else None,
                notes=value_of(form, "notes")[:4000],
                concern=value_of(form, "concern")[:4000].strip() or None,
            )
    except Rejected as no:
        if no.status != 422:
            raise
        async with begin(request) as work:
            shown = await _seen_by(work, call, "volunteer", at)
            language = (await get_people(work.connection, [call.volunteer_id]))[call.volunteer_id]["language"]
        return await _attest_form(request, call, shown, at, form, FieldErrors(no.fields), language)
    return done(request, "attested", f"{at.base}/calls", _("See your calls"))


@router.get("/{call_id}", summary="One call")
async def call_page(request: Request, call_id: UUID, at: At, token: str | None = None) -> Response:
    """By a party's link, or signed in; what that party can do with it."""
    if token is None:
        principal = signed_in(request)
        async with begin(request) as work:
            own = await own_side(work, call_id, principal)
        return RedirectResponse(at.call(call_id, "prospect" if own == "prospect" else "volunteer"), status_code=303)
    side = at.side_of(call_id, token)
    async with begin(request) as work:
        call = await _call(work, call_id)
        if call.replaced_by is not None:
            return RedirectResponse(at.call(call.replaced_by, side), status_code=303)
        shown = await _seen_by(work, call, side, at)
        free = await calls.free_slots(work, call) if "reschedule" in shown.may else []
        person = call.prospect_id if side == "prospect" else call.volunteer_id
        language = (await get_people(work.connection, [person]))[person]["language"]
    return pages_of(request).response(
        request,
        "calls/call.html",
        language=pages_of(request).page_language(request, language),
        title=_("Your call with %(name)s", name=shown.with_name),
        shown=shown,
        slots=free[:SLOTS_SHOWN],
        cancel_action=at.call(call_id, side, "/cancel"),
        reschedule_action=at.call(call_id, side, "/reschedule"),
    )


@router.get("/{call_id}/calendar.ics", summary="The call as a calendar file")
async def calendar(request: Request, call_id: UUID, token: str, at: At) -> Response:
    """As it stands now."""
    side = at.side_of(call_id, token)
    async with begin(request) as work:
        call = await _call(work, call_id)
        shown = await _seen_by(work, call, side, at)
        body = ics(request, shown, work.now, pages_of(request).page_language(request))
    headers = {"Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="call.ics"'}
    return Response(body, media_type=f"{CONTENT_TYPE}; charset=utf-8", headers=headers)


def ics(request: Request, shown: ShownCall, now: datetime, language: str) -> str:
    """The calendar file of a call for one party."""
    organization = request.app.state.program.organization
    title = _("Call with %(name)s – %(organization)s", name=shown.with_name, organization=organization.name)
    return calendar_file(
        shown.call,
        summary=pages_of(request).translate(title, language),
        url=shown.links["page"],
        organizer=(organization.name, organization.contact_email),
        now=now,
    )


@router.post("/{call_id}/cancel", summary="Cancel a call, or hand it back")
async def cancel_action(request: Request, call_id: UUID, token: str, at: At) -> Response:
    """By either party."""
    side = at.side_of(call_id, token)
    async with begin(request) as work:
        call = await calls.cancel(work, call_id, side)
    if side == "prospect":
        return done(request, "cancelled", at.rejoin(call.prospect_id), _("Find me another call"))
    return done(request, "cancelled", at.availability(call.volunteer_id), _("See your hours"))


@router.post("/{call_id}/reschedule", summary="Move a call")
async def reschedule_action(request: Request, call_id: UUID, token: str, at: At) -> Response:
    """`starts_at` is the ISO instant of one of the slots shown."""
    side = at.side_of(call_id, token)
    starts_at = _instant(value_of(await request.form(), "starts_at"))
    if starts_at is None:
        raise Rejected("slot_missing", _("Choose one of the times on the page."), status=422)
    async with begin(request) as work:
        moved_to = await calls.reschedule(work, call_id, starts_at, side)
    return done(request, "moved", at.call(moved_to, side), _("See the call"))


def _instant(text: str) -> datetime | None:
    """An aware instant; None for anything else."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
