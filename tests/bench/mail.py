"""Mails handed to an SMTP server: from the queue by way of the senders of notifications, against bytes that lie ready.

Contacts and links come from a signup process, as in production. The class of mail is that of a surge, the
confirmation link.
"""

import asyncio
import datetime as dt
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Any

import orjson

from services.notifications.app import SERVICE
from services.notifications.sending.mime import Envelope
from services.notifications.sending.sender import Ready, as_mail
from services.notifications.settings import Settings
from shared.events import Event
from shared.service import Service
from tests.bench import people
from tests.bench.ceilings import ready_bytes
from tests.bench.intake import UNLIMITED
from tests.bench.load import Connection, connect, request
from tests.bench.serving import environment_of, free_ports, process
from tests.bench.stage import Clock, Stage
from tests.bench.suite import Goal, Pair, Sample
from tests.harness import Database, deliver, internal_token, make_settings, running

MAILS = 3_000
CONNECTIONS = 20
AGAIN = """
    UPDATE messages SET state = 'queued', tries = 0, hands = 0, due_at = created_at, reason = NULL, claimed_by = NULL,
           lease_until = NULL
"""
DONE = "SELECT count(*) FROM messages WHERE state = 'accepted'"


@asynccontextmanager
async def mail(stage: Stage) -> AsyncIterator[Sequence[Pair]]:
    """One pair."""
    count = stage.count(MAILS)
    async with AsyncExitStack() as stack:
        signup = await stack.enter_async_context(stage.databases.clone("signup"))
        database = await stack.enter_async_context(stage.databases.clone("notifications"))
        children = stack.enter_context(ExitStack())
        ports = free_ports("signup", "smtp")
        children.enter_context(
            process(["-m", "tests.bench.mail_sink", str(ports["smtp"])], {}, log=stage.directory / "sink.log")
        )
        owner = children.enter_context(
            process(
                ["-m", "services.signup", "web"],
                environment_of("signup", signup, kafka="127.0.0.1:1", ports=ports, **UNLIMITED),
                log=stage.directory / "signup.log",
                ready=f"http://127.0.0.1:{ports['signup']}/readyz",
            )
        )
        await sign_up(ports["signup"], count)
        settings = make_settings(
            Settings, database, internal_token=internal_token("notifications"),
            signup_url=f"http://127.0.0.1:{ports['signup']}", smtp_host="127.0.0.1", smtp_port=ports["smtp"],
            # A fifth is for links.
            smtp_connections=5 * CONNECTIONS,
        )  # fmt: skip
        service = await stack.enter_async_context(running(SERVICE, settings))
        events = await outbox_of(signup)
        assert await deliver(service, *events) == count
        sender = service.parts.state["senders"]["link"]  # type: ignore[index]
        taken: list[ready_bytes.Mail] = []
        catch = _catch(service, taken)

        async def ours() -> Sample:
            await database.execute(AGAIN)
            await service.context.pool.execute("DELETE FROM outbox")
            clock = Clock(stage, owner.pid)
            running_senders = asyncio.create_task(sender.run())
            try:
                deadline = time.monotonic() + 120
                while (done := await service.context.pool.fetchval(DONE)) < count:
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"{done} of {count} mails were taken in two minutes.")
                    await asyncio.sleep(0.02)
                return Sample(count / clock.wall_seconds(), clock.cpu_seconds() / count)
            finally:
                running_senders.cancel()
                await asyncio.gather(running_senders, return_exceptions=True)

        async def ceiling() -> Sample:
            clock = Clock(stage)
            await ready_bytes.send(ports["smtp"], taken, CONNECTIONS)
            return Sample(len(taken) / clock.wall_seconds(), clock.cpu_seconds() / len(taken))

        with catch:
            await ours()
        assert len(taken) == count
        yield [Pair(5, "mails handed over, 20 connections", "mails/s", ours, ceiling, Goal("at least", 0.8))]


class _catch:  # noqa: N801 (a context manager, used as a function)
    """Notes the bytes of every mail that the service hands over while the block lasts."""

    def __init__(self, service: Service, taken: list[ready_bytes.Mail]) -> None:
        organization = service.context.program.organization
        self._envelope = Envelope(
            sender_name=organization.sender_name,
            sender_address=organization.sender_address,
            reply_to=organization.contact_email,
        )
        self._sender: Any = service.parts.state["senders"]["link"]  # type: ignore[index]
        self._taken = taken

    def __enter__(self) -> None:
        self._original = self._sender._in_turn

        async def noted(ready: Ready, begin_before: float) -> Any:
            made = as_mail(self._envelope, ready, dt.datetime.now(dt.UTC))
            self._taken.append((made.sender, made.recipient, made.content))
            return await self._original(ready, begin_before)

        self._sender._in_turn = noted

    def __exit__(self, *_: object) -> None:
        self._sender._in_turn = self._original


async def sign_up(port: int, count: int) -> None:
    """Have so many people sign up."""
    connections = await connect(port, 32)
    left = itertools.islice(itertools.count(), count)
    mark = f"m{time.time_ns()}"

    async def one(connection: Connection) -> None:
        for number in left:
            status = await connection.send(request("/v1/signups", "application/json", people.as_json(mark, number)))
            assert status == 202, status

    await asyncio.gather(*(one(connection) for connection in connections))
    for connection in connections:
        connection.close()


async def outbox_of(database: Database) -> list[Event]:
    """The events that wait in a service's outbox, in their order."""
    rows = await database.fetch("SELECT payload, headers FROM outbox ORDER BY id")
    return [
        Event.registry[dict(orjson.loads(headers))["ce_type"]].model_validate_json(payload) for payload, headers in rows
    ]
