"""What people feel of an outage: of Kafka nothing, of PostgreSQL a page that keeps what they typed, and of a mail host
that hangs on a mailing no delay of the link they wait for."""

import asyncio
import signal
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import psutil
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from playwright.async_api import Browser

from deploy.demo.mailbox import LINK
from deploy.embedded.processes import choose_port
from shared.settings import SERVICES
from tests.flow.conftest import System, running_system
from tests.flow.test_kill import processes_of
from tests.flow.topics import at_rest
from tests.flow.visitor import until, visiting

# The promise is about a minute; the fault runs keep Kafka away that long.
AWAY_SECONDS = 10
TOLD_SECONDS, BACK_SECONDS = 2.0, 10.0
# One page of each service that has to ask its database.
PAGES = {"signup": "/people", "matching": "/matching/board", "notifications": "/messages", "endorsement": "/reviews"}
HTML = {"Accept": "text/html"}


@contextmanager
def hung(system: System, name: str) -> Iterator[None]:
    """The process and its children hang while the block lasts; their sockets stay open and say nothing."""
    parent = psutil.Process(processes_of(system.home)[name]["pid"])
    stopped = [parent, *parent.children(recursive=True)]
    for process in stopped:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in stopped:
            if process.is_running():
                process.send_signal(signal.SIGCONT)


async def sign_up(client: httpx.AsyncClient, system: System) -> tuple[httpx.Response, float]:
    """A sign-up by JSON, and the seconds until its answer."""
    body = {"form": "run", "name": "Bo Li", "email": f"{uuid4().hex}@example.org", "state": "TX",
            "spoken_languages": ["en"]}  # fmt: skip
    began = time.monotonic()
    answer = await client.post(
        system.url("signup", "/v1/signups"), json=body, headers={"Idempotency-Key": str(uuid4())}
    )
    return answer, time.monotonic() - began


async def thanks_page(system: System, browser: Browser) -> str:
    """What somebody reads who signs up now."""
    async with visiting(system, browser, f"{uuid4().hex[:10]}@example.org") as visitor:
        await visitor.sign_up("run", name="Ada Obi", state="TX", spoken_languages=["en"])
        return await visitor.text()


async def test_sign_ups_go_on_while_kafka_hangs(system: System, browser: Browser) -> None:
    usual_page = await thanks_page(system, browser)
    async with httpx.AsyncClient(timeout=30) as client:
        before = [await sign_up(client, system) for _ in range(60)]
        with hung(system, "kafka"):
            ends = time.monotonic() + AWAY_SECONDS
            meanwhile = [await sign_up(client, system)]
            page = await thanks_page(system, browser)
            while time.monotonic() < ends or len(meanwhile) < 60:
                meanwhile.append(await sign_up(client, system))
            assert (await client.get(system.url("signup", "/readyz"))).status_code == 200
    assert page == usual_page
    assert {answer.status_code for answer, _seconds in (*before, *meanwhile)} == {202}
    usual, now = (statistics.median(seconds for _answer, seconds in part) for part in (before, meanwhile))
    # Whoever asked Kafka would wait for time-outs of many seconds.
    assert now < max(3 * usual, 1.0), f"{now:.3f} s instead of {usual:.3f} s"
    await at_rest(system, seconds=120)
    told = await system.fetch(
        "notifications", "SELECT count(*) FROM messages WHERE template = 'welcome_confirm' AND state = 'accepted'"
    )
    signed = await system.fetch("signup", "SELECT count(*) FROM signups")
    assert told == signed


async def is_ready(system: System) -> bool:
    async with httpx.AsyncClient(timeout=5) as client:
        answers = [await client.get(system.url(service, "/readyz")) for service in SERVICES]
    return {answer.status_code for answer in answers} == {200}


async def staff_session(system: System) -> str:
    """A session of a member of the staff."""
    email = f"{uuid4().hex[:10]}@staff.example.org"
    link = await system.command("staff", "add", "--name", "Mo Diaz", "--email", email, "--role", "staff",
                                "--role", "reviewer")  # fmt: skip
    async with httpx.AsyncClient() as client:
        token = link.strip().rpartition("/")[2]
        opened = await client.post(system.url("signup", "/v1/account/session"), json={"token": token})
    assert opened.status_code == 200, opened.text
    return str(opened.json()["session"])


async def test_every_service_says_soon_that_its_database_hangs_and_is_back_soon(system: System) -> None:
    session = await staff_session(system)
    headers = {**HTML, "Authorization": f"Bearer {session}"}
    async with httpx.AsyncClient(timeout=30, headers=headers) as client:
        usual = {service: (await client.get(system.url(service, path))).status_code for service, path in PAGES.items()}
        assert usual == dict.fromkeys(PAGES, 200)
        with hung(system, "postgres"):
            for _ in range(2):
                for service, path in PAGES.items():
                    began = time.monotonic()
                    page = await client.get(system.url(service, path))
                    seconds = time.monotonic() - began
                    assert (service, page.status_code, page.headers.get("retry-after")) == (service, 503, "5")
                    assert seconds < TOLD_SECONDS, f"{service} took {seconds:.1f} s"
            answer, seconds = await sign_up(client, system)
            assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
            assert seconds < TOLD_SECONDS
        await until(lambda: is_ready(system), "every service ready", seconds=BACK_SECONDS)
        back = {service: (await client.get(system.url(service, path))).status_code for service, path in PAGES.items()}
    assert back == usual


@pytest.mark.parametrize(("language", "word"), [("en", "Send again"), ("es", "Enviar de nuevo")])
async def test_form_that_was_typed_in_an_outage_is_sent_by_one_press_after_it(
    system: System, browser: Browser, language: str, word: str
) -> None:
    email = f"{uuid4().hex[:10]}@example.org"
    async with visiting(system, browser, email, language=language) as visitor:
        await visitor.go(system.url("signup", f"/f/run?lang={language}"))
        await visitor.fill(email=email, name="Zoë “Q” <Obi>", state="TX", spoken_languages=["en"])
        await visitor.old_enough()
        with hung(system, "postgres"):
            await visitor.press("main form button[type=submit]", status=503)
            assert word in await visitor.text()
            # Too early: the page stays as it is, with everything in it.
            await visitor.press("main form button[type=submit]", status=503)
        await until(lambda: is_ready(system), "every service ready", seconds=BACK_SECONDS)
        await visitor.press("main form button[type=submit]")
        assert "/f/run/thank-you" in visitor.page.url
    stored = await system.fetch("signup", "SELECT s.facts->>'name' FROM signups s WHERE s.email = $1", email)
    assert stored == [("Zoë “Q” <Obi>",)]


@dataclass
class MailHost:
    """Takes every mail, but never answers for those to an address in `hangs_on`."""

    mails: list[tuple[str, str]] = field(default_factory=list)
    hangs_on: set[str] = field(default_factory=set)
    hanging: int = 0

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        address = envelope.rcpt_tos[0]
        if address in self.hangs_on:
            self.hanging += 1
            await asyncio.sleep(3600)
        assert isinstance(envelope.content, bytes)
        body = message_from_bytes(envelope.content, policy=policy.default).get_body(("plain",))
        assert body is not None
        self.mails.append((address, str(body.get_content())))
        return "250 Taken"

    def links(self, address: str, kind: str) -> list[str]:
        """Links of that kind in the mails to an address."""
        return [link for to, text in self.mails if to == address for link in LINK.findall(text) if kind in link]


@pytest.fixture(scope="module")
def mail_host() -> Iterator[tuple[MailHost, int]]:
    """A mail host of this module's own and its port."""
    host, port = MailHost(), choose_port()
    controller = Controller(host, hostname="127.0.0.1", port=port)
    controller.start()
    yield host, port
    controller.stop(no_assert=True)


@asynccontextmanager
async def mailing_that_hangs(system: System, host: MailHost, person_id: UUID, address: str) -> AsyncIterator[None]:
    """Bulk mail in the queue for somebody whose mail is never answered for, in each of the lane's connections."""
    host.hangs_on.add(address)
    connection = await asyncpg.connect(system.endpoints["postgres_owner"]["notifications"])
    try:
        await connection.execute(
            """INSERT INTO messages (id, event_id, event_type, person_id, template, channel, delivery, reference, state,
                                     due_at, program_version, program_hash, created_at)
               SELECT gen_random_uuid(), gen_random_uuid(), 'signup.person_confirmed.v1', $1, 'confirmed_welcome',
                      'email', 'bulk', $2, 'queued', business_now(), '1', '1', business_now()
               FROM generate_series(1, 100)""",
            person_id, str(person_id),
        )  # fmt: skip

        async def hangs() -> bool:
            return host.hanging >= 4

        await until(hangs, "the mailing to hang")
        yield
    finally:
        await connection.close()


async def settled_by_command(system: System, person_id: UUID) -> None:
    """What hung is listed for the operator, whose word ends it and is audited."""
    unknown = "SELECT id FROM messages WHERE state = 'unknown' AND delivery = 'bulk' ORDER BY id LIMIT 1"

    async def some() -> list[tuple[Any, ...]]:
        return await system.fetch("notifications", unknown)

    ((message,),) = await until(some, "a mail whose hand-over ended unknown")
    listed = await system.command("messages", "unknown")
    assert f"{message}  bulk   confirmed_welcome  email" in listed
    assert str(person_id) in listed
    said = await system.command("messages", "settle", str(message), "--drop", "--reason", "The host hung")
    assert said == f"{message} is left unsent.\n"
    found = f"SELECT state, reason FROM messages WHERE id = '{message}'"
    assert await system.fetch("notifications", found) == [("dropped", "by_operator")]
    audited = "SELECT action, subject, details->>'reason' FROM audit_entries"
    assert await system.fetch("notifications", audited) == [("message_settled", str(message), "The host hung")]


async def test_mailing_that_hangs_delays_no_link(tmp_path: Path, mail_host: tuple[MailHost, int]) -> None:
    host, port = mail_host
    with running_system(tmp_path / "mails", NOTIFICATIONS_SMTP_PORT=str(port)) as system:
        async with httpx.AsyncClient(timeout=30) as client:
            address = f"{uuid4().hex}@example.org"
            await client.post(
                system.url("signup", "/v1/signups"),
                json={"form": "run", "name": "Bo Li", "email": address, "state": "TX", "spoken_languages": ["en"],
                      "consents": [{"channel": "email"}]},
                headers={"Idempotency-Key": str(uuid4())},
            )  # fmt: skip

            async def link(kind: str, seen: int) -> str | None:
                found = host.links(address, kind)
                return found[seen] if len(found) > seen else None

            confirm = await until(lambda: link("/confirm/", 0), "the link to confirm")
            token = str(confirm).rstrip(".").rpartition("/")[2]
            confirmed = await client.post(system.url("signup", "/v1/confirmations"), json={"token": token})
            person_id = UUID(confirmed.json()["person_id"])
            await at_rest(system)

            async def wait_for_links(count: int) -> float:
                """Sign-in links asked for one after another by somebody else: the median time until each is there."""
                waits = []
                for _ in range(count):
                    who = f"{uuid4().hex}@example.org"
                    began = time.monotonic()
                    await client.post(
                        system.url("signup", "/v1/signups"),
                        json={"form": "run", "name": "Al Ray", "email": who, "state": "TX", "spoken_languages": ["en"]},
                        headers={"Idempotency-Key": str(uuid4())},
                    )

                    async def there(who: str = who) -> list[str]:
                        return host.links(who, "/confirm/")

                    await until(there, "the link")
                    waits.append(time.monotonic() - began)
                return statistics.median(waits)

            usual = await wait_for_links(10)
            async with mailing_that_hangs(system, host, person_id, address):
                now = await wait_for_links(10)
                states: dict[str, Any] = dict(await system.fetch(
                    "notifications", "SELECT state, count(*) FROM messages WHERE delivery = 'bulk' GROUP BY state"
                ))  # fmt: skip
                await settled_by_command(system, person_id)
        assert "accepted" not in states
        # Behind the mailing a link would wait for ten seconds, the time-out of a hand-over.
        assert now < max(3 * usual, 5.0), f"{now:.2f} s instead of {usual:.2f} s"
