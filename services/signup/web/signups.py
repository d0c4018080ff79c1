"""Signing up by JSON: `POST /v1/signups`, and using a confirmation link by JSON."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from services.signup.actions import access
from services.signup.actions import people as actions
from services.signup.domain.submission import read, read_intent_id
from services.signup.web.requests import (
    correlation_of,
    intake_of,
    json_body,
    limits_of,
    private_key_of,
    program_of,
    workshop_of,
)
from shared.directory import AvailabilityWindow
from shared.web.app import client_address

router = APIRouter(tags=["sign-up"])


class Consent(BaseModel):
    """Consent for one channel; the wording defaults to the one that the form shows now."""

    model_config = ConfigDict(extra="forbid")
    channel: str = Field(examples=["email"])
    granted: bool = True
    wording_version: str | None = None


class SourceBody(BaseModel):
    """Where the sign-up came from."""

    model_config = ConfigDict(extra="forbid")
    utm_source: str | None = None
    utm_medium: str | None = None
    utm_campaign: str | None = None
    referrer: str | None = None
    ref: str | None = None
    page: str | None = None


class SignupBody(BaseModel):
    """A sign-up. What a form asks, and what it offers, is in the program file."""

    model_config = ConfigDict(extra="forbid")
    form: str = Field(examples=["run"])
    name: str = Field(max_length=200, examples=["Ana María Ortiz"])
    email: str = Field(examples=["ana@example.com"])
    intent_id: UUID | None = Field(None, description="The same as the header Idempotency-Key, of which one is needed.")
    phone: str | None = Field(None, description="A US number, or one with its country code.")
    state: str | None = Field(None, examples=["TX"])
    zip: str | None = Field(None, examples=["78701"])
    birth_year: int | None = None
    office: str | None = None
    tracks: list[str] = []
    language: str | None = None
    spoken_languages: list[str] = []
    time_zone: str | None = Field(None, examples=["America/Chicago"])
    consents: list[Consent] = []
    source: SourceBody | None = None
    availability: list[AvailabilityWindow] = []
    answers: dict[str, str | bool] = {}


class Accepted(BaseModel):
    """The sign-up is stored; nothing here tells whether the address was known."""

    signup_id: UUID
    intent_id: UUID


class SessionBody(BaseModel):
    """A session to send as `Authorization: Bearer …`."""

    session: str
    expires_at: datetime
    person_id: UUID


class TokenBody(BaseModel):
    """The last part of a mailed link's address."""

    model_config = ConfigDict(extra="forbid")
    token: Annotated[str, Field(max_length=100)]


def refs(model: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI request body of a route that reads the request itself."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = schema.pop("$defs", {})

    def inlined(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return inlined(definitions[node["$ref"].rpartition("/")[2]])
            return {key: inlined(value) for key, value in node.items()}
        return [inlined(item) for item in node] if isinstance(node, list) else node

    return {"requestBody": {"required": True, "content": {"application/json": {"schema": inlined(schema)}}}}


IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A UUID made for this sign-up. Send it here or as intent_id.",
    "schema": {"type": "string", "format": "uuid"},
}


@router.post(
    "/v1/signups",
    status_code=202,
    summary="Sign up",
    response_model=None,
    responses={202: {"model": Accepted}, 422: {"description": "A field needs another look, or `intent_conflict`."}},
    openapi_extra={"parameters": [IDEMPOTENCY_KEY], **refs(SignupBody)},
)
async def sign_up(request: Request) -> Response:
    """Store a sign-up, and answer once it is durable. The same intent and payload again gets the same answer."""
    body = await json_body(request)
    intent_id = read_intent_id(request.headers.get("idempotency-key") or body.get("intent_id"))
    now = await intake_of(request).now()
    submission = read(body, intent_id, program_of(request), now)
    receipt = await intake_of(request).submit(
        submission, address=client_address(request), correlation_id=correlation_of(request)
    )
    return Response(
        orjson.dumps({"signup_id": str(receipt.signup_id), "intent_id": str(receipt.intent_id)}),
        status_code=202,
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


@router.post("/v1/confirmations", summary="Use a confirmation link and sign in")
async def confirm(request: Request, body: TokenBody) -> SessionBody:
    """What the button of `/confirm/<token>` does."""
    await limits_of(request).admit_one(client_address(request), None)
    async with workshop_of(request).begin(correlation_of(request)) as work:
        confirmed = await actions.confirm(work, body.token)
        session = await access.open_session(work, confirmed.person_id, private_key_of(request))
    return SessionBody(session=session.token, expires_at=session.expires_at, person_id=confirmed.person_id)
