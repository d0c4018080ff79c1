"""The public list of endorsements, and the staff's pages: filings, decisions, announcements, rescissions, replay."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from services.endorsement.actions import deciding, filing
from services.endorsement.actions.actor import DECIDING, actor_of
from services.endorsement.actions.reviewing import load_dossier
from services.endorsement.domain.candidacy import RESCISSION_REASONS, RETURN_REASONS, STATES
from services.endorsement.store import candidacies, decisions
from services.endorsement.web.applications import replayed
from services.endorsement.web.requests import Deciding, begin, form_of, page, program_of, see_other
from shared.errors import Rejected
from shared.web.sessions import current
from shared.web.text import Message, _

router = APIRouter(include_in_schema=False)

PAGE_SIZE = 50


@router.get("/endorsements")
async def public_list(
    request: Request,
    state: Annotated[str, Query(max_length=2)] = "",
    office: Annotated[str, Query(max_length=40)] = "",
    year: Annotated[str, Query(max_length=4)] = "",
    before: Annotated[str, Query(max_length=80)] = "",
) -> Response:
    program = program_of(request)
    moment, _comma, last = before.partition(",")
    try:
        place = (datetime.fromisoformat(moment), UUID(last)) if before else None
    except ValueError:
        place = None
    async with begin(request) as work:
        rows = await decisions.find_endorsements(
            work.connection,
            state=state if state in STATES else None,
            office=office if office in [entry.id for entry in program.offices] else None,
            year=int(year) if year.isascii() and year.isdigit() else None,
            before=place,
            limit=PAGE_SIZE + 1,
        )
    shown, more = rows[:PAGE_SIZE], len(rows) > PAGE_SIZE
    labels = {entry.id: entry.label for entry in program.offices}
    older = None
    if more:
        at = f"{shown[-1].announced_at.isoformat()},{shown[-1].id}"
        older = str(request.url.include_query_params(before=at).replace(scheme="", netloc=""))
    principal = current(request)
    return page(
        request,
        "endorsements.html",
        principal,
        title=_("Whom we endorse"),
        rows=shown,
        older=older,
        labels=labels,
        states=STATES,
        offices=program.offices,
        values={"state": state, "office": office, "year": year},
    )


@router.get("/endorsements/staff")
async def staff_page(request: Request, principal: Deciding) -> Response:
    async with begin(request) as work:
        actor = await actor_of(work, principal, needs=DECIDING)
        context: dict[str, Any] = {
            "filings": await candidacies.find_to_verify(work.connection),
            "to_announce": await decisions.find_to_announce(work.connection),
            "to_confirm": await decisions.find_to_confirm(work.connection),
            "announced": await decisions.find_endorsements(work.connection, limit=PAGE_SIZE),
            "now": work.now,
        }
    program = program_of(request)
    return page(
        request,
        "endorsements_staff.html",
        principal,
        title=_("Endorsements"),
        current="endorsements",
        labels={entry.id: entry.label for entry in program.offices},
        return_reasons=RETURN_REASONS,
        rescission_reasons=RESCISSION_REASONS,
        is_admin="admin" in actor.roles,
        me=actor.person_id,
        zone=program.organization.time_zone,
        **context,
    )


@router.get("/endorsements/replay")
async def replay_page(request: Request, principal: Deciding, version: str = "") -> Response:
    program = program_of(request)
    versions = [rules.version for rules in program.eligibility]
    result = None
    if version in versions:
        async with begin(request) as work:
            result = await replayed(work, principal, version)
    return page(
        request,
        "replay.html",
        principal,
        title=_("Who would flip under other rules?"),
        current="endorsements",
        versions=versions,
        version=version,
        result=result,
    )


@router.get("/endorsements/decide/{application_id}")
async def decide_page(request: Request, principal: Deciding, application_id: UUID) -> Response:
    return await _decide(request, principal, application_id, {}, {})


@router.post("/endorsements/decide/{application_id}")
async def decide_post(request: Request, principal: Deciding, application_id: UUID) -> Response:
    form = await form_of(request)
    outcome = str(form.get("outcome", ""))
    try:
        until = _moment(request, str(form.get("embargo_until", "")))
        async with begin(request) as work:
            await deciding.decide(
                work,
                principal,
                application_id,
                outcome,
                reason=str(form.get("reason", "")) or None,
                note=str(form.get("note", "")),
                embargo_until=until if outcome == "endorse" else None,
            )
    except Rejected as no:
        errors = dict(no.fields) or {"outcome": no.message}
        return await _decide(request, principal, application_id, form, errors, status=no.status)
    return see_other("/endorsements/staff")


def _moment(request: Request, text: str) -> datetime | None:
    """A local date and time of the organization's zone, as the browser's control sends it."""
    if not text.strip():
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(program_of(request).organization.time_zone))
    except ValueError:
        sentence = _("Enter a date and a time, like 2026-11-05 09:00.")
        raise Rejected("invalid", sentence, status=422, fields={"embargo_until": sentence}) from None


async def _decide(
    request: Request,
    principal: Deciding,
    application_id: UUID,
    values: Mapping[str, Any],
    errors: Mapping[str, Message],
    *,
    status: int = 200,
) -> Response:
    async with begin(request) as work:
        actor = await actor_of(work, principal, needs=DECIDING)
        dossier = await load_dossier(work, application_id, actor)
        program = work.program
    return page(
        request,
        "decide.html",
        principal,
        status=status,
        title=_("Decide"),
        current="reviews",
        dossier=dossier,
        office=program.office(dossier.candidacy.office).label,
        reasons=program.scorecard.decline_reasons,
        embargo=program.scorecard.embargo,
        zone=program.organization.time_zone,
        values=values,
        errors=errors,
    )


@router.post("/endorsements/filings/{candidacy_id}/{act}")
async def filing_post(request: Request, principal: Deciding, candidacy_id: UUID, act: str) -> Response:
    form = await form_of(request)
    async with begin(request) as work:
        if act == "confirm":
            await filing.verify(work, principal, candidacy_id)
        elif act == "return":
            await filing.return_filing(
                work, principal, candidacy_id, str(form.get("reason", "")), str(form.get("note", ""))
            )
        else:
            raise Rejected("unknown_act", _("There is no such act. Reload the page and use its buttons."), status=404)
    return see_other("/endorsements/staff")


@router.post("/endorsements/decisions/{decision_id}/{act}")
async def announcement_post(request: Request, principal: Deciding, decision_id: UUID, act: str) -> Response:
    async with begin(request) as work:
        if act == "approve":
            await deciding.approve(work, principal, decision_id)
        elif act == "announce":
            await deciding.announce(work, principal, decision_id)
        else:
            raise Rejected("unknown_act", _("There is no such act. Reload the page and use its buttons."), status=404)
    return see_other("/endorsements/staff")


@router.post("/endorsements/{endorsement_id}/{act}")
async def rescission_post(request: Request, principal: Deciding, endorsement_id: UUID, act: str) -> Response:
    form = await form_of(request)
    async with begin(request) as work:
        if act == "rescind":
            await deciding.request_rescission(
                work, principal, endorsement_id, str(form.get("reason", "")), str(form.get("note", ""))
            )
        elif act == "confirm":
            await deciding.confirm_rescission(work, principal, endorsement_id)
        elif act == "drop":
            await deciding.drop_rescission(work, principal, endorsement_id)
        else:
            raise Rejected("unknown_act", _("There is no such act. Reload the page and use its buttons."), status=404)
    return see_other("/endorsements/staff")


@router.get("/endorsements/{endorsement_id}")
async def public_page(request: Request, endorsement_id: UUID) -> Response:
    async with begin(request) as work:
        row = await decisions.get_endorsement(work.connection, endorsement_id)
        office = work.program.office(row.office).label
    return page(request, "endorsement.html", current(request), title=row.ballot_name, row=row, office=office)
