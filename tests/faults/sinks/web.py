"""The HTTP side of the sinks: the text-message provider, the webhook receiver, the control address, the mailbox.

aiohttp, because it lets a handler reset the connection under it, which an ASGI server does not.
"""

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tests.faults.journal import Journal
from tests.faults.sinks.plan import Plan, Plans, Rule
from tests.faults.sinks.smtp import reset_connection
from tests.faults.sinks.stored import Counters, Stored

GONE_SECONDS = 0.2


class Text(BaseModel):
    """What the product's sender posts."""

    model_config = ConfigDict(populate_by_name=True)

    to: str = Field(min_length=1, max_length=40)
    sender: str = Field(alias="from", min_length=1, max_length=40)
    body: str = Field(min_length=1, max_length=1_600)
    client_reference: str | None = Field(default=None, min_length=1, max_length=200)


class Web:
    """The routes and what they write to."""

    def __init__(self, texts: Journal, hooks: Journal, plans: Plans, stored: Stored, counters: Counters) -> None:
        self._texts, self._hooks = texts, hooks
        self._plans, self._stored, self._counters = plans, stored, counters

    def app(self) -> web.Application:
        """The application."""
        app = web.Application(client_max_size=8 * 2**20)
        app.router.add_post("/sms", self.post_text)
        app.router.add_get("/sms", self.look_up)
        app.router.add_post("/hooks/{name:.*}", self.post_hook)
        app.router.add_get("/plan", self.get_plan)
        app.router.add_post("/plan", self.post_plan)
        app.router.add_delete("/plan", self.delete_plan)
        app.router.add_get("/counters", self.get_counters)
        app.router.add_get("/api/messages", self.get_messages)
        app.router.add_get("/readyz", self.ready)
        return app

    # ------------------------------------------------------------ texts

    async def post_text(self, request: web.Request) -> web.StreamResponse:
        try:
            text = Text.model_validate_json(await request.read())
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            return _problem(422, f"Send to, from, body and client_reference as JSON: {wrong}.")
        rule = self._plans.decide("sms", "send", text.to)
        answer = _journaled_answer(rule, 201)
        stored = answer in ("none", "closed") or answer.startswith("2")
        if rule is not None and rule.stored is not None:
            stored = rule.stored
        line: dict[str, Any] = {
            "at": datetime.now(UTC).isoformat(timespec="microseconds"),
            "answer": answer,
            "stored": stored,
            "reference": text.client_reference or "",
            "to": text.to,
            "body": text.body,
        }
        await self._texts.write(**line)
        self._counters.answers["sms"][answer] += 1
        # Every request is kept: a provider that hid repeats would hide what is looked for.
        message_id = self._stored.add_text(line, text.sender) if stored else ""
        accepted = web.json_response({"id": message_id, "status": "accepted"}, status=201)
        return accepted if rule is None else await self._act(request, rule, accepted)

    async def look_up(self, request: web.Request) -> web.StreamResponse:
        reference = request.query.get("client_reference", "")
        found = self._stored.find_reference(reference)
        answer = _problem(404, f"No text has the client_reference {reference!r}.")
        if found is not None:
            answer = web.json_response({"id": found, "status": "accepted"})
        rule = self._plans.decide("sms", "lookup", reference)
        return answer if rule is None else await self._act(request, rule, answer)

    # ------------------------------------------------------------ webhooks

    async def post_hook(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        rule = self._plans.decide("webhook", "send", request.path)
        answer = _journaled_answer(rule, 204)
        await self._hooks.write(
            answer=answer,
            path=request.path,
            webhook_id=request.headers.get("webhook-id", ""),
            timestamp=request.headers.get("webhook-timestamp", ""),
            signature=request.headers.get("webhook-signature", ""),
            body=body,
        )
        self._counters.answers["webhook"][answer] += 1
        accepted = web.Response(status=204)
        return accepted if rule is None else await self._act(request, rule, accepted)

    # ------------------------------------------------------------ what a rule does

    async def _act(self, request: web.Request, rule: Rule, accepted: web.Response) -> web.StreamResponse:
        if rule.act == "late":
            await asyncio.sleep(rule.delay_seconds)
            return accepted
        if rule.act == "answer":
            assert rule.code is not None
            answer = _problem(rule.code, f"As rule {rule.name} wants.") if rule.code >= 300 else accepted
            if rule.code < 300:
                answer.set_status(rule.code)
            if rule.retry_after_seconds is not None:
                answer.headers["Retry-After"] = str(rule.retry_after_seconds)
            if rule.location is not None:
                answer.headers["Location"] = rule.location
            return answer
        if rule.act == "hang":
            await self._hang(request)
        if request.transport is not None:
            reset_connection(request.transport)
        # Nobody is there to read it.
        return web.Response(status=500)

    async def _hang(self, request: web.Request) -> None:
        released = self._plans.released
        self._counters.hanging += 1
        try:
            while request.transport is not None and not request.transport.is_closing() and not released.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(released.wait(), GONE_SECONDS)
        finally:
            self._counters.hanging -= 1

    # ------------------------------------------------------------ control and reading

    async def get_plan(self, _request: web.Request) -> web.Response:
        return web.json_response(self._plans.as_json())

    async def post_plan(self, request: web.Request) -> web.Response:
        try:
            plan = Plan.model_validate_json(await request.read())
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'plan'}: {e['msg']}" for e in error.errors())
            return _problem(422, f"Correct the plan and send it again: {wrong}.")
        self._plans.load(plan)
        return web.json_response(self._plans.as_json())

    async def delete_plan(self, _request: web.Request) -> web.Response:
        self._plans.load(Plan())
        return web.Response(status=204)

    async def get_counters(self, _request: web.Request) -> web.Response:
        return web.json_response({**self._counters.as_json(), "stored": len(self._stored)})

    async def get_messages(self, request: web.Request) -> web.Response:
        query = request.query
        try:
            after = int(query["after"]) if query.get("after") else None
            limit = int(query["limit"]) if query.get("limit") else None
        except ValueError:
            return _problem(422, "Give after and limit as whole numbers.")
        body = self._stored.as_json(query.get("to") or None, after, limit)
        return web.Response(body=body, content_type="application/json")

    async def ready(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")


def _journaled_answer(rule: Rule | None, good: int) -> str:
    if rule is None or rule.act == "late":
        return str(good)
    return {"hang": "none", "close": "closed"}.get(rule.act) or str(rule.code)


def _problem(status: int, detail: str) -> web.Response:
    return web.Response(
        body=orjson.dumps({"status": status, "detail": detail}),
        status=status,
        content_type="application/problem+json",
    )
