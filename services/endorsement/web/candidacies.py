"""Candidacies: declared by the candidate, verified by staff. Pages under /candidacy, JSON under /v1/candidacies."""

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.endorsement.actions import filing
from services.endorsement.actions.actor import DECIDING, actor_of, local_day
from services.endorsement.domain.candidacy import RETURN_REASONS, STATES, Declared, read_declared
from services.endorsement.store import applications, decisions
from services.endorsement.store import candidacies as store
from services.endorsement.store.candidacies import Candidacy
from services.endorsement.web.requests import (
    Body,
    Deciding,
    SignedIn,
    begin,
    field_errors,
    form_of,
    language_of,
    page,
    program_of,
    see_other,
)
from services.endorsement.web.views import candidacy_json
from shared.errors import Rejected
from shared.web.fields import Field, FieldErrors, Option, read_date
from shared.web.sessions import Principal
from shared.web.text import Message, _
from shared.work import Work

router = APIRouter(tags=["candidacies"])

TEXTS = ("office", "state", "district", "term", "ballot_name", "official_link")
DATES = ("election_date", "filed_on")


class CandidacyBody(Body):
    """A candidacy as its candidate declares it."""

    office: str
    state: str
    district: str | None = None
    election_date: date
    term: str
    ballot_name: str
    official_link: str
    filed_on: date


class ReturnBody(Body):
    """Why a filing goes back; the note is shown to the candidate."""

    reason: str
    note: str = ""


@router.post("/v1/candidacies", status_code=201, summary="Declare a candidacy")
async def create(request: Request, principal: SignedIn, body: CandidacyBody) -> dict[str, Any]:
    async with begin(request) as work:
        candidacy_id = await filing.declare(work, principal, _from_body(work, body), language_of(request, principal))
        return candidacy_json(await store.get_candidacy(work.connection, candidacy_id))


@router.get("/v1/candidacies", summary="My candidacies, newest first")
async def mine(request: Request, principal: SignedIn) -> dict[str, Any]:
    async with begin(request) as work:
        actor = await actor_of(work, principal)
        rows = await store.find_candidacies(work.connection, actor.person_id)
        return {"candidacies": [candidacy_json(row) for row in rows]}


@router.get("/v1/candidacies/to-verify", summary="Filings that wait for a check, oldest first (staff)")
async def to_verify(request: Request, principal: Deciding) -> dict[str, Any]:
    async with begin(request) as work:
        await actor_of(work, principal, needs=DECIDING)
        rows = await store.find_to_verify(work.connection)
        return {"candidacies": [candidacy_json(row) for row in rows]}


@router.get("/v1/candidacies/{candidacy_id}", summary="One of my candidacies, with its applications")
async def one(request: Request, principal: SignedIn, candidacy_id: UUID) -> dict[str, Any]:
    async with begin(request) as work:
        actor = await actor_of(work, principal)
        candidacy = await filing.own_candidacy(work, actor, candidacy_id)
        rows = await applications.find_applications(work.connection, candidacy_id)
        listed = [{"application_id": row.id, "version": row.version, "status": row.status} for row in rows]
        return candidacy_json(candidacy) | {"applications": listed}


@router.put("/v1/candidacies/{candidacy_id}", summary="Correct a candidacy until it is verified")
async def change(request: Request, principal: SignedIn, candidacy_id: UUID, body: CandidacyBody) -> dict[str, Any]:
    async with begin(request) as work:
        await filing.edit(work, principal, candidacy_id, _from_body(work, body))
        return candidacy_json(await store.get_candidacy(work.connection, candidacy_id))


@router.post("/v1/candidacies/{candidacy_id}/withdrawal", summary="Take an unverified candidacy back")
async def withdraw(request: Request, principal: SignedIn, candidacy_id: UUID) -> dict[str, Any]:
    async with begin(request) as work:
        await filing.withdraw(work, principal, candidacy_id)
        return candidacy_json(await store.get_candidacy(work.connection, candidacy_id))


@router.post("/v1/candidacies/{candidacy_id}/confirmation", summary="Confirm a filing (staff, not the applicant)")
async def confirm(request: Request, principal: Deciding, candidacy_id: UUID) -> dict[str, Any]:
    async with begin(request) as work:
        await filing.verify(work, principal, candidacy_id)
        return candidacy_json(await store.get_candidacy(work.connection, candidacy_id))


@router.post("/v1/candidacies/{candidacy_id}/return", summary="Return a filing with a reason (staff)")
async def send_back(request: Request, principal: Deciding, candidacy_id: UUID, body: ReturnBody) -> dict[str, Any]:
    async with begin(request) as work:
        await filing.return_filing(work, principal, candidacy_id, body.reason, body.note)
        return candidacy_json(await store.get_candidacy(work.connection, candidacy_id))


def _from_body(work: Work, body: CandidacyBody) -> Declared:
    values = {name: getattr(body, name) for name in TEXTS}
    dates = {name: getattr(body, name) for name in DATES}
    return _checked(work, values, dates, {})


def _checked(
    work: Work, values: Mapping[str, str | None], dates: Mapping[str, date | None], found: Mapping[str, Message]
) -> Declared:
    today = local_day(work.program, work.now)
    declared, errors = read_declared(values, dates, work.program, today)
    errors |= found
    if declared is None or errors:
        raise Rejected("invalid", _("Correct what is marked, then send it again."), status=422, fields=errors)
    return declared


# ---------------------------------------------------------------- pages


@router.get("/candidacy", summary="Page: my candidacies and what comes next", include_in_schema=False)
async def list_page(request: Request, principal: SignedIn) -> Response:
    async with begin(request) as work:
        actor = await actor_of(work, principal)
        cards = [await _card(work, row) for row in await store.find_candidacies(work.connection, actor.person_id)]
    return page(request, "candidacies.html", principal, title=_("Your candidacies"), cards=cards)


async def _card(work: Work, row: Candidacy) -> dict[str, Any]:
    latest = next(iter(await applications.find_applications(work.connection, row.id)), None)
    decision = await decisions.get_decision_of(work.connection, latest.id) if latest else None
    public = await decisions.get_endorsement_of(work.connection, decision.id) if decision else None
    return {
        "row": row,
        "office": work.program.office(row.office).label,
        "return_reason": RETURN_REASONS.get(row.return_reason or ""),
        "application": latest,
        "decision": decision,
        "endorsement": public,
        "may_apply_from": decision.reapply_from if decision and decision.outcome == "decline" else None,
        "today": local_day(work.program, work.now),
    }


@router.get("/candidacy/new", include_in_schema=False)
async def new_page(request: Request, principal: SignedIn) -> Response:
    return _form(request, principal, None, {"ballot_name": ""}, {})


@router.post("/candidacy/new", include_in_schema=False)
async def new_post(request: Request, principal: SignedIn) -> Response:
    form = await form_of(request)
    try:
        async with begin(request) as work:
            await filing.declare(work, principal, _from_form(work, form), language_of(request, principal))
    except Rejected as no:
        return _form(request, principal, None, form, field_errors(no), status=422)
    return see_other("/candidacy")


@router.get("/candidacy/{candidacy_id}/edit", include_in_schema=False)
async def edit_page(request: Request, principal: SignedIn, candidacy_id: UUID) -> Response:
    async with begin(request) as work:
        candidacy = await filing.own_candidacy(work, await actor_of(work, principal), candidacy_id)
    if candidacy.status not in ("declared", "returned"):
        return see_other("/candidacy")
    values: dict[str, Any] = {name: getattr(candidacy, name) or "" for name in TEXTS}
    for name in DATES:
        day: date = getattr(candidacy, name)
        values |= {f"{name}-year": day.year, f"{name}-month": day.month, f"{name}-day": day.day}
    return _form(request, principal, candidacy_id, values, {})


@router.post("/candidacy/{candidacy_id}/edit", include_in_schema=False)
async def edit_post(request: Request, principal: SignedIn, candidacy_id: UUID) -> Response:
    form = await form_of(request)
    try:
        async with begin(request) as work:
            await filing.edit(work, principal, candidacy_id, _from_form(work, form))
    except Rejected as no:
        return _form(request, principal, candidacy_id, form, field_errors(no), status=422)
    return see_other("/candidacy")


@router.post("/candidacy/{candidacy_id}/withdraw", include_in_schema=False)
async def withdraw_post(request: Request, principal: SignedIn, candidacy_id: UUID) -> Response:
    async with begin(request) as work:
        await filing.withdraw(work, principal, candidacy_id)
    return see_other("/candidacy")


def _from_form(work: Work, form: Mapping[str, Any]) -> Declared:
    errors = FieldErrors()
    dates = {name: read_date(form, name, errors) for name in DATES}
    found = {name: text for name, text in errors.items() if isinstance(text, Message)}
    return _checked(work, {name: form.get(name) for name in TEXTS}, dates, found)


def _form(
    request: Request,
    principal: Principal,
    candidacy_id: UUID | None,
    values: Mapping[str, Any],
    errors: Mapping[str, Message],
    *,
    status: int = 200,
) -> Response:
    return page(
        request,
        "candidacy_form.html",
        principal,
        status=status,
        title=_("Tell us you filed"),
        intro=_("You are on your way to the ballot. Somebody here checks the official list; then you can apply."),
        action=f"/candidacy/{candidacy_id}/edit" if candidacy_id else "/candidacy/new",
        back="/candidacy",
        form_fields=_fields(request),
        values=values,
        errors=errors,
        hidden_values={},
        submit_label=_("Send for a check"),
    )


def _fields(request: Request) -> list[Field]:
    offices = [Option(office.id, office.label) for office in program_of(request).offices]
    return [
        Field(name="office", kind="select", label=_("Office"), options=offices),
        Field(name="state", kind="select", label=_("State"), options=[Option(code, code) for code in STATES]),
        Field(
            name="district",
            kind="text",
            label=_("District, ward or seat"),
            required=False,
            max_length=80,
            hint=_("Leave empty if the whole city, county or state votes."),
        ),
        Field(name="election_date", kind="date", label=_("Day of the election")),
        Field(name="term", kind="text", label=_("Term"), hint=_("For example 2026–2030."), width=20, max_length=40),
        Field(
            name="ballot_name",
            kind="text",
            label=_("Your name on the ballot"),
            max_length=120,
            hint=_("We publish it only if you agree later."),
        ),
        Field(
            name="official_link",
            kind="url",
            label=_("Link to the official list of candidates"),
            max_length=500,
            hint=_("The page of the election office that shows your name. Please send no scans or photographs."),
        ),
        Field(name="filed_on", kind="date", label=_("Day you filed")),
    ]
