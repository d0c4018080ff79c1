"""What notifications asks for at the moment of sending: facts of a message, or that it no longer applies."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request

from services.endorsement.actions.actor import is_same
from services.endorsement.actions.deciding import next_chance
from services.endorsement.store import applications, candidacies, decisions
from services.endorsement.store.applications import Application
from services.endorsement.store.candidacies import Candidacy
from services.endorsement.web.requests import begin
from services.endorsement.web.views import verdict_json
from shared import messages
from shared.errors import NotFound
from shared.messages import Answer, Answers, Item
from shared.web.internal import record_access, require_scope
from shared.work import Work

router = APIRouter(tags=["internal"])

Ask = Callable[[Request, Work, Item, UUID], Awaitable[messages.Data | str]]


@router.post(messages.PATH, summary="Facts of messages, by template and reference")
async def message_data(
    request: Request, body: messages.Request, caller: Annotated[str, Depends(require_scope(messages.SCOPE))]
) -> Answers:
    """An item whose reference is unknown, somebody else's, or past its moment is answered `gone`."""
    async with begin(request) as work:
        await record_access(work.connection, caller, messages.SCOPE, len(body.items))
        return Answers(items=tuple([await _answer(request, work, item) for item in body.items]))


async def _answer(request: Request, work: Work, item: Item) -> Answer:
    ask = TEMPLATES.get(item.template)
    if ask is None:
        return Answer(id=item.id, status="gone", reason="unknown_template")
    try:
        found = await ask(request, work, item, UUID(item.reference))
    except (NotFound, ValueError):
        return Answer(id=item.id, status="gone", reason="unknown_reference")
    return Answer(id=item.id, status="gone", reason=found) if isinstance(found, str) else found.answer(item)


def _race(request: Request, row: Candidacy, application: Application | None = None) -> dict[str, Any]:
    base = request.app.state.public_url
    path = f"/applications/{application.id}" if application else "/candidacy"
    return {"office": row.office, "state": row.state, "district": row.district, "page_url": f"{base}{path}"}


async def _candidacy(work: Work, item: Item, candidacy_id: UUID) -> Candidacy:
    row = await candidacies.get_candidacy(work.connection, candidacy_id)
    if not await is_same(work, row.person_id, item.person_id):
        raise NotFound
    return row


async def _application(work: Work, item: Item, application_id: UUID) -> tuple[Candidacy, Application]:
    row = await applications.get_application(work.connection, application_id)
    return await _candidacy(work, item, row.candidacy_id), row


async def _is_superseded(work: Work, application: Application) -> bool:
    latest = (await applications.find_applications(work.connection, application.candidacy_id))[0]
    return latest.id != application.id


async def filing_confirmed(request: Request, work: Work, item: Item, reference: UUID) -> messages.Data | str:
    row = await _candidacy(work, item, reference)
    if row.status != "confirmed":
        return "no_longer_confirmed"
    return messages.FilingConfirmed(**_race(request, row))


async def filing_returned(request: Request, work: Work, item: Item, reference: UUID) -> messages.Data | str:
    row = await _candidacy(work, item, reference)
    if row.status != "returned":
        return "no_longer_returned"
    assert row.return_reason is not None
    return messages.FilingReturned(reason=row.return_reason, note=row.return_note, **_race(request, row))


async def application_received(request: Request, work: Work, item: Item, reference: UUID) -> messages.Data | str:
    row, application = await _application(work, item, reference)
    if application.answer_by is None:
        return "not_submitted"
    if application.status in ("endorsed", "declined") or await _is_superseded(work, application):
        return "already_answered"
    return messages.ApplicationReceived(answer_by=application.answer_by, **_race(request, row, application))


async def eligibility_result(request: Request, work: Work, item: Item, reference: UUID) -> messages.Data | str:
    row, application = await _application(work, item, reference)
    verdict = await applications.get_verdict(work.connection, reference)
    if verdict is None:
        return "not_submitted"
    if await _is_superseded(work, application):
        return "superseded"
    shown = verdict_json(verdict, work.program.languages)
    assert shown is not None
    checks = [
        {"code": told["code"], "passed": told["passed"], "params": kept["params"], "text": told["text"]}
        for told, kept in zip(shown["checks"], verdict["checks"], strict=True)
    ]
    return messages.EligibilityResult(
        outcome=verdict["outcome"],
        rule_version=verdict["rule_version"],
        checks=tuple(checks),
        **_race(request, row, application),
    )


async def decision_endorsed(request: Request, work: Work, item: Item, reference: UUID) -> messages.Data | str:
    row, application = await _application(work, item, reference)
    decision = await decisions.get_decision_of(work.connection, reference)
    if decision is None or decision.embargo_until is None:
        return "not_endorsed"
    if await decisions.get_endorsement_of(work.connection, decision.id) is not None:
        return "announced"
    return messages.DecisionEndorsed(embargo_until=decision.embargo_until, **_race(request, row, application))


async def decision_declined(request: Request, work: Work, item: Item, reference: UUID) -> messages.Data | str:
    row, application = await _application(work, item, reference)
    decision = await decisions.get_decision_of(work.connection, reference)
    if decision is None or decision.reason is None:
        return "not_declined"
    if await _is_superseded(work, application):
        return "superseded"
    return messages.DecisionDeclined(
        reason=decision.reason,
        reapply_from=next_chance(decision, row.election_date),
        **_race(request, row, application),
    )


async def endorsement_announced(request: Request, work: Work, item: Item, reference: UUID) -> messages.Data | str:
    endorsement = await decisions.get_endorsement(work.connection, reference)
    row = await _candidacy(work, item, endorsement.candidacy_id)
    if endorsement.status == "rescinded":
        return "rescinded"
    url = f"{request.app.state.public_url}/endorsements/{endorsement.id}"
    return messages.Announced(public_url=url, **_race(request, row))


async def endorsement_rescinded(request: Request, work: Work, item: Item, reference: UUID) -> messages.Data | str:
    endorsement = await decisions.get_endorsement(work.connection, reference)
    row = await _candidacy(work, item, endorsement.candidacy_id)
    rescission = await decisions.get_rescission_of(work.connection, reference)
    if endorsement.status != "rescinded" or rescission is None:
        return "not_rescinded"
    return messages.Rescinded(reason=rescission.reason, **_race(request, row))


TEMPLATES: Mapping[str, Ask] = {
    "filing_confirmed": filing_confirmed,
    "filing_returned": filing_returned,
    "application_received": application_received,
    "eligibility_result": eligibility_result,
    "decision_endorsed": decision_endorsed,
    "decision_declined": decision_declined,
    "endorsement_announced": endorsement_announced,
    "endorsement_rescinded": endorsement_rescinded,
}
