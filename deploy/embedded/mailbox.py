"""The stack's mailbox: takes e-mail by SMTP and text messages by HTTP, keeps them, and shows them.

Nothing leaves the machine. An SMTP `250` or an HTTP `201` means that the message is on disk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sqlite3
from base64 import b64decode
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, StreamingResponse
from jinja2 import Environment, FileSystemLoader
from pydantic import BaseModel, ConfigDict, Field

from deploy.embedded.mail_store import Arrival, MailStore, now, parse_mail, text_message

PAGE_SIZE = 50
MAX_MAIL_BYTES = 25 * 2**20
_LINK = re.compile(r"https?://[^\s<>\"')\]]+")
# A mail's own styles and embedded pictures show; its scripts, forms and remote content do not.
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Receiver:
    """aiosmtpd's handler: every recipient is accepted, and a message counts only once it is stored."""

    def __init__(self, store: MailStore) -> None:
        self._store = store

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        raw = envelope.content if isinstance(envelope.content, bytes) else b""
        arrival = Arrival(
            channel="email",
            sender=envelope.mail_from or "",
            recipients=tuple(envelope.rcpt_tos),
            content=parse_mail(raw),
            received_at=now(),
            raw=raw,
        )
        try:
            ids = await self._store.add(arrival)
        except sqlite3.Error as error:
            return f"452 The message could not be stored: {error}"
        return f"250 Stored as {ids[0]}"


class TextMessage(BaseModel):
    """What a text-message provider takes; `client_reference` makes a repeat harmless."""

    model_config = ConfigDict(populate_by_name=True)

    to: str = Field(min_length=1, max_length=40)
    sender: str = Field(alias="from", min_length=1, max_length=40)
    body: str = Field(min_length=1, max_length=1_600)
    client_reference: str | None = Field(default=None, min_length=1, max_length=200)


def create_app(store: MailStore) -> FastAPI:
    app = FastAPI(title="Mailbox", docs_url=None, redoc_url=None)
    pages = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)

    def page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
        return HTMLResponse(pages.get_template(template).render(**values), status, _PAGE_HEADERS)

    def demand(message_id: int) -> dict[str, Any]:
        message = store.message(message_id)
        if message is None:
            raise HTTPException(404, f"There is no message {message_id}; the list is at /api/messages.")
        return message

    @app.get("/livez")
    async def livez() -> PlainTextResponse:
        return PlainTextResponse("ok\n")

    @app.get("/readyz")
    def readyz() -> PlainTextResponse:
        store.count()
        return PlainTextResponse("ok\n")

    @app.get("/api/messages")
    def list_messages(
        to: str | None = None,
        after: Annotated[int | None, Query(ge=0)] = None,
        limit: Annotated[int | None, Query(ge=1)] = None,
    ) -> StreamingResponse:
        return StreamingResponse(_json_array(store.messages(to or None, after, limit)), media_type="application/json")

    @app.get("/api/messages/{message_id}")
    def get_message(message_id: int) -> JSONResponse:
        return JSONResponse(demand(message_id))

    @app.delete("/api/messages", status_code=204)
    def delete_messages() -> Response:
        store.clear()
        return Response(status_code=204)

    @app.post("/sms")
    async def post_sms(message: TextMessage) -> JSONResponse:
        arrival = Arrival(
            channel="sms",
            sender=message.sender,
            recipients=(message.to,),
            content=text_message(message.sender, message.body),
            received_at=now(),
            client_reference=message.client_reference,
        )
        try:
            (message_id,) = await store.add(arrival)
        except sqlite3.Error as error:
            raise HTTPException(503, f"The message could not be stored: {error}; try again.") from error
        return JSONResponse({"id": str(message_id), "status": "accepted"}, 201)

    @app.get("/sms")
    def get_sms(client_reference: str) -> JSONResponse:
        message_id = store.find_reference(client_reference)
        if message_id is None:
            raise HTTPException(404, f"No text message has the client_reference {client_reference!r}.")
        return JSONResponse({"id": str(message_id), "status": "accepted"})

    @app.get("/", response_class=HTMLResponse)
    def list_page(to: str = "", before: Annotated[int | None, Query(ge=1)] = None) -> HTMLResponse:
        entries = store.entries(to, before, PAGE_SIZE + 1)
        older = entries[PAGE_SIZE - 1].id if len(entries) > PAGE_SIZE else None
        return page("mailbox_list.html", entries=entries[:PAGE_SIZE], to=to, older=older, newest=before is None)

    @app.get("/messages/{message_id}", response_class=HTMLResponse)
    def message_page(message_id: int) -> HTMLResponse:
        message = demand(message_id)
        return page("mailbox_message.html", message=message, links=_links(message))

    @app.get("/messages/{message_id}/raw")
    def raw(message_id: int) -> Response:
        content = store.raw(message_id)
        if content is None:
            raise HTTPException(404, f"There is no e-mail {message_id}.")
        return _download(content, f"{message_id}.eml", "message/rfc822")

    @app.get("/messages/{message_id}/attachments/{number}")
    def attachment(message_id: int, number: int) -> Response:
        attachments = demand(message_id)["attachments"]
        if not 0 <= number < len(attachments):
            raise HTTPException(404, f"Message {message_id} has no attachment {number}.")
        found = attachments[number]
        is_text = found["content_type"].startswith("text/")
        content = found["content"].encode() if is_text else b64decode(found["content"])
        return _download(content, found["filename"] or f"attachment-{number}", found["content_type"])

    @app.exception_handler(HTTPException)
    async def refused(_request: Request, error: HTTPException) -> JSONResponse:
        problem = {"status": error.status_code, "detail": error.detail}
        return JSONResponse(problem, error.status_code, media_type="application/problem+json")

    return app


def _download(content: bytes, filename: str, content_type: str) -> Response:
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", filename)
    headers = {"Content-Disposition": f'attachment; filename="{safe}"', "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type=content_type, headers=headers)


def _json_array(messages: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Streamed, so that 27,000 mails never stand in memory together."""
    separator = "["
    for message in messages:
        yield separator + json.dumps(message, ensure_ascii=False)
        separator = ",\n"
    yield "[]" if separator == "[" else "]"


def _links(message: dict[str, Any]) -> list[str]:
    """Every address in the message, once, in order; text first."""
    found = _LINK.findall(message["text"]) + _LINK.findall(unescape(message["html"]))
    return list(dict.fromkeys(link.rstrip(".,;") for link in found))


async def serve(directory: Path, smtp_port: int, http_port: int, host: str = "127.0.0.1") -> None:
    """Runs until SIGTERM or SIGINT; what was being received is finished."""
    store = MailStore(directory)
    receiver = Receiver(store)

    def session() -> SMTP:
        return SMTP(
            receiver,
            hostname="mailbox.localhost",
            ident="mailbox",
            data_size_limit=MAX_MAIL_BYTES,
            enable_SMTPUTF8=True,
        )

    smtp = await asyncio.get_running_loop().create_server(session, host, smtp_port, backlog=512)
    config = uvicorn.Config(
        create_app(store), host=host, port=http_port, log_level="warning", timeout_graceful_shutdown=5
    )
    try:
        await uvicorn.Server(config).serve()
    finally:
        smtp.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.embedded.mailbox", description=__doc__)
    parser.add_argument("--smtp-port", type=int, required=True)
    parser.add_argument("--http-port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (in a container: 0.0.0.0)")
    parser.add_argument("--dir", type=Path, required=True, help="where the messages are kept")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.dir, arguments.smtp_port, arguments.http_port, arguments.host))


if __name__ == "__main__":
    main()
