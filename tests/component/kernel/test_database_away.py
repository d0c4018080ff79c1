"""A service whose database hangs, is killed, or has no connection left: it says so soon, keeps what was typed, and
is back soon after."""

import asyncio
import html
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx
import psutil
import pytest

from deploy.embedded.postgres import Postgres
from deploy.embedded.processes import choose_port
from shared.migrate import migrate
from tests.component.kernel.running import until
from tests.component.kernel.test_service import process, ready, variables
from tests.harness import Database

TOLD_SECONDS, BACK_SECONDS = 2.0, 10.0
TYPED = {"name": "Zoë & <Ana>", "text": 'First line\r\nsaid: "yes" + 1', "empty": ""}
HTML = {"Accept": "text/html"}
NUMBERS = count(1)


@pytest.fixture(scope="module")
def server(server_directory: Path) -> Iterator[Postgres]:
    """A server of this module's own, which may be hurt."""
    with Postgres(server_directory / "postgres-away") as made:
        yield made


@dataclass(frozen=True, slots=True)
class Away:
    """A web process and the server that its database is on."""

    server: Postgres
    database: Database
    client: httpx.AsyncClient
    log: Path

    def signal(self, number: signal.Signals) -> None:
        """To the server and every process it made: from here it looks like a network that swallows packets."""
        assert self.server.process is not None
        parent = psutil.Process(self.server.process.pid)
        # The parent first, so that it makes no more of them; some (an autovacuum worker) end by themselves.
        parent.send_signal(number)
        for child in parent.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.send_signal(number)

    @asynccontextmanager
    async def hung(self) -> AsyncIterator[None]:
        """The server hangs for as long as the block lasts."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    async def send(self) -> tuple[httpx.Response, float]:
        """The typed form, as a browser sends it; the answer, and the seconds that it took."""
        began = time.monotonic()
        answer = await self.client.post("/saved?step=2", data=TYPED, headers=HTML)
        return answer, time.monotonic() - began

    async def is_ready(self) -> bool:
        return (await self.client.get("/readyz")).status_code == 200


@pytest.fixture
async def away(server: Postgres, tmp_path: Path) -> AsyncIterator[Away]:
    """A ready web process with few connections."""
    # Not a clone: those are dropped over a connection that the killing would cut.
    made = await asyncio.to_thread(server.create_service, f"away_{next(NUMBERS)}")
    await asyncio.to_thread(migrate, "notifications", made.owner_dsn)
    database = Database(made.dsn, made.owner_dsn)
    port, log = choose_port(), tmp_path / "log"
    environment = variables(database, "127.0.0.1:1", port, TINY_DATABASE_CONNECTIONS="4")
    async with process("web", environment, log):
        await ready(port, log)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield Away(server, database, client, log)


def kept_in(page: httpx.Response) -> tuple[str, dict[str, str]]:
    """Where the page's button leads, and the fields that it sends."""
    (action,) = re.findall(r'<form method="post" action="([^"]*)">', page.text)
    fields = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page.text)
    return html.unescape(action), {html.unescape(name): html.unescape(value) for name, value in fields}


def assert_told(answer: httpx.Response, seconds: float) -> None:
    assert (answer.status_code, answer.headers.get("retry-after")) == (503, "5"), answer.text
    assert seconds < TOLD_SECONDS


async def test_form_is_kept_while_the_database_hangs_and_sent_again_once_it_is_back(away: Away) -> None:
    assert (await away.send())[0].status_code == 200
    async with away.hung():
        # The first meets the hanging server, the others find it known to be away.
        for _ in range(3):
            page, seconds = await away.send()
            assert_told(page, seconds)
            assert kept_in(page) == ("/saved?step=2", TYPED)
        began = time.monotonic()
        program = await away.client.get("/v1/slow", params={"seconds": 0})
        assert_told(program, time.monotonic() - began)
        assert program.headers["content-type"] == "application/problem+json"
        assert (await away.client.get("/framed/form")).json() == {"framed": True}
        assert (await away.client.get("/readyz")).status_code == 503
        assert (await away.client.get("/livez")).status_code == 200
    await until(away.is_ready, what="ready", seconds=BACK_SECONDS)
    action, fields = kept_in(page)
    again = await away.client.post(action, data=fields, headers=HTML)
    assert (again.status_code, again.json()) == (200, {"saved": f"{TYPED['name']}: {TYPED['text']}"})


async def test_hang_of_ten_seconds_leaves_no_connection_stuck(away: Away) -> None:
    waiting = [asyncio.create_task(away.client.get("/v1/slow", params={"seconds": 3})) for _ in range(4)]
    await until(lambda: busy(away), what="every connection in use")
    async with away.hung():
        answers = await asyncio.gather(*waiting)
        assert {answer.status_code for answer in answers} == {503}
        # Connections that have been silent this long are broken off: nobody waits on them for half a minute.
        await until(lambda: says(away.log, "database_away"), what="the log's word")
        await asyncio.sleep(10)
    await until(away.is_ready, what="ready", seconds=BACK_SECONDS)
    results = await asyncio.gather(*(away.send() for _ in range(8)))
    assert {answer.status_code for answer, _seconds in results} == {200}


async def busy(away: Away) -> bool:
    """Whether as many statements are under way as the process has connections."""
    # The superuser's view: nobody else is shown the statements of another role.
    admin = await asyncpg.connect(away.server.admin_dsn)
    try:
        count = await admin.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND state = 'active' AND query LIKE '%pg_sleep%'",
            urlsplit(away.database.dsn).username,
        )
    finally:
        await admin.close()
    return bool(count >= 4)


async def says(log: Path, word: str) -> bool:
    return word in log.read_text()  # noqa: ASYNC240 (a short local file)


async def test_slow_statement_is_left_alone(away: Away) -> None:
    answer = await away.client.get("/v1/slow", params={"seconds": 4})
    assert (answer.status_code, answer.json()) == (200, {"slept": 4})
    assert not await says(away.log, "database_away")


async def test_killed_database_is_told_at_once_and_missed_no_longer_than_it_is_away(away: Away) -> None:
    assert away.server.process is not None
    psutil.Process(away.server.process.pid).kill()
    page, seconds = await away.send()
    assert_told(page, seconds)
    assert kept_in(page) == ("/saved?step=2", TYPED)
    await asyncio.to_thread(away.server.start)
    await until(away.is_ready, what="ready", seconds=BACK_SECONDS)
    assert (await away.send())[0].status_code == 200


async def test_pool_that_is_used_up_is_told_in_time(away: Away) -> None:
    holding = [asyncio.create_task(away.client.get("/v1/slow", params={"seconds": 6})) for _ in range(4)]
    await until(lambda: busy(away), what="every connection in use")
    page, seconds = await away.send()
    assert_told(page, seconds)
    assert kept_in(page) == ("/saved?step=2", TYPED)
    assert {answer.status_code for answer in await asyncio.gather(*holding)} == {200}
    assert (await away.send())[0].status_code == 200


async def test_server_without_a_connection_left_is_told_in_time(away: Away) -> None:
    role = urlsplit(away.database.dsn).username
    admin = await asyncpg.connect(away.server.admin_dsn)
    try:
        await admin.execute(f'ALTER ROLE "{role}" CONNECTION LIMIT 0')
        try:
            await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role)
            page, seconds = await away.send()
            assert_told(page, seconds)
            assert kept_in(page) == ("/saved?step=2", TYPED)
        finally:
            await admin.execute(f'ALTER ROLE "{role}" CONNECTION LIMIT -1')
    finally:
        await admin.close()
    await until(away.is_ready, what="ready", seconds=BACK_SECONDS)
    assert (await away.send())[0].status_code == 200
