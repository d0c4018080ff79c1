"""The signup service over a database of its own, and the sign-ups that tests send."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from services.signup.app import SERVICE
from services.signup.settings import Settings
from shared.events.signup import SignedUp
from shared.links import derive
from shared.service import Service
from shared.web.sessions import Principal
from tests.conftest import DatabaseFactory
from tests.harness import client_of, make_settings, running


@pytest.fixture
async def service(databases: DatabaseFactory) -> AsyncIterator[Service]:
    """A wired signup service; hosted forms may be sent at once."""
    settings = make_settings(Settings, await databases("signup"), form_min_seconds=0)
    async with running(SERVICE, settings) as started:
        yield started


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A caller who is not signed in."""
    async with client_of(service) as http:
        yield http


def a_signup(**changes: Any) -> dict[str, Any]:
    """A body that the form `run` accepts; a change to None leaves the field out."""
    body = {
        "form": "run",
        "name": "Ana María Ortiz",
        "email": "ana@example.org",
        "state": "TX",
        "spoken_languages": ["en", "es"],
        **changes,
    }
    return {name: value for name, value in body.items() if value is not None}


async def post(client: httpx.AsyncClient, intent: UUID | None = None, **changes: Any) -> httpx.Response:
    """Send a sign-up by JSON under an intent (a new one if not given)."""
    return await client.post(
        "/v1/signups", json=a_signup(**changes), headers={"Idempotency-Key": str(intent or uuid4())}
    )


async def link_token(service: Service, signup_id: str) -> str:
    """The token of a sign-up's newest confirmation link, as notifications would be told."""
    link_id = await service.context.pool.fetchval(
        "SELECT id FROM links WHERE signup_id = $1 ORDER BY created_at DESC LIMIT 1", UUID(signup_id)
    )
    return derive("link-secret-of-tests", "confirm", str(link_id))


async def confirmed_person(service: Service, client: httpx.AsyncClient, **changes: Any) -> UUID:
    """The id of a person who signed up and used the link."""
    signup_id = (await post(client, **changes)).json()["signup_id"]
    answer = await client.post("/v1/confirmations", json={"token": await link_token(service, signup_id)})
    return UUID(answer.json()["person_id"])


def signed_up_of(events: list[Any]) -> list[SignedUp]:
    """The sign-ups among events."""
    return [event for event in events if isinstance(event, SignedUp)]


def staff() -> Principal:
    """A member of the staff."""
    return Principal(person_id=uuid4(), roles=frozenset({"staff"}), account_id=uuid4(), language="en")


@pytest.fixture
async def staff_client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A member of the staff."""
    async with client_of(service, staff()) as http:
        yield http
