"""Wiring of the tiny service: one route for each thing that the edge has to answer."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request
from pydantic import BaseModel, Field
from pydantic_settings import SettingsConfigDict

from shared.errors import NotFound, Rejected
from shared.events.envelope import Received
from shared.service import Context, Definition, Parts
from shared.settings import ServiceSettings, Url
from shared.web.internal import record_access, require_scope
from shared.web.sessions import Principal, require, signed_in
from shared.web.text import _
from shared.work import Work
from tests.component.kernel.events import Noted

HANGS = 666
"""A note with this number keeps its handler busy for an hour."""

router = APIRouter()


class Settings(ServiceSettings):
    """TINY_* variables."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="TINY_", extra="ignore", frozen=True)

    tiny_url: Url = Field(description="Public base URL of this service.")


class Name(BaseModel):
    """A short name."""

    name: str = Field(max_length=5)


@router.post("/form")
async def take_form(name: Annotated[str, Form()]) -> dict[str, int]:
    """How long the name is."""
    return {"length": len(name)}


@router.post("/saved")
async def save(request: Request, name: Annotated[str, Form()], text: Annotated[str, Form()]) -> dict[str, str]:
    """What was typed, as the database repeats it."""
    said = await request.app.state.pool.fetchval("SELECT $1::text || ': ' || $2::text", name, text)
    return {"saved": said}


@router.get("/v1/slow")
async def slow(request: Request, seconds: float) -> dict[str, float]:
    """A statement that takes its time."""
    await request.app.state.pool.fetchval("SELECT pg_sleep($1)::text", seconds)
    return {"slept": seconds}


@router.post("/v1/name")
async def take_name(body: Name) -> dict[str, int]:
    """How long the name is."""
    return {"length": len(body.name)}


@router.post("/v1/large")
async def take_large(request: Request) -> dict[str, int]:
    """How long the body is."""
    return {"length": len(await request.body())}


@router.get("/v1/whoami")
async def whoami(principal: Annotated[Principal, Depends(signed_in)]) -> dict[str, str]:
    """Who is asking."""
    return {"person_id": str(principal.person_id)}


@router.get("/private")
async def private(principal: Annotated[Principal, Depends(signed_in)]) -> dict[str, str]:
    """Who is asking, for a browser."""
    return {"person_id": str(principal.person_id)}


@router.post("/private")
async def store_private(request: Request, _principal: Annotated[Principal, Depends(signed_in)]) -> dict[str, str]:
    """What somebody who is signed in typed."""
    return {name: str(value) for name, value in (await request.form()).items()}


@router.get("/staff", dependencies=[Depends(require("staff"))])
@router.get("/v1/staff", dependencies=[Depends(require("staff"))])
async def staff() -> dict[str, str]:
    """For staff."""
    return {"is": "staff"}


@router.get("/boom/{word}")
@router.get("/v1/boom/{word}")
async def boom(word: str) -> None:
    """A bug that knows a secret."""
    secret = word
    raise RuntimeError(secret)


@router.get("/v1/away")
@router.get("/away")
async def away() -> None:
    """The database is away."""
    raise ConnectionRefusedError("10.0.0.7")


@router.get("/v1/wrong")
async def wrong(request: Request) -> None:
    """A bug: text where the statement wants a number."""
    await request.app.state.pool.fetchval("SELECT $1::int", "person@example.org")


@router.post("/v1/kept")
@router.post("/kept")
async def kept(request: Request) -> None:
    """Has the database hold a text, and a JSON document with it."""
    sent = await (request.json() if request.url.path == "/v1/kept" else request.form())
    statement = "SELECT $1::text::jsonb" if "answers" in sent else "SELECT $1::text"
    await request.app.state.pool.fetchval(statement, next(iter(sent.values())))


@router.get("/v1/refused")
@router.get("/refused")
async def refused() -> None:
    """A rule says no, for one field."""
    raise Rejected("full", _("This call is full."), fields={"slot": _("Choose another time.")})


@router.get("/v1/busy")
async def busy() -> None:
    """Too many."""
    raise Rejected("too_many", _("Too many."), status=429)


@router.get("/v1/nothing")
async def nothing() -> None:
    """Nothing is here."""
    raise NotFound


@router.get("/framed/form")
async def framed() -> dict[str, bool]:
    """May be framed."""
    return {"framed": True}


@router.post("/internal/contacts")
async def contacts(request: Request, caller: Annotated[str, Depends(require_scope("contacts"))]) -> dict[str, str]:
    """Audited."""
    async with request.app.state.pool.acquire() as connection:
        await record_access(connection, caller, "contacts", 3)
    return {"caller": caller}


@router.post("/internal/erasures", dependencies=[Depends(require_scope("erasures"))])
async def erasures() -> None:
    """For a scope that no caller has in tests."""


async def on_noted(work: Work, events: Sequence[Received]) -> None:
    """One row per event."""
    for received in events:
        event = received.event
        assert isinstance(event, Noted)
        if event.number == HANGS:
            await asyncio.sleep(3600)
        await work.connection.execute(
            "INSERT INTO effects VALUES ($1, $2, $3)", received.id, event.person_id, str(event.number)
        )


def wire(context: Context) -> Parts:
    """Everything the service is made of."""
    return Parts(
        routers=[router],
        routes={Noted: on_noted},
        body_limits={"/v1/large": 64 * 1024},
        embeddable=("/framed/",),
        front="/private",
    )


SERVICE = Definition("tiny", Settings, Path(__file__).parent, wire)
PERSON = UUID("01890000-0000-7000-8000-000000000001")
