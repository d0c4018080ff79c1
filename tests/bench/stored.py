"""One of each with many people stored, against the same with few: a sign-up, a send, a round of matching.

Each is done a few times in a row with nothing else going on; a sample is the median of them, in milliseconds.
"""

import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

from services.matching.actions import rounds
from services.matching.leader import options_of, solved
from services.matching.store.rounds import take_epoch
from services.notifications.app import SERVICE
from services.notifications.settings import Settings
from shared.db import create_pool
from shared.program import load
from shared.service import Service
from shared.work import Workshop
from tests.bench import people
from tests.bench.intake import UNLIMITED
from tests.bench.load import connect, request
from tests.bench.mail import AGAIN, outbox_of, sign_up
from tests.bench.matching import UNDO, fill
from tests.bench.serving import environment_of, free_ports, process
from tests.bench.stage import Stage
from tests.bench.suite import Goal, Pair, Rounds, Sample
from tests.harness import PROGRAM_2025, Database, deliver, internal_token, make_settings, running

FEW, MANY, MANY_FULL = 10_000, 100_000, 1_000_000
SIGNUPS, MAILS, WAITING, GIVING = 60, 60, 120, 40
# As the intake leaves them, confirmed, with what has been relayed gone.
STORED_SIGNUPS = (
    """
    INSERT INTO people (id, name, state, language, legal_body, signed_up_at, confirmed_at)
    SELECT md5('p' || n)::uuid, 'Person ' || n, 'TX', 'en', 'education', now() - n * interval '1 second', now()
    FROM generate_series(1, $1) AS n
    """,
    """
    INSERT INTO person_emails (email_key, person_id, email, added_at)
    SELECT 'p' || n || '@example.org', md5('p' || n)::uuid, 'p' || n || '@example.org', now()
    FROM generate_series(1, $1) AS n
    """,
    """
    INSERT INTO signups (id, intent_id, person_id, form, role, legal_body, email, facts, known, program_version,
                         program_hash, created_at)
    SELECT id, md5('i' || id)::uuid, id, 'run', 'prospect', legal_body, name, '{}', false, 'v', 'h', signed_up_at
    FROM people LIMIT $1
    """,
    "INSERT INTO intents SELECT intent_id, '\\x00', id, created_at FROM signups LIMIT $1",
    "INSERT INTO sources (signup_id, person_id, at) SELECT id, person_id, created_at FROM signups LIMIT $1",
    """
    INSERT INTO links (id, purpose, token_hash, person_id, signup_id, created_at, expires_at)
    SELECT id, 'confirm', uuid_send(id), person_id, id, created_at, now() FROM signups LIMIT $1
    """,
    "INSERT INTO streams SELECT 'signup.people', id::text, 2 FROM people LIMIT $1",
)
STORED_MESSAGES = """
    INSERT INTO messages (id, event_id, event_type, person_id, template, channel, delivery, reference, state, tries,
                          hands, program_version, program_hash, created_at, handed_at)
    SELECT md5('m' || n)::uuid, md5('e' || n)::uuid, 'signup.signed_up.v1', md5('p' || n)::uuid, 'welcome', 'email',
           'transactional', 'r', 'accepted', 1, 1, 'v', 'h', now(), now()
    FROM generate_series(1, $1) AS n
"""
# People who wait for nothing, and volunteers who paused.
STORED_MATCHES = (
    """
    INSERT INTO people (person_id, fetched_version, first_name, roles, signed_up_at, confirmed_at)
    SELECT md5('s' || n)::uuid, 1, 'S', ARRAY['prospect'], now(), now() FROM generate_series(1, $1) AS n
    """,
    """
    INSERT INTO availability (person_id, time_zone, own, updated_at)
    SELECT person_id, 'America/Chicago', true, now() - interval '1 day' FROM people WHERE first_name = 'S' LIMIT $1
    """,
    """
    INSERT INTO queue_entries (person_id, purpose, state, since, waiting_since)
    SELECT person_id, 'one_on_one', 'done', now(), now() FROM people WHERE first_name = 'S' LIMIT $1
    """,
)


@dataclass
class Place:
    """A system with so many people stored."""

    signup_port: int
    notifications: Database
    service: Service
    matching: Workshop
    matching_database: Database

    async def measure(self) -> dict[str, Sample]:
        """Each of the three, once."""
        return {
            "signup": Sample(await self._signup()),
            "send": Sample(await self._send()),
            "match": Sample(await self._match()),
        }

    async def _signup(self) -> float:
        connection = (await connect(self.signup_port, 1))[0]
        mark, took = uuid4().hex[:8], []
        for number in range(SIGNUPS):
            began = time.perf_counter()
            status = await connection.send(request("/v1/signups", "application/json", people.as_json(mark, number)))
            took.append(time.perf_counter() - began)
            assert status == 202, status
        connection.close()
        return statistics.median(took) * 1000

    async def _send(self) -> float:
        await self.notifications.execute(f"{AGAIN} WHERE delivery = 'link'")
        sender = self.service.parts.state["senders"]["link"]  # type: ignore[index]
        began = time.perf_counter()
        assert await sender.send_batch() == MAILS
        return (time.perf_counter() - began) * 1000

    async def _match(self) -> float:
        workshop = self.matching
        async with workshop.begin() as work:
            epoch = await take_epoch(work.connection, work.now)
        began = time.perf_counter()
        async with workshop.begin() as work:
            await rounds.due(work, 0)
            taken = await rounds.snapshot(work)
        solution = await solved(taken, 60.0, options_of(workshop.program))
        async with workshop.begin() as work:
            assert (await rounds.commit(work, epoch, taken, solution)).held
        seconds = time.perf_counter() - began
        for statement in UNDO:
            await self.matching_database.execute(statement)
        return seconds * 1000


@asynccontextmanager
async def open_place(stage: Stage, stored: int) -> AsyncIterator[Place]:
    """Fill, start, warm up."""
    async with AsyncExitStack() as stack:
        signup, notifications, matching = [
            await stack.enter_async_context(stage.databases.clone(name))
            for name in ("signup", "notifications", "matching")
        ]
        for statement in STORED_SIGNUPS:
            await signup.execute(statement, stored)
        await notifications.execute(STORED_MESSAGES, stored)
        for statement in STORED_MATCHES:
            await matching.execute(statement, stored)
        await fill(matching, WAITING, GIVING)
        for database in (signup, notifications, matching):
            await database.execute("ANALYZE")
        ports = free_ports("signup", "smtp")
        stack.enter_context(
            process(["-m", "tests.bench.mail_sink", str(ports["smtp"])], {}, log=stage.directory / "sink.log")
        )
        stack.enter_context(
            process(
                ["-m", "services.signup", "web"],
                environment_of("signup", signup, kafka="127.0.0.1:1", ports=ports, **UNLIMITED),
                log=stage.directory / "signup.log",
                ready=f"http://127.0.0.1:{ports['signup']}/readyz",
            )
        )
        await sign_up(ports["signup"], MAILS)
        settings = make_settings(
            Settings, notifications, internal_token=internal_token("notifications"),
            signup_url=f"http://127.0.0.1:{ports['signup']}", smtp_host="127.0.0.1", smtp_port=ports["smtp"],
        )  # fmt: skip
        service = await stack.enter_async_context(running(SERVICE, settings))
        assert await deliver(service, *await outbox_of(signup)) == MAILS
        pool = await create_pool(matching.dsn, service="bench", size=4)
        stack.push_async_callback(pool.close)
        place = Place(ports["signup"], notifications, service, Workshop(pool, load(PROGRAM_2025), "matching"), matching)
        await place.measure()
        yield place


@asynccontextmanager
async def stored(stage: Stage) -> AsyncIterator[Sequence[Pair]]:
    """Three pairs."""
    most = stage.count(MANY_FULL if stage.full else MANY)
    async with open_place(stage, stage.count(FEW)) as few, open_place(stage, most) as many:
        sides = Rounds(lambda side: (many if side == "ours" else few).measure())
        beside = f"with {most:,} people stored, against {stage.count(FEW):,}"
        yield [
            Pair(8, f"{what} {beside}", "ms", sides.of(name), sides.of(name, "few"), Goal("at most", 1.15))
            for name, what in (
                ("signup", "one sign-up"),
                ("send", f"{MAILS} mails sent"),
                ("match", f"a round of {WAITING} × {GIVING}"),
            )
        ]
