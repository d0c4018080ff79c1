"""Decisions, announcements and rescissions in JSON (staff)."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import AwareDatetime

from services.endorsement.actions import deciding
from services.endorsement.actions.actor import DECIDING, actor_of
from services.endorsement.store import decisions as store
from services.endorsement.web.requests import Body, Deciding, begin
from services.endorsement.web.views import decision_json, endorsement_json

router = APIRouter(tags=["decisions"])


class DecisionBody(Body):
    """`outcome` is endorse or decline; declining needs one of the program's reasons. The note stays internal.

    `embargo_until` is for endorsing; left out, the program's default counts from now.
    """

    application_id: UUID
    outcome: str
    note: str
    reason: str | None = None
    embargo_until: AwareDatetime | None = None


class RescissionBody(Body):
    """Why an endorsement is taken back; the note stays internal."""

    reason: str
    note: str


@router.post("/v1/decisions", status_code=201, summary="Decide an application on a quorum of scorecards (staff)")
async def create(request: Request, principal: Deciding, body: DecisionBody) -> dict[str, Any]:
    async with begin(request) as work:
        decision = await deciding.decide(
            work,
            principal,
            body.application_id,
            body.outcome,
            reason=body.reason,
            note=body.note,
            embargo_until=body.embargo_until,
        )
    return decision_json(decision)


@router.get("/v1/decisions", summary="The latest decisions (staff)")
async def listing(request: Request, principal: Deciding) -> dict[str, Any]:
    async with begin(request) as work:
        await actor_of(work, principal, needs=DECIDING)
        return {"decisions": [decision_json(row) for row in await store.find_decisions(work.connection)]}


@router.get("/v1/decisions/{decision_id}", summary="A decision, with its announcement (staff)")
async def one(request: Request, principal: Deciding, decision_id: UUID) -> dict[str, Any]:
    async with begin(request) as work:
        await actor_of(work, principal, needs=DECIDING)
        decision = await store.get_decision(work.connection, decision_id)
        announced = await store.get_endorsement_of(work.connection, decision_id)
        return decision_json(decision) | {
            "approved_by": await store.get_approval(work.connection, decision_id),
            "endorsement": None if announced is None else endorsement_json(announced),
        }


@router.post("/v1/decisions/{decision_id}/approval", summary="Approve the announcement for the embargo's end (staff)")
async def approve(request: Request, principal: Deciding, decision_id: UUID) -> dict[str, Any]:
    async with begin(request) as work:
        await deciding.approve(work, principal, decision_id)
        return {"decision_id": decision_id, "approved_by": await store.get_approval(work.connection, decision_id)}


@router.post("/v1/decisions/{decision_id}/announcement", status_code=201, summary="Announce after the embargo (staff)")
async def announce(request: Request, principal: Deciding, decision_id: UUID) -> dict[str, Any]:
    async with begin(request) as work:
        return endorsement_json(await deciding.announce(work, principal, decision_id))


@router.post(
    "/v1/endorsements/{endorsement_id}/rescission", status_code=201, summary="Ask to rescind an endorsement (staff)"
)
async def rescind(request: Request, principal: Deciding, endorsement_id: UUID, body: RescissionBody) -> dict[str, Any]:
    async with begin(request) as work:
        row = await deciding.request_rescission(work, principal, endorsement_id, body.reason, body.note)
    return {
        "rescission_id": row.id,
        "endorsement_id": row.endorsement_id,
        "reason": row.reason,
        "requested_by": row.requested_by,
        "requested_at": row.requested_at,
    }


@router.delete(
    "/v1/endorsements/{endorsement_id}/rescission", status_code=204, summary="Drop an unconfirmed request (staff)"
)
async def drop(request: Request, principal: Deciding, endorsement_id: UUID) -> None:
    async with begin(request) as work:
        await deciding.drop_rescission(work, principal, endorsement_id)


@router.post(
    "/v1/endorsements/{endorsement_id}/rescission/confirmation", summary="Confirm a rescission (another of the staff)"
)
async def confirm(request: Request, principal: Deciding, endorsement_id: UUID) -> dict[str, Any]:
    async with begin(request) as work:
        return endorsement_json(await deciding.confirm_rescission(work, principal, endorsement_id))
