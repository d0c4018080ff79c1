"""Applications in JSON: drafts, handing in, missing facts, consent to publish, and replay under other rules."""

from datetime import date
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import Field as Bounded

from services.endorsement.actions import applying
from services.endorsement.actions.actor import DECIDING, actor_of
from services.endorsement.actions.applying import Typed
from services.endorsement.domain.answers import read_answers
from services.endorsement.domain.eligibility import Facts, Verdict, evaluate
from services.endorsement.store import applications as store
from services.endorsement.store import decisions
from services.endorsement.web.requests import Body, Deciding, SignedIn, begin, program_of
from services.endorsement.web.views import application_json
from shared.directory import Profile
from shared.errors import NotFound, Rejected
from shared.program import Program, UnknownId
from shared.web.sessions import Principal
from shared.web.text import _
from shared.work import Work

router = APIRouter(tags=["applications"])


class StartBody(Body):
    """For which candidacy to apply."""

    candidacy_id: UUID


Year = Annotated[int, Bounded(ge=1, le=9999)]
"""A year that can be kept; whether somebody can have been born in it is judged when the draft is handed in."""


class DraftBody(Body):
    """A draft. `answers` by the program's field ids: money in whole cents, statements as a list of affirmed ids."""

    answers: dict[str, Any]
    application_class: str | None = None
    birth_year: Year | None = None
    birth_date: date | None = None
    publish_consent: bool = False


class FactsBody(Body):
    """A fact that the rules lacked."""

    birth_year: Year | None = None
    birth_date: date | None = None


class ConsentBody(Body):
    """Whether the ballot name may be published."""

    granted: bool


@router.post("/v1/applications", status_code=201, summary="Begin an application, or find the draft")
async def create(request: Request, principal: SignedIn, body: StartBody) -> dict[str, Any]:
    async with begin(request) as work:
        application_id = await applying.start(work, principal, body.candidacy_id)
        return await shown(work, application_id)


@router.get("/v1/applications/replay", summary="Who flips under another version of the rules (staff)")
async def replay(request: Request, principal: Deciding, version: str) -> dict[str, Any]:
    async with begin(request) as work:
        return await replayed(work, principal, version)


@router.get("/v1/applications/{application_id}", summary="My application")
async def one(request: Request, principal: SignedIn, application_id: UUID) -> dict[str, Any]:
    async with begin(request) as work:
        await applying.own_application(work, await actor_of(work, principal), application_id)
        return await shown(work, application_id)


@router.put("/v1/applications/{application_id}", summary="Save a draft, whatever state it is in")
async def save(request: Request, principal: SignedIn, application_id: UUID, body: DraftBody) -> dict[str, Any]:
    program = program_of(request)
    check_class(program, body.application_class)
    answers, errors = read_answers(program.application, body.answers)
    unknown = {name: text for name, text in errors.items() if name not in answers}
    if unknown:
        raise Rejected("invalid", _("Correct what is marked, then send it again."), status=422, fields=unknown)
    typed = Typed(answers, body.application_class, body.birth_year, body.birth_date, body.publish_consent)
    async with begin(request) as work:
        await applying.save(work, principal, application_id, typed)
        return await shown(work, application_id)


@router.post("/v1/applications/{application_id}/submission", summary="Hand the draft in; it is fixed and judged")
async def submit(request: Request, principal: SignedIn, application_id: UUID) -> dict[str, Any]:
    profile = await profile_of(request, principal)
    async with begin(request) as work:
        await applying.submit(work, principal, application_id, profile)
        return await shown(work, application_id)


@router.post("/v1/applications/{application_id}/facts", summary="Supply a fact that the rules lacked")
async def supply(request: Request, principal: SignedIn, application_id: UUID, body: FactsBody) -> dict[str, Any]:
    profile = await profile_of(request, principal)
    async with begin(request) as work:
        await applying.supply_facts(work, principal, application_id, profile, body.birth_year, body.birth_date)
        return await shown(work, application_id)


@router.put("/v1/applications/{application_id}/publish-consent", summary="Agree to publish the ballot name, or not")
async def consent(request: Request, principal: SignedIn, application_id: UUID, body: ConsentBody) -> dict[str, Any]:
    async with begin(request) as work:
        await applying.set_consent(work, principal, application_id, granted=body.granted)
        return await shown(work, application_id)


def check_class(program: Program, chosen: str | None) -> None:
    """Refuse a class that the program does not have."""
    if chosen is not None and chosen not in [entry.id for entry in program.application.classes]:
        raise Rejected("invalid", _("Choose a round that is open."), status=422,
                       fields={"application_class": _("Choose a round that is open.")})  # fmt: skip


async def profile_of(request: Request, principal: Principal) -> Profile | None:
    """The signed-in person's profile, read before any transaction."""
    profile: Profile | None = await request.app.state.profiles.read(principal.person_id)
    return profile


async def shown(work: Work, application_id: UUID) -> dict[str, Any]:
    """The application with its verdict and decision."""
    row = await store.get_application(work.connection, application_id)
    verdict = await store.get_verdict(work.connection, application_id)
    decision = await decisions.get_decision_of(work.connection, application_id)
    return application_json(row, work.program, verdict, decision)


async def replayed(work: Work, principal: Principal, version: str) -> dict[str, Any]:
    """Every submitted application's stored facts judged under another version; only those that flip are listed."""
    await actor_of(work, principal, needs=DECIDING)
    try:
        rules = work.program.eligibility_version(version)
    except UnknownId:
        raise NotFound(_("The program has no such version of the rules. Choose one from the list.")) from None
    flips, rows = [], await store.find_verdicts(work.connection)
    for row in rows:
        before = Verdict.from_dict(row["verdict"])
        after = evaluate(rules, Facts.from_dict(row["verdict"]["facts"]), work.now)
        if before.outcome != after.outcome:
            flips.append(
                {
                    "application_id": row["id"],
                    "candidacy_id": row["candidacy_id"],
                    "status": row["status"],
                    "rule_version": before.rule_version,
                    "before": before.outcome,
                    "after": after.outcome,
                    "codes": [check.code for check in after.checks if check.passed is not True],
                }
            )
    return {"version": version, "applications": len(rows), "flips": flips}
