"""The match board of the staff: who waits and why, what is held and booked, who must not meet; page and JSON."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from services.matching.actions import calls
from services.matching.domain.calls import FOLLOW_UPS, forecast
from services.matching.store import audit, bookings, people, queue, rounds
from services.matching.web.calls_json import At, begin
from services.matching.web.present import PURPOSE
from services.matching.web.sentences import LANGUAGES, STAFF_WAITING, STATES, reasons
from shared.errors import NotFound, Rejected
from shared.people import resolve
from shared.web.fields import value_of
from shared.web.pages import Pages
from shared.web.sessions import Principal, require
from shared.web.text import _
from shared.work import Work

router = APIRouter(tags=["matching"])

Staff = Annotated[Principal, Depends(require("staff"))]
SHOWN = 200


class WaitingOut(BaseModel):
    """Somebody who waits; `unmatched` is the last round's reason with its counts, null before the first."""

    person_id: UUID
    first_name: str
    state: str | None
    office: str | None
    languages: list[str]
    since: datetime
    credit_hours: int
    offers: int
    silences: int
    has_hours: bool
    unmatched: dict[str, Any] | None


class BookedOut(BaseModel):
    """A held or confirmed call with why it was chosen; `parts` are points."""

    call_id: UUID
    state: str
    prospect_id: UUID
    prospect_name: str
    volunteer_id: UUID
    volunteer_name: str
    starts_at: datetime
    ends_at: datetime
    expires_at: datetime
    reasons: list[dict[str, Any]]
    parts: dict[str, int]
    utility: int | None
    rank: int | None
    feasible: int | None
    slot_price: int | None


class AttestedOut(BaseModel):
    """What a volunteer said of a call: an `outcome` of the program, or who missed it. The notes are for staff alone."""

    call_id: UUID
    prospect_id: UUID
    prospect_name: str
    volunteer_id: UUID
    volunteer_name: str
    attested_at: datetime
    outcome: str | None
    missed_by: str | None
    follow_ups: list[str]
    notes: str


class BoardOut(BaseModel):
    """Counts by state, coverage (share of prospects in the queue with a hold, a call or a completed one), forecast."""

    counts: dict[str, int]
    oldest_wait: datetime | None
    coverage: float
    calls_a_week: int
    weeks_for_the_last: int | None
    last_round: dict[str, Any] | None
    waiting: list[WaitingOut]
    active: list[BookedOut]
    attested: list[AttestedOut]
    concerns: list[dict[str, Any]]


class BlockIn(BaseModel):
    """Two people who must not be matched. The note is for staff and is never told to either."""

    model_config = ConfigDict(extra="forbid")

    person_id: UUID
    other_id: UUID
    kind: Literal["block", "conflict"] = "conflict"
    note: str = Field("", max_length=500)


async def read_board(work: Work) -> BoardOut:
    """The board as it stands."""
    states = {row["state"]: row for row in await work.connection.fetch(queue.GET_STATES, PURPOSE)}
    counts = {state: row["people"] for state, row in states.items()}
    rules = work.program.one_on_one
    supply = await queue.calls_a_week(work.connection, rules.weekly_cap_default, rules.call_minutes)
    waiting = await work.connection.fetch(queue.FIND_BOARD, PURPOSE, SHOWN)
    active = await bookings.find_active(work.connection, SHOWN)
    why = await rounds.get_explanations(work.connection, [call.call_id for call in active])
    attested = await work.connection.fetch(rounds.FIND_ATTESTED, SHOWN)
    concerns = await work.connection.fetch(rounds.FIND_CONCERNS)
    pairs = [(c.prospect_id, c.volunteer_id) for c in active]
    pairs += [(row["prospect_id"], row["volunteer_id"]) for row in (*attested, *concerns)]
    names = await people.get_people(work.connection, [person_id for pair in pairs for person_id in pair])
    last = await work.connection.fetchrow(rounds.GET_LAST_BATCH)
    total, served = sum(counts.values()), sum(counts.get(state, 0) for state in ("held", "booked", "done"))
    lined_up = counts.get("waiting", 0)
    return BoardOut(
        counts=counts,
        oldest_wait=states["waiting"]["oldest"] if "waiting" in states else None,
        coverage=served / total if total else 0.0,
        calls_a_week=supply,
        weeks_for_the_last=forecast(lined_up - 1, supply).weeks if lined_up else 0,
        last_round={
            "solved_at": last["solved_at"],
            "method": last["method"],
            "candidates": last["candidates"],
            "volunteers": last["volunteers"],
            "proposed": last["proposed"],
            "committed": last["committed"],
            "utility": last["utility"],
            "bound": last["bound"],
            "served": last["detail"]["served"],
            "group_prices": last["detail"]["group_prices"],
        }
        if last is not None
        else None,
        waiting=[
            WaitingOut(
                person_id=row["person_id"],
                first_name=row["first_name"],
                state=row["home_state"],
                office=row["office"],
                languages=row["languages"],
                since=row["since"],
                credit_hours=row["credit_hours"],
                offers=row["offers"],
                silences=row["silences"],
                has_hours=row["has_hours"],
                unmatched=(row["unmatched"] or {}).get("staff"),
            )
            for row in waiting
        ],
        active=[
            BookedOut(
                call_id=call.call_id,
                state=call.state,
                prospect_id=call.prospect_id,
                prospect_name=names[call.prospect_id]["first_name"],
                volunteer_id=call.volunteer_id,
                volunteer_name=names[call.volunteer_id]["first_name"],
                starts_at=call.starts_at,
                ends_at=call.ends_at,
                expires_at=call.hold_expires_at,
                reasons=list(why[call.call_id]["for_staff"]) if call.call_id in why else [],
                parts=why[call.call_id]["parts"] if call.call_id in why else {},
                utility=why[call.call_id]["utility"] if call.call_id in why else None,
                rank=why[call.call_id]["rank"] if call.call_id in why else None,
                feasible=why[call.call_id]["feasible"] if call.call_id in why else None,
                slot_price=why[call.call_id]["slot_price"] if call.call_id in why else None,
            )
            for call in active
        ],
        attested=[
            AttestedOut(
                **row,
                prospect_name=names[row["prospect_id"]]["first_name"],
                volunteer_name=names[row["volunteer_id"]]["first_name"],
            )
            for row in attested
        ],
        concerns=[
            {
                **row,
                "prospect_name": names[row["prospect_id"]]["first_name"],
                "volunteer_name": names[row["volunteer_id"]]["first_name"],
            }
            for row in concerns
        ],
    )  # fmt: skip


@router.get("/v1/matching/board", summary="Who waits, what is held and booked, and why")
async def board_json(request: Request, staff: Staff) -> BoardOut:  # noqa: ARG001 (the role is the check)
    """At most 200 of each: the longest wait, the nearest call and the latest word of a volunteer first."""
    async with begin(request) as work:
        return await read_board(work)


@router.post("/v1/matching/blocks", status_code=201, summary="Keep two people apart")
async def block_json(request: Request, given: BlockIn, staff: Staff) -> dict[str, str]:
    """Holds in both directions, from the next commit on."""
    async with begin(request) as work:
        await _keep_apart(work, staff, given)
    return {"status": "kept_apart"}


@router.delete("/v1/matching/blocks/{person_id}/{other_id}", status_code=204, summary="Let two people meet again")
async def unblock_json(request: Request, person_id: UUID, other_id: UUID, staff: Staff) -> Response:
    """The row as it was entered, in that direction."""
    async with begin(request) as work:
        await _let_meet(work, staff, person_id, other_id)
    return Response(status_code=204)


@router.post("/v1/matching/calls/{call_id}/cancel", summary="Cancel a call for the staff")
async def cancel_json(request: Request, call_id: UUID, staff: Staff) -> dict[str, str]:
    """The prospect goes back in line with credit."""
    async with begin(request) as work:
        await _cancel(work, staff, call_id)
    return {"state": "cancelled"}


@router.post("/v1/matching/concerns/{call_id}/close", summary="A safety concern was dealt with")
async def close_json(request: Request, call_id: UUID, staff: Staff) -> dict[str, str]:
    """It leaves the board; the text stays with the call."""
    async with begin(request) as work:
        await _close_concern(work, staff, call_id)
    return {"status": "closed"}


async def _keep_apart(work: Work, staff: Principal, given: BlockIn) -> None:
    current = await resolve(work.connection, [given.person_id, given.other_id])
    one, other = current[given.person_id], current[given.other_id]
    known = await people.get_people(work.connection, [one, other])
    if one == other or len(known) < 2:
        raise Rejected("people_unknown", _("Give the ids of two people who are known here."), status=422)
    await work.connection.execute(rounds.INSERT_BLOCK, one, other, given.kind, given.note, work.now, staff.person_id)
    await audit.insert_entry(work, staff, "keep_apart", one, {"other": str(other), "kind": given.kind})


async def _let_meet(work: Work, staff: Principal, person_id: UUID, other_id: UUID) -> None:
    if await work.connection.execute(rounds.DELETE_BLOCK, person_id, other_id) == "DELETE 0":
        raise NotFound
    await audit.insert_entry(work, staff, "let_meet", person_id, {"other": str(other_id)})


async def _cancel(work: Work, staff: Principal, call_id: UUID) -> None:
    await calls.cancel(work, call_id, "staff")
    await audit.insert_entry(work, staff, "cancel_call", call_id)


async def _close_concern(work: Work, staff: Principal, call_id: UUID) -> None:
    if await work.connection.fetchval(rounds.CLOSE_CONCERN, call_id, work.now, staff.person_id) is None:
        raise NotFound
    await audit.insert_entry(work, staff, "close_concern", call_id)


@router.get("/matching/board", summary="The match board")
async def board_page(request: Request, staff: Staff) -> Response:
    """Waiting people with reasons, holds and calls with explanations, how calls went, people kept apart, concerns."""
    async with begin(request) as work:
        board = await read_board(work)
        apart = await work.connection.fetch(rounds.FIND_BLOCKS, SHOWN)
        now, program = work.now, work.program
    pages: Pages = request.app.state.pages
    zone = program.organization.time_zone
    return pages.response(
        request,
        "matching/board.html",
        language=pages.page_language(request, staff.language),
        title=_("Matches"),
        current="matches",
        board=board,
        apart=apart,
        now=now,
        zone=zone,
        states=STATES,
        why_waiting=STAFF_WAITING,
        language_names=LANGUAGES,
        offices={office.id: office.label for office in program.offices},
        outcomes={entry.id: entry.label for entry in program.one_on_one.outcomes},
        missed={entry.by: entry.label for entry in program.one_on_one.missed},
        follow_ups=FOLLOW_UPS,
        said={call.call_id: reasons(call.reasons, program) for call in board.active},
        waited={p.person_id: now - p.since + timedelta(hours=p.credit_hours) for p in board.waiting},
    )


def _back(at: At) -> Response:
    return RedirectResponse(f"{at.base}/matching/board", status_code=303)


@router.post("/matching/blocks", summary="Keep two people apart")
async def block_action(request: Request, staff: Staff, at: At) -> Response:
    """From the board's form."""
    form = await request.form()
    try:
        one, other = UUID(value_of(form, "person_id").strip()), UUID(value_of(form, "other_id").strip())
    except ValueError:
        raise Rejected("people_unknown", _("Give the ids of two people who are known here."), status=422) from None
    kind: Literal["block", "conflict"] = "block" if value_of(form, "kind") == "block" else "conflict"
    given = BlockIn(person_id=one, other_id=other, kind=kind, note=value_of(form, "note")[:500])
    async with begin(request) as work:
        await _keep_apart(work, staff, given)
    return _back(at)


@router.post("/matching/blocks/{person_id}/{other_id}/remove", summary="Let two people meet again")
async def unblock_action(request: Request, person_id: UUID, other_id: UUID, staff: Staff, at: At) -> Response:
    """From the board's list."""
    async with begin(request) as work:
        await _let_meet(work, staff, person_id, other_id)
    return _back(at)


@router.post("/matching/calls/{call_id}/cancel", summary="Cancel a call for the staff")
async def cancel_action(request: Request, call_id: UUID, staff: Staff, at: At) -> Response:
    """From the board's list."""
    async with begin(request) as work:
        await _cancel(work, staff, call_id)
    return _back(at)


@router.post("/matching/concerns/{call_id}/close", summary="A safety concern was dealt with")
async def close_action(request: Request, call_id: UUID, staff: Staff, at: At) -> Response:
    """From the board's list."""
    async with begin(request) as work:
        await _close_concern(work, staff, call_id)
    return _back(at)
