"""A relay host, a text provider and the owners of facts, each a real server on a free port."""

import asyncio
import email
import email.policy
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any
from uuid import UUID, uuid4

import pytest
import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from services.notifications.app import SERVICE
from services.notifications.sending.sender import Sender
from services.notifications.sending.upkeep import Upkeep
from services.notifications.settings import Settings
from shared.directory import Contact
from shared.messages import Answer
from shared.service import Service
from tests.conftest import DatabaseFactory
from tests.harness import Database, make_settings, running
from tests.unit.notifications.samples import contact, sample


@dataclass
class RelayHost:
    """aiosmtpd's handler: what it took, and how it behaves, per recipient or for all."""

    port: int = 0
    taken: list[tuple[str, EmailMessage]] = field(default_factory=list)
    on_rcpt: Callable[[str], str] = lambda _address: "250 OK"
    on_data: Callable[[str], str] = lambda _address: "250 Taken"
    hang_after_body: bool = False
    close_after_body: bool = False

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        answer = self.on_rcpt(address)
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        address = envelope.rcpt_tos[0]
        answer = self.on_data(address)
        if answer.startswith("250"):
            assert isinstance(envelope.content, bytes)
            parsed = email.message_from_bytes(envelope.content, policy=email.policy.default)
            assert isinstance(parsed, EmailMessage)
            self.taken.append((address, parsed))
        if self.close_after_body:
            assert server.transport is not None
            server.transport.abort()  # type: ignore[attr-defined]
        if self.hang_after_body:
            await asyncio.sleep(60)
        return answer

    def to(self, person_id: UUID) -> list[EmailMessage]:
        """The mails that the person's usual address was sent."""
        return [message for address, message in self.taken if address == contact(person_id).email]


@pytest.fixture
async def relay_host() -> AsyncIterator[RelayHost]:
    """Takes everything until told otherwise."""
    host = RelayHost()
    sessions: list[SMTP] = []

    def session() -> SMTP:
        made = SMTP(host, hostname="relay.test", enable_SMTPUTF8=True)
        sessions.append(made)
        return made

    server = await asyncio.get_running_loop().create_server(session, "127.0.0.1", 0)
    host.port = server.sockets[0].getsockname()[1]
    yield host
    server.close()
    for each in sessions:
        if each.transport is not None:
            each.transport.abort()  # type: ignore[attr-defined]
        if each._handler_coroutine is not None:
            each._handler_coroutine.cancel()


@dataclass
class Outside:
    """Signup, matching, endorsement and a text provider behind one port."""

    url: str = ""
    contacts: dict[UUID, Contact] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    away: set[str] = field(default_factory=set)
    data: dict[str, Any] = field(default_factory=dict)
    attachments: list[dict[str, str]] = field(default_factory=list)
    asked: list[list[str]] = field(default_factory=list)
    texts: list[dict[str, str]] = field(default_factory=list)
    text_answer: Callable[[dict[str, str]], Response] | None = None
    before_answer: Callable[[], Any] | None = None

    def know(self, *people: Contact) -> None:
        """Have these contacts known."""
        self.contacts.update({each.person_id: each for each in people})

    def app(self) -> FastAPI:
        """The servers' application."""
        app = FastAPI()

        @app.post("/internal/contacts")
        async def contacts(request: Request) -> Any:
            if "signup" in self.away:
                return Response(status_code=503)
            body = await request.json()
            found = [self.contacts[UUID(i)] for i in body["person_ids"] if UUID(i) in self.contacts]
            return {"contacts": [each.model_dump(mode="json") for each in found]}

        @app.post("/internal/message-data")
        async def message_data(request: Request) -> Any:
            body = await request.json()
            self.asked.append([item["template"] for item in body["items"]])
            if self.before_answer is not None:
                await self.before_answer()
            answers = []
            for item in body["items"]:
                if item["reference"] in self.gone:
                    answers.append(Answer(id=item["id"], status="gone", reason="moot"))
                    continue
                data = {**sample(item["template"]).model_dump(mode="json"), **self.data}
                answers.append(
                    Answer.model_validate(
                        {"id": item["id"], "status": "ok", "data": data, "attachments": self.attachments}
                    )
                )
            return {"items": [each.model_dump(mode="json") for each in answers]}

        @app.post("/sms")
        async def send_text(request: Request) -> Response:
            text = await request.json()
            if self.text_answer is not None:
                return self.text_answer(text)
            self.texts.append(text)
            return JSONResponse({"id": f"t{len(self.texts)}", "status": "accepted"}, 201)

        @app.get("/sms")
        async def find_text(client_reference: str) -> Response:
            known = any(text["client_reference"] == client_reference for text in self.texts)
            return JSONResponse({"id": "t1", "status": "accepted"}, 200 if known else 404)

        return app


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    """Answers every question with the sample of its template."""
    known = Outside()
    listener = socket.create_server(("127.0.0.1", 0))
    known.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(known.app(), log_level="warning", lifespan="off", ws="none"))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[listener])
    yield known
    await server.shutdown(sockets=[listener])


@dataclass
class Station:
    """The service under test with what it talks to."""

    service: Service
    database: Database
    relay_host: RelayHost
    outside: Outside

    def know(self, **changes: Any) -> UUID:
        """Have signup know somebody more, with these changes to the usual contact."""
        person = uuid4()
        self.outside.know(contact(person, **changes))
        return person

    def sender(self, lane: str) -> Sender:
        """One lane."""
        senders: Any = self.service.parts.state["senders"]
        found: Sender = senders[lane]
        return found

    @property
    def upkeep(self) -> Upkeep:
        """What recovers and purges."""
        upkeep = self.service.parts.state["upkeep"]
        assert isinstance(upkeep, Upkeep)
        return upkeep

    async def send(self, *lanes: str) -> None:
        """Run lanes (all, when none is named) until nothing is due."""
        for lane in lanes or ("link", "transactional", "bulk", "text"):
            while await self.sender(lane).send_batch():
                pass

    async def states(self) -> list[tuple[Any, ...]]:
        """(template, channel, state, reason) of every message, in the order they were caused."""
        return await self.database.fetch("SELECT template, channel, state, reason FROM messages ORDER BY id")


def settings_for(database: Database, relay_host: RelayHost, outside: Outside, **changes: Any) -> Settings:
    """Settings that lead to the servers of the test."""
    return make_settings(
        Settings,
        database,
        internal_urls=dict.fromkeys(("signup", "matching", "endorsement"), outside.url),
        smtp_host="127.0.0.1",
        smtp_port=relay_host.port,
        smtp_security="none",
        sms_url=f"{outside.url}/sms",
        sms_inbound_token="inbound-of-tests",
        mail_receipt_token="receipts-of-tests",
        **changes,
    )


@asynccontextmanager
async def stationed(
    database: Database, relay_host: RelayHost, outside: Outside, **changes: Any
) -> AsyncIterator[Station]:
    """The service on this database, with changed settings."""
    settings = settings_for(database, relay_host, outside, smtp_timeout_seconds=2.0, **changes)
    async with running(SERVICE, settings) as service:
        yield Station(service, database, relay_host, outside)
        for close in service.parts.on_close:
            await close()


@pytest.fixture
async def station(databases: DatabaseFactory, relay_host: RelayHost, outside: Outside) -> AsyncIterator[Station]:
    """A service whose lanes the test drives."""
    async with stationed(await databases("notifications"), relay_host, outside) as made:
        yield made
