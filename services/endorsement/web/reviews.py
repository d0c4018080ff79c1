"""Reviews: conflicts first, then the file, then one's own scorecard, then the others'. /reviews and /v1/reviews."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.endorsement.actions import reviewing
from services.endorsement.actions.actor import REVIEWING, Actor, actor_of
from services.endorsement.actions.reviewing import Dossier
from services.endorsement.domain.review import Refusal, weighted_score
from services.endorsement.store import applications, reviews
from services.endorsement.web.requests import (
    Body,
    Reviewing,
    begin,
    field_errors,
    form_of,
    page,
    program_of,
    see_other,
)
from services.endorsement.web.views import scorecard_json, verdict_json
from shared.errors import Rejected
from shared.program import Program
from shared.web.fields import Field, Option
from shared.web.sessions import Principal
from shared.web.text import Message, _
from shared.work import Work

router = APIRouter(tags=["reviews"])

RECOMMENDATIONS = (("endorse", _("Endorse")), ("decline", _("Decline")), ("unsure", _("Not sure")))


class DeclarationBody(Body):
    """A conflict of interest, or that there is none."""

    has_conflict: bool
    note: str = ""


class ScorecardBody(Body):
    """1 to 5 for each criterion of the program, a recommendation (endorse, decline, unsure) and a comment."""

    scores: dict[str, int]
    recommendation: str
    comment: str = ""


@router.get("/v1/reviews", summary="Applications in review, the oldest first (reviewers)")
async def queue(request: Request, principal: Reviewing) -> dict[str, Any]:
    async with begin(request) as work:
        await actor_of(work, principal, needs=REVIEWING)
        return {"applications": [_queued(row) for row in await applications.find_queue(work.connection)]}


@router.get("/v1/reviews/{application_id}", summary="A file, once no conflict is declared (reviewers)")
async def one(request: Request, principal: Reviewing, application_id: UUID) -> dict[str, Any]:
    async with begin(request) as work:
        actor, dossier, refusal = await reviewing.read_file(work, principal, application_id)
        verdict = await applications.get_verdict(work.connection, application_id)
        recused = await reviews.find_recusals(work.connection, application_id)
        return _file_json(work.program, actor, dossier, refusal, verdict) | {"recused": len(recused)}


@router.post("/v1/reviews/{application_id}/declaration", summary="Declare a conflict of interest or none")
async def declare(
    request: Request, principal: Reviewing, application_id: UUID, body: DeclarationBody
) -> dict[str, Any]:
    async with begin(request) as work:
        await reviewing.declare(work, principal, application_id, body.note, has_conflict=body.has_conflict)
    return {"application_id": application_id, "has_conflict": body.has_conflict}


@router.post("/v1/reviews/{application_id}/scorecard", status_code=201, summary="Hand in a scorecard, once")
async def score(request: Request, principal: Reviewing, application_id: UUID, body: ScorecardBody) -> dict[str, Any]:
    async with begin(request) as work:
        scorecard_id = await reviewing.score(
            work, principal, application_id, body.scores, body.recommendation, body.comment
        )
    return {"scorecard_id": scorecard_id}


def _queued(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "application_id": row["id"],
        "status": row["status"],
        "version": row["version"],
        "application_class": row["application_class"],
        "office": row["office"],
        "state": row["state"],
        "district": row["district"],
        "election_date": row["election_date"],
        "submitted_at": row["submitted_at"],
        "answer_by": row["answer_by"],
        "scorecards": row["scorecards"],
    }


def _file_json(
    program: Program, actor: Actor, dossier: Dossier, refusal: Refusal | None, verdict: Mapping[str, Any] | None
) -> dict[str, Any]:
    standing = dossier.standing
    summary = {
        "application_id": dossier.application.id,
        "status": dossier.application.status,
        "open": refusal is None,
        "closed_because": None if refusal is None else {"code": refusal.code, "detail": str(refusal.sentence)},
        "quorum": {
            "scorecards": standing.counted,
            "outside": standing.outside,
            "size": standing.quorum_size,
            "outside_needed": standing.quorum_outside,
            "reached": standing.has_quorum,
        },
    }
    if refusal is not None:
        return summary
    visible = dossier.visible(actor.person_id)
    return summary | {
        "candidacy": {
            "office": dossier.candidacy.office,
            "state": dossier.candidacy.state,
            "district": dossier.candidacy.district,
            "election_date": dossier.candidacy.election_date,
            "ballot_name": dossier.candidacy.ballot_name,
        },
        "answers": dossier.application.answers,
        "eligibility": verdict_json(verdict, program.languages),
        "scored": dossier.has_scored(actor.person_id),
        "scorecards": [scorecard_json(row) for row in visible],
        "mean_score": standing.mean_score if visible else None,
    }


# ---------------------------------------------------------------- pages


@router.get("/reviews", include_in_schema=False)
async def queue_page(request: Request, principal: Reviewing) -> Response:
    async with begin(request) as work:
        await actor_of(work, principal, needs=REVIEWING)
        rows = await applications.find_queue(work.connection)
        program, now = work.program, work.now
    listed = [(row, program.office(row["office"]).label) for row in rows]
    waiting = [(row, office) for row, office in listed if row["status"] == "in_review"]
    return page(
        request,
        "reviews.html",
        principal,
        title=_("Applications to review"),
        current="reviews",
        waiting=waiting,
        open_facts=[(row, office) for row, office in listed if row["status"] == "undetermined"],
        quorum=program.scorecard.quorum,
        now=now,
    )


@router.get("/reviews/{application_id}", include_in_schema=False)
async def file_page(request: Request, principal: Reviewing, application_id: UUID) -> Response:
    return await _file_page(request, principal, application_id, {}, {})


@router.post("/reviews/{application_id}/declaration", include_in_schema=False)
async def declare_post(request: Request, principal: Reviewing, application_id: UUID) -> Response:
    form = await form_of(request)
    if form.get("conflict") not in ("yes", "no"):
        errors = {"conflict": _("Say whether you have a conflict of interest.")}
        return await _file_page(request, principal, application_id, form, errors, status=422)
    async with begin(request) as work:
        await reviewing.declare(
            work, principal, application_id, str(form.get("note", "")), has_conflict=form["conflict"] == "yes"
        )
    return see_other(f"/reviews/{application_id}")


@router.post("/reviews/{application_id}/scorecard", include_in_schema=False)
async def score_post(request: Request, principal: Reviewing, application_id: UUID) -> Response:
    form = await form_of(request)
    scores: dict[str, int] = {}
    errors: dict[str, Message] = {}
    for criterion in program_of(request).scorecard.criteria:
        typed = str(form.get(f"score-{criterion.id}", ""))
        if typed in ("1", "2", "3", "4", "5"):
            scores[criterion.id] = int(typed)
        else:
            errors[f"score-{criterion.id}"] = _("Choose a score from 1 to 5.")
    if errors:
        return await _file_page(request, principal, application_id, form, errors, status=422)
    try:
        async with begin(request) as work:
            await reviewing.score(
                work,
                principal,
                application_id,
                scores,
                str(form.get("recommendation", "")),
                str(form.get("comment", "")),
            )
    except Rejected as no:
        return await _file_page(request, principal, application_id, form, field_errors(no), status=422)
    return see_other(f"/reviews/{application_id}")


async def _file_page(
    request: Request,
    principal: Principal,
    application_id: UUID,
    values: Mapping[str, Any],
    errors: Mapping[str, Message],
    *,
    status: int = 200,
) -> Response:
    async with begin(request) as work:
        actor, dossier, refusal = await reviewing.read_file(work, principal, application_id)
        context = await _context(work, actor, dossier, refusal)
    return page(
        request,
        "review.html",
        principal,
        status=status,
        title=_("Application from %(state)s", state=dossier.candidacy.state),
        current="reviews",
        values=values,
        errors=errors,
        **context,
    )


async def _context(work: Work, actor: Actor, dossier: Dossier, refusal: Refusal | None) -> dict[str, Any]:
    program = work.program
    criteria = program.scorecard.criteria
    verdict = await applications.get_verdict(work.connection, dossier.application.id)
    cards = [
        {
            "outside": row["outside"],
            "mine": row["reviewer_id"] == actor.person_id,
            "total": weighted_score(criteria, row["scores"]) / 100,
            "scores": row["scores"],
            "recommendation": dict(RECOMMENDATIONS)[row["recommendation"]],
            "comment": row["comment"],
        }
        for row in (dossier.visible(actor.person_id) if refusal is None else [])
    ]
    return {
        "dossier": dossier,
        "refusal": refusal,
        "office": program.office(dossier.candidacy.office).label,
        "questions": program.application.fields,
        "criteria": criteria,
        "verdict": verdict_json(verdict, program.languages),
        "scored": dossier.has_scored(actor.person_id),
        "cards": cards,
        "can_decide": actor.decides,
        "declare_fields": _declare_fields(),
        "score_fields": _score_fields(program),
    }


def _declare_fields() -> list[Field]:
    return [
        Field(
            name="conflict",
            kind="radios",
            label=_("Do you have a conflict of interest?"),
            hint=_("You know the person, worked for them or an opponent, gave money, or could gain from the result."),
            options=[
                Option("no", _("No, I can judge this fairly")),
                Option("yes", _("Yes, somebody else should review it")),
            ],
        ),
        Field(name="note", kind="textarea", label=_("Anything to add"), required=False, rows=3, max_length=4000),
    ]


def _score_fields(program: Program) -> list[Field]:
    marks = [
        Option("1", _("1, weak")),
        Option("2", "2"),
        Option("3", "3"),
        Option("4", "4"),
        Option("5", _("5, strong")),
    ]
    scores = [
        Field(name=f"score-{entry.id}", kind="radios", label=entry.label, hint=entry.help, options=marks)
        for entry in program.scorecard.criteria
    ]
    return [
        *scores,
        Field(
            name="recommendation",
            kind="radios",
            label=_("What do you recommend?"),
            options=[Option(code, label) for code, label in RECOMMENDATIONS],
        ),
        Field(
            name="comment",
            kind="textarea",
            label=_("Why"),
            required=False,
            rows=5,
            max_length=4000,
            hint=_("Other reviewers read this once they have scored. The candidate does not."),
        ),
    ]
