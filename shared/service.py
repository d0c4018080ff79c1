"""One service as processes: the roles web, worker, relay, all of them together, or the migration.

    web      HTTP
    worker   Kafka consumer, parked records, timers, the service's own background loops
    relay    outbox to Kafka
    all      the three in one process: the default on one machine
    migrate  bring the database as far as the running processes allow, then end: before and after a deploy
    contract the same after a deploy; fails while processes of an older version still run
    settings print every variable that the service reads, then end

Every role answers /livez, /readyz and /metrics on its port. SIGTERM ends what is running and exits 0.
"""

import argparse
import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import asyncpg
import uvicorn
from aiokafka.errors import KafkaError
from fastapi import APIRouter, FastAPI
from pydantic import ValidationError
from pydantic_settings import SettingsError

from shared import clock, metrics
from shared import timers as timetable
from shared.broker import Consumer
from shared.db import TRANSIENT, Pool, create_pool
from shared.events import Topic
from shared.inbox import Inbox, Routes
from shared.kafka import mend_connections
from shared.log import configure, get_logger
from shared.migrate import contract, demand_migrated, migrate
from shared.program import Program, ProgramError, load
from shared.pulse import Pulse
from shared.relay import Relay
from shared.settings import SERVICES, ServiceSettings, reference
from shared.web.app import create_app
from shared.web.express import Express
from shared.web.navigation import staff_navigation
from shared.web.pages import Pages
from shared.work import Workshop

log = get_logger("service")

ROLES = ("web", "worker", "relay", "all", "migrate", "contract", "settings")
# Within the 25 s that a stop may take; a batch under way has 12 of them (`shared.broker`).
LEAVE_SECONDS = 20.0
Loop = Callable[[], Awaitable[None]]
S = TypeVar("S", bound=ServiceSettings)


@dataclass(frozen=True, slots=True)
class Context:
    """What a service's wiring gets: settings, program, pages, the pool and the way to begin work."""

    settings: ServiceSettings
    program: Program
    pages: Pages
    pool: Pool
    workshop: Workshop


@dataclass(frozen=True, slots=True)
class Parts:
    """What a service is made of. `loops` run in the worker until cancelled and are restarted when they fail.

    `on_close` are awaited at the end (clients to close). `state` is set on the web application, so that routes find
    it as `request.app.state.<name>`. `front` is the page that the root of the web application leads to.
    """

    routers: Sequence[APIRouter] = ()
    routes: Routes = field(default_factory=dict)
    timers: Mapping[str, timetable.Action] = field(default_factory=dict)
    loops: Mapping[str, Loop] = field(default_factory=dict)
    on_close: Sequence[Loop] = ()
    state: Mapping[str, object] = field(default_factory=dict)
    body_limits: Mapping[str, int] = field(default_factory=dict)
    embeddable: Sequence[str] = ()
    express: Mapping[tuple[str, str], Express] = field(default_factory=dict)
    front: str | None = None


Wire = Callable[[Context], Parts]


@dataclass(frozen=True, slots=True)
class Definition:
    """A service: its name, settings class, folder, and the function that wires it.

    `home` holds `locales/` and the page templates, in `templates/` or where `templates` says.
    """

    name: str
    settings: type[ServiceSettings]
    home: Path
    wire: Wire
    templates: str = "templates"

    def pages(self, settings: ServiceSettings, program: Program) -> Pages:
        """The service's templates and catalogues over the shared ones, with the menu that all services share."""
        return Pages(
            service=self.name,
            templates=[self.home / self.templates],
            locales=[self.home / "locales"],
            program=program,
            links={name: settings.public_url(name) for name in SERVICES},
            navigation=staff_navigation(settings),
        )


# Content by hash: a record of years ago names a program that this table still holds.
INSERT_PROGRAM = """
    INSERT INTO programs (content_hash, version, content) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
"""


class Service:
    """A running service: `web_app` for requests, `run_role` for the rest."""

    def __init__(self, definition: Definition, context: Context, role: str) -> None:
        self.definition = definition
        self.context = context
        self.role = role
        self.parts = definition.wire(context)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._consumer: Consumer | None = None
        self._inbox = Inbox(context.workshop, self.parts.routes)
        self._starting: str | None = "Starting."
        self._pulse = Pulse(context.pool, context.settings.database_url.get_secret_value(), service=definition.name)
        with_pages = role in ("web", "all")
        self.web_app = create_app(
            service=definition.name,
            settings=context.settings,
            pages=context.pages,
            routers=self.parts.routers if with_pages else (),
            ready=self.ready,
            alive=self.alive,
            lifespan=self._lifespan,
            body_limits=dict(self.parts.body_limits),
            embeddable=self.parts.embeddable,
            express=self.parts.express if with_pages else {},
            pulse=self._pulse,
            front=self.parts.front if with_pages else None,
        )
        self.web_app.state.context = context
        self.web_app.state.pool = context.pool
        self.web_app.state.workshop = context.workshop
        self.web_app.state.program = context.program
        for name, value in self.parts.state.items():
            setattr(self.web_app.state, name, value)

    @asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    async def start(self) -> None:
        """Start the background work of the role; returns at once, `ready` tells when it is up."""
        self._spawn("pulse", self._pulse.run)
        if self.role in ("worker", "all"):
            if self.parts.routes:
                self._spawn("consumer", self._consume)
                self._spawn("parked", self._inbox.run_retries)
                self._spawn("pruning", self._inbox.run_pruning)
            if self.parts.timers:
                self._spawn("timers", lambda: timetable.run(self.context.workshop, self.parts.timers))
            for name, loop in self.parts.loops.items():
                self._spawn(name, loop)
        if self.role in ("relay", "all"):
            relay = Relay(
                self.context.pool,
                service=self.definition.name,
                bootstrap=self.context.settings.kafka_bootstrap,
            )
            self._spawn("relay", relay.run)
        self._spawn("gauges", self._gauge)
        if not (self.role in ("worker", "all") and self.parts.routes):
            self._starting = None

    async def stop(self) -> None:
        """Finish what is running, then close everything."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for close in self.parts.on_close:
            await close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await self.context.pool.close()

    def _spawn(self, name: str, loop: Loop) -> None:
        self._tasks[name] = asyncio.create_task(self._keep_running(name, loop), name=f"{self.definition.name}.{name}")

    async def _keep_running(self, name: str, loop: Loop) -> None:
        failures = 0
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await loop()
                return
            except (*TRANSIENT, KafkaError) as fault:
                log.warning("task_put_off", task=name, error=type(fault).__name__)
            except Exception as error:
                log.error("task_failed", task=name, exc_info=error)
            # What ran for a minute was well; and what waited out an outage is back soon after its end.
            failures = 1 if asyncio.get_running_loop().time() - began > 60 else failures + 1
            metrics.TASK_RESTARTS.labels(name).inc()
            await asyncio.sleep(min(0.5 * 2 ** min(failures, 6), 5.0))

    async def _consume(self) -> None:
        topics: dict[str, Topic] = {cls.topic.name: cls.topic for cls in self.parts.routes}
        consumer = Consumer(
            service=self.definition.name,
            bootstrap=self.context.settings.kafka_bootstrap,
            topics=list(topics.values()),
            inbox=self._inbox,
            pool=self.context.pool,
            session_seconds=self.context.settings.kafka_session_seconds,
        )
        try:
            await consumer.start()
            self._consumer, self._starting = consumer, None
            while consumer.healthy():
                await asyncio.sleep(1)
            raise KafkaError("the consume loop ended")
        finally:
            self._consumer = None
            await asyncio.shield(self._leave(consumer))

    async def _leave(self, consumer: Consumer) -> None:
        """Stop a consumer; one that does not stop ends the process, which whoever runs it starts anew."""
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await consumer.stop()
        except TimeoutError:
            # A task of the client waits for what will never come. What it holds can't be told to let go.
            log.critical("consumer_does_not_stop", seconds=LEAVE_SECONDS)
            signal.raise_signal(signal.SIGTERM)

    async def ready(self) -> str | None:
        """None when the broker's side has started and the database answers."""
        if self._starting is not None:
            return self._starting
        try:
            async with asyncio.timeout(1.5):
                await self.context.pool.fetchval("SELECT 1")
        except (*TRANSIENT, asyncpg.PostgresError) as fault:
            return f"The database does not answer ({type(fault).__name__})."
        consumes = self.role in ("worker", "all") and bool(self.parts.routes)
        # A web process keeps taking sign-ups while the broker is away; the outbox holds them.
        if consumes and self.role == "worker" and self._consumer is None:
            return "The consumer is not connected to Kafka."
        return self._consumer.refusal if self._consumer else None

    async def alive(self) -> str | None:
        """None unless a background task ended, or a batch is older than the poll interval."""
        ended = [name for name, task in self._tasks.items() if task.done() and not task.cancelled()]
        if ended:
            return f"Background tasks ended: {', '.join(ended)}."
        return None

    async def _gauge(self) -> None:
        while True:
            row = await self.context.pool.fetchrow(GAUGES)
            assert row is not None
            metrics.OUTBOX_OLDEST_SECONDS.set(row["outbox_oldest_seconds"])
            metrics.OUTBOX_ROWS.set(row["outbox_rows"])
            metrics.PARKED.set(row["parked"])
            metrics.DEAD.set(row["dead"])
            metrics.QUARANTINED.set(row["quarantined"])
            if self._consumer is not None:
                for tp, records in (await self._consumer.lag()).items():
                    metrics.INBOX_LAG.labels(tp.topic, str(tp.partition)).set(records)
            await asyncio.sleep(5)


# Bounded counts: an outage must not be made worse by counting what it piled up.
GAUGES = """
    SELECT coalesce(extract(epoch FROM clock_timestamp() - (SELECT min(created_at) FROM
               (SELECT created_at FROM outbox ORDER BY shard, id LIMIT 1000) AS heads)), 0) AS outbox_oldest_seconds,
           (SELECT count(*) FROM (SELECT 1 FROM outbox LIMIT 10000) AS bounded) AS outbox_rows,
           (SELECT count(*) FROM (SELECT 1 FROM parked WHERE status = 'parked' LIMIT 10000) AS bounded) AS parked,
           (SELECT count(*) FROM (SELECT 1 FROM parked WHERE status = 'dead' LIMIT 10000) AS bounded)
             + (SELECT count(*) FROM (SELECT 1 FROM timers WHERE dead LIMIT 10000) AS bounded) AS dead,
           (SELECT count(*) FROM (SELECT 1 FROM quarantined LIMIT 10000) AS bounded) AS quarantined
"""


@asynccontextmanager
async def open_service(definition: Definition, settings: ServiceSettings, role: str) -> AsyncIterator[Service]:
    """A wired service with its pool open; production and component tests both start here."""
    program = load(settings.program)
    pool = await create_pool(
        settings.database_url.get_secret_value(), service=definition.name, size=settings.database_connections
    )
    try:
        await demand_migrated(pool, definition.name)
        await clock.refuse_in_production(pool, settings.environment)
        content = settings.program.read_text(encoding="utf-8")
        await pool.execute(INSERT_PROGRAM, program.content_hash, program.version, content)
        workshop = Workshop(pool, program, definition.name)
        context = Context(settings, program, definition.pages(settings, program), pool, workshop)
        yield Service(definition, context, role)
    finally:
        await pool.close()


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: a service has one place that listens to signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `_serve`."""
        yield


def rest_garbage_collector() -> None:
    """Look for reference cycles seldom, and never again through what start-up has made.

    A batch of events is tens of thousands of objects and no cycle; with Python's defaults a worker spends a third of
    its time looking through them. Each generation still has its turn soon, so that a batch in a cycle is let go.
    """
    gc.collect()
    gc.freeze()
    # The oldest generation is looked at once a quarter of what it held last time has come to it: let that be nothing.
    gc.collect()
    gc.set_threshold(10_000, 5, 5)


async def _serve(definition: Definition, settings: ServiceSettings, role: str) -> None:
    async with open_service(definition, settings, role) as service:
        rest_garbage_collector()
        server = _Server(
            uvicorn.Config(
                service.web_app,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=8,
                timeout_keep_alive=30,
                backlog=2048,
                proxy_headers=False,
            )
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lambda: setattr(server, "should_exit", True))
        log.info("starting", role=role, port=settings.port, program=service.context.program.version)
        await server.serve()
        log.info("stopped", role=role)


def main(definition: Definition) -> None:
    """The command line of a service: `python -m services.<name> ROLE`."""
    parser = argparse.ArgumentParser(prog=f"python -m services.{definition.name}", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("role", choices=ROLES)
    role = parser.parse_args().role
    if role == "settings":
        print(reference(definition.settings), end="")
        return
    try:
        settings = definition.settings()
    except ValidationError as invalid:
        prefix = str(definition.settings.model_config.get("env_prefix", "")).upper()
        lines = [f"{prefix}{str(e['loc'][0]).upper()}: {e['msg']}." for e in invalid.errors(include_input=False)]
        sys.exit("The settings are not complete; set these variables:\n  " + "\n  ".join(lines))
    except (RuntimeError, SettingsError) as unreadable:
        sys.exit(str(unreadable))
    configure(definition.name, settings.log_level)
    try:
        if role in ("migrate", "contract"):
            if settings.owner_database_url is None:
                sys.exit(f"Set {definition.name.upper()}_OWNER_DATABASE_URL: migrations run as the owning role.")
            owner_dsn = settings.owner_database_url.get_secret_value()
            if role == "contract":
                contract(definition.name, owner_dsn)
            elif held := migrate(definition.name, owner_dsn):
                print(f"Held back while processes of an older version run: {', '.join(held)}. Migrate again after.")
        else:
            mend_connections()
            uvicorn_loop = uvicorn.Config(app="", loop="uvloop", log_config=None).get_loop_factory()
            with asyncio.Runner(loop_factory=uvicorn_loop) as runner:
                runner.run(_serve(definition, settings, role))
    except (ProgramError, RuntimeError) as error:
        sys.exit(str(error))
    except (*TRANSIENT, asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as fault:
        variable = f"{definition.name.upper()}_DATABASE_URL"
        sys.exit(f"The database does not answer ({type(fault).__name__}: {fault}); check {variable}.")
