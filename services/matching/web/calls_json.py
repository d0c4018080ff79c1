"""JSON of a person's own calls: everything that the pages can do."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from services.matching.actions import calls, queue
from services.matching.domain.calls import SLOTS_SHOWN, Answer
from services.matching.store import bookings
from services.matching.web.addresses import Addresses, addresses
from services.matching.web.present import ShownCall, calls_of, shown_calls, shown_queue
from shared.errors import NotFound, Rejected
from shared.events.matching import Party
from shared.web.sessions import Principal, signed_in
from shared.web.text import _
from shared.work import Work, Workshop

router = APIRouter(prefix="/v1/calls", tags=["calls"])

Me = Annotated[Principal, Depends(signed_in)]
At = Annotated[Addresses, Depends(addresses)]


class QueueOut(BaseModel):
    """A prospect's place in line. `state` is null if they never asked; `weeks` is null when no hours are offered."""

    state: str | None
    since: datetime | None
    place: int | None
    weeks: int | None
    has_hours: bool
    waits_for: str | None
    parked_reason: str | None


class CallOut(BaseModel):
    """One call as the caller sees it; `may` lists what they can do with it now, `reasons` are codes with arguments."""

    call_id: UUID
    role: Literal["prospect", "volunteer"]
    state: str
    starts_at: datetime
    ends_at: datetime
    time_zone: str
    expires_at: datetime
    with_name: str
    reasons: list[dict[str, Any]]
    may: list[str]
    outcome: str | None
    missed_by: str | None
    replaces: UUID | None
    replaced_by: UUID | None


class CallsOut(BaseModel):
    """The caller's place in line and calls, latest first."""

    queue: QueueOut
    calls: list[CallOut]


class SlotOut(BaseModel):
    """A time that a call could be moved to."""

    starts_at: datetime
    ends_at: datetime


class DeclineIn(BaseModel):
    """Why the held hour does not fit."""

    model_config = ConfigDict(extra="forbid")

    reason: Answer


class RescheduleIn(BaseModel):
    """The begin of one of the call's free slots."""

    model_config = ConfigDict(extra="forbid")

    starts_at: AwareDatetime


class AttestIn(BaseModel):
    """How the call went: an `outcome` of the program, or `missed_by`. Notes and concern are for staff alone."""

    model_config = ConfigDict(extra="forbid")

    outcome: str | None = None
    missed_by: Literal["prospect", "volunteer"] | None = None
    follow_ups: list[str] = Field(default_factory=list, max_length=10)
    notes: str = Field("", max_length=4000)
    concern: str | None = Field(None, max_length=4000)


def call_out(shown: ShownCall) -> CallOut:
    """The JSON of a call."""
    call = shown.call
    return CallOut(
        call_id=call.call_id,
        role="prospect" if shown.role == "prospect" else "volunteer",
        state=call.state,
        starts_at=call.starts_at,
        ends_at=call.ends_at,
        time_zone=shown.zone,
        expires_at=call.hold_expires_at,
        with_name=shown.with_name,
        reasons=shown.codes,
        may=list(shown.may),
        outcome=call.outcome,
        missed_by=call.missed_by,
        replaces=call.replaces,
        replaced_by=call.replaced_by,
    )


def begin(request: Request) -> Any:
    """A unit of work in the request's chain."""
    workshop: Workshop = request.app.state.workshop
    return workshop.begin(request.state.correlation_id)


async def own_side(work: Work, call_id: UUID, principal: Principal, *, only: Party | None = None) -> Party:
    """The caller's side of a call; NotFound when it is not theirs, Rejected when the other side acts here."""
    call = (await bookings.get_calls(work.connection, [call_id])).get(call_id)
    side = await calls.party_of(work, call, principal.person_id) if call is not None else None
    if side is None:
        raise NotFound
    if only is not None and side != only:
        raise Rejected("not_your_part", _("Only the other person of this call can do that."), status=403)
    return side


async def one(work: Work, call_id: UUID, principal: Principal, at: Addresses) -> CallOut:
    """A call as it stands after an action."""
    found = await bookings.get_calls(work.connection, [call_id])
    return call_out((await shown_calls(work, list(found.values()), principal.person_id, at))[0])


@router.get("", summary="The caller's place in line and calls")
async def list_calls(request: Request, principal: Me, at: At) -> CallsOut:
    """Prospects see their queue entry and forecast; volunteers their bookings."""
    async with begin(request) as work:
        place = await shown_queue(work, principal.person_id)
        mine = await calls_of(work, principal.person_id, at)
    return CallsOut(
        queue=QueueOut(
            state=place.state,
            since=place.since,
            place=place.forecast.place if place.forecast else None,
            weeks=place.forecast.weeks if place.forecast else None,
            has_hours=place.has_hours,
            waits_for=place.waits_for_code,
            parked_reason=place.parked_reason,
        ),
        calls=[call_out(shown) for shown in mine],
    )


@router.post("/request", status_code=202, summary="Get in line for a one-on-one call")
async def request_call(request: Request, principal: Me) -> dict[str, str]:
    """For the first time, or after offers were declined or not answered."""
    async with begin(request) as work:
        await queue.request(work, principal.person_id)
    return {"state": "waiting"}


@router.get("/{call_id}", summary="One call")
async def get_call(request: Request, call_id: UUID, principal: Me, at: At) -> CallOut:
    """As the caller sees it; somebody else's call is not found."""
    async with begin(request) as work:
        await own_side(work, call_id, principal)
        return await one(work, call_id, principal, at)


@router.post("/{call_id}/accept", summary="Say yes to an offered time")
async def accept(request: Request, call_id: UUID, principal: Me, at: At) -> CallOut:
    """The prospect alone confirms; the volunteer's published hours are consent."""
    async with begin(request) as work:
        await own_side(work, call_id, principal, only="prospect")
        await calls.accept(work, call_id)
        return await one(work, call_id, principal, at)


@router.post("/{call_id}/decline", summary="Let an offered time go")
async def decline(
    request: Request,
    call_id: UUID,
    given: DeclineIn,
    principal: Me,
    at: At,
) -> CallOut:
    """Another time and another person put the prospect back in line; not now parks them."""
    async with begin(request) as work:
        await own_side(work, call_id, principal, only="prospect")
        await calls.decline(work, call_id, given.reason)
        return await one(work, call_id, principal, at)


@router.post("/{call_id}/cancel", summary="Take a call off the calendar, or hand it back")
async def cancel(request: Request, call_id: UUID, principal: Me, at: At) -> CallOut:
    """A volunteer may hand a booked call back until the program's window closes."""
    async with begin(request) as work:
        await calls.cancel(work, call_id, await own_side(work, call_id, principal))
        return await one(work, call_id, principal, at)


@router.get("/{call_id}/slots", summary="Times that a booked call could be moved to")
async def slots(request: Request, call_id: UUID, principal: Me) -> dict[str, list[SlotOut]]:
    """The next ones that both have free."""
    async with begin(request) as work:
        await own_side(work, call_id, principal)
        call = (await bookings.get_calls(work.connection, [call_id]))[call_id]
        free = await calls.free_slots(work, call)
    return {"slots": [SlotOut(starts_at=start, ends_at=end) for start, end in free[:SLOTS_SHOWN]]}


@router.post("/{call_id}/reschedule", summary="Move a booked call")
async def reschedule(
    request: Request,
    call_id: UUID,
    given: RescheduleIn,
    principal: Me,
    at: At,
) -> CallOut:
    """Answers with the new call, which `replaces` the old one."""
    async with begin(request) as work:
        side = await own_side(work, call_id, principal)
        moved_to = await calls.reschedule(work, call_id, given.starts_at, side)
        return await one(work, moved_to, principal, at)


@router.post("/{call_id}/attest", summary="Say how a call went")
async def attest(
    request: Request,
    call_id: UUID,
    given: AttestIn,
    principal: Me,
    at: At,
) -> CallOut:
    """By the volunteer, after the call's end, once."""
    async with begin(request) as work:
        await own_side(work, call_id, principal, only="volunteer")
        await calls.attest(
            work,
            call_id,
            principal.person_id,
            outcome=given.outcome,
            follow_ups=given.follow_ups,
            missed_by=given.missed_by,
            notes=given.notes,
            concern=given.concern or None,
        )
        return await one(work, call_id, principal, at)
