"""How tests start what production starts: the same wiring, a database of their own, keys of their own."""

import datetime as dt
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deploy.embedded.postgres import Postgres
from shared import timers
from shared.events import Event
from shared.events.envelope import headers_of, new_id, payload_of
from shared.inbox import Record
from shared.migrate import migrate
from shared.service import Definition, Service, open_service
from shared.settings import SERVICES, ServiceSettings
from shared.web.sessions import Principal, issue

ROOT = Path(__file__).parent.parent
PROGRAM_2017 = ROOT / "programs" / "org_2017.toml"
PROGRAM_2025 = ROOT / "programs" / "org_2025.toml"
CLUSTER = "test-cluster"
S = TypeVar("S", bound=ServiceSettings)


@dataclass(frozen=True, slots=True)
class Database:
    """A cloned database: `dsn` for the run role, `owner_dsn` for the owner."""

    dsn: str
    owner_dsn: str

    async def execute(self, sql: str, *arguments: Any) -> None:
        """Run one statement as the owner."""
        connection = await asyncpg.connect(self.owner_dsn)
        try:
            await connection.execute(sql, *arguments)
        finally:
            await connection.close()

    async def fetch(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Rows as plain tuples, for equality."""
        connection = await asyncpg.connect(self.owner_dsn)
        try:
            return [tuple(row) for row in await connection.fetch(sql, *arguments)]
        finally:
            await connection.close()

    async def advance_clock(self, span: dt.timedelta) -> None:
        """Move the business clock ahead, as an operator of a development stack does."""
        await self.execute("UPDATE clock SET ahead = ahead + $1", span)


class Databases:
    """One migrated template per service, cloned in a few milliseconds."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._templates: dict[str, Database] = {}
        self._count = 0

    def template(self, service: str) -> Database:
        """The migrated template of a service, made at first use."""
        if service not in self._templates:
            made = self._postgres.create_service(service)
            migrate(service, made.owner_dsn)
            self._templates[service] = Database(made.dsn, made.owner_dsn)
        return self._templates[service]

    @asynccontextmanager
    async def clone(self, service: str) -> AsyncIterator[Database]:
        """A copy of the template that lives as long as the block."""
        template = self.template(service)
        self._count += 1
        name = f"{service}_{self._count}"
        admin = await asyncpg.connect(self._postgres.admin_dsn)
        try:
            await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{service}" OWNER "{service}_owner"')
            try:
                yield Database(_with_database(template.dsn, name), _with_database(template.owner_dsn, name))
            finally:
                await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        finally:
            await admin.close()


def _with_database(dsn: str, name: str) -> str:
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


@cache
def session_keys() -> tuple[str, str]:
    """A private and a public Ed25519 key (PEM), one pair per run."""
    private = Ed25519PrivateKey.generate()
    return (
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode(),
    )


def internal_token(service: str) -> str:
    """The credential that `service` presents in tests."""
    return f"token-of-{service}"


def make_settings(cls: type[S], database: Database, *, kafka: str = "127.0.0.1:1", **changes: Any) -> S:
    """Settings of a service for tests; `changes` override by field name."""
    values: dict[str, Any] = {
        "environment": "test",
        "database_url": database.dsn,
        "owner_database_url": database.owner_dsn,
        "kafka_bootstrap": kafka,
        "program": PROGRAM_2025,
        "port": 8000,
        "internal_token": "token-of-a-test",
        "internal_callers": {
            service: {
                "token_sha256": hashlib.sha256(internal_token(service).encode()).hexdigest(),
                "scopes": ["contacts", "profiles", "message-data"],
            }
            for service in SERVICES
        },
        "session_public_key": session_keys()[1],
        "link_secret": "link-secret-of-tests",
        **{f"{service}_url": f"http://{service}.test" for service in SERVICES},
        **changes,
    }
    if "session_private_key" in cls.model_fields:
        values.setdefault("session_private_key", session_keys()[0])
    return cls(**values)


@asynccontextmanager
async def running(definition: Definition, settings: ServiceSettings) -> AsyncIterator[Service]:
    """A wired service without background tasks: the web application and the handlers, driven by the test."""
    async with open_service(definition, settings, "all") as service:
        yield service


def client_of(service: Service, principal: Principal | None = None, **headers: str) -> httpx.AsyncClient:
    """An HTTP client of a service's web application, signed in as `principal` (by bearer) if given."""
    if principal is not None:
        headers["Authorization"] = f"Bearer {session_token(principal)}"
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=service.web_app),
        base_url=f"http://{service.definition.name}.test",
        headers=headers,
        follow_redirects=False,
    )


def internal_client(service: Service, caller: str) -> httpx.AsyncClient:
    """An HTTP client with the internal credential of `caller`."""
    return client_of(service, Authorization=f"Bearer {internal_token(caller)}")


def session_token(principal: Principal, *, now: dt.datetime | None = None) -> str:
    """A session that the services accept."""
    return issue(principal, session_keys()[0], now=now or dt.datetime.now(dt.UTC))


async def deliver(service: Service, *events: Event, first_offset: int | None = None) -> int:
    """Give events to a service's handlers through its inbox, as records of partition 0 of their topics.

    Offsets go on where the last delivery ended, unless `first_offset` says otherwise (to repeat or set back).
    Returns how many had an effect.
    """
    records = await as_records(service, events, first_offset)
    return await service._inbox.take(records, cluster_id=CLUSTER)


async def as_records(service: Service, events: Sequence[Event], first_offset: int | None = None) -> list[Record]:
    """Kafka records that carry these events, with envelopes as the outbox writes them."""
    now = await service.context.pool.fetchval("SELECT business_now()")
    following: dict[str, int] = {}
    records = []
    for event in events:
        topic = event.topic.name
        if topic not in following:
            stored = await service.context.pool.fetchval(
                "SELECT next_offset FROM inbox_offsets WHERE topic = $1 AND partition = 0", topic
            )
            following[topic] = (stored or 0) if first_offset is None else first_offset
        headers = headers_of(
            event, event_id=new_id(), source="test", time=now, sequence=following[topic] + 1, correlation_id=None
        )
        records.append(
            Record(
                topic,
                0,
                following[topic],
                event.key.encode(),
                [(name, value.encode()) for name, value in headers],
                payload_of(event),
            )
        )
        following[topic] += 1
    return records


async def outbox_events(service: Service) -> list[Event]:
    """The events in a service's outbox, in the order they were appended."""
    rows = await service.context.pool.fetch("SELECT headers, payload FROM outbox ORDER BY id")
    return [
        Event.registry[dict(json.loads(row["headers"]))["ce_type"]].model_validate_json(row["payload"]) for row in rows
    ]


async def take_outbox(service: Service) -> list[Event]:
    """The events in a service's outbox, which is emptied: what a relay would have sent since the last call."""
    events = await outbox_events(service)
    await service.context.pool.execute("DELETE FROM outbox")
    return events


async def fire_timers(service: Service) -> int:
    """Run every timer that is due, until none is; returns how many fired."""
    fired = 0
    while count := await timers.fire_due(service.context.workshop, service.parts.timers):
        fired += count
    return fired
