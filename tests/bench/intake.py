"""Sign-ups acknowledged by one web process, against a bare handler: throughput, and latency at half of its throughput.

Both are served by uvicorn in a process of their own; the client runs in this one.
"""

import itertools
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from uuid import uuid4

from deploy.embedded.processes import Process
from tests.bench import people
from tests.bench.load import Answers, closed_loop, connect, open_loop, request
from tests.bench.serving import environment_of, free_ports, process
from tests.bench.stage import Clock, Stage
from tests.bench.suite import Goal, Measure, Pair, Sample
from tests.harness import Database

CONNECTIONS = (32, 256)
BARE_TABLE = "CREATE TABLE bare_signups (LIKE signups INCLUDING ALL)"
UNLIMITED = {
    "limit_address_burst": 10**8,
    "limit_global_burst": 10**8,
    "limit_contact_burst": 10**8,
    "limit_address_per_minute": 10**8,
    "limit_global_per_second": 10**8,
}
"""A whole crowd comes from one address here; the buckets are refilled and spent all the same."""
WARM_SECONDS = 2.0


class Target:
    """A server under load, with the answers that it should give."""

    def __init__(self, stage: Stage, child: Process, port: int, database: Database) -> None:
        self._stage = stage
        self._child = child
        self._port = port
        self._database = database

    async def throughput(self, requests: Iterator[bytes], connections: int, seconds: float) -> Sample:
        """Answers per second in a closed loop."""
        opened = await connect(self._port, connections)
        try:
            clock = Clock(self._stage, self._child.pid)
            answers = await closed_loop(opened, requests, seconds)
            count = demand_accepted(answers)
            return Sample(count / clock.wall_seconds(), clock.cpu_seconds() / count)
        finally:
            for connection in opened:
                connection.close()

    async def latency(self, requests: Iterator[bytes], per_second: float, seconds: float) -> Sample:
        """The 99th percentile in milliseconds, at a steady rate."""
        opened = await connect(self._port, 64)
        try:
            answers = await open_loop(opened, requests, seconds, per_second)
            demand_accepted(answers)
            return Sample(answers.percentile(0.99) * 1000)
        finally:
            for connection in opened:
                connection.close()


def demand_accepted(answers: Answers) -> int:
    """The number of answers; fails when one of them was a refusal."""
    refused = {status: count for status, count in answers.statuses.items() if status not in (202, 303)}
    assert not refused, f"refused: {refused}"
    return sum(answers.statuses.values())


@asynccontextmanager
async def intake(stage: Stage) -> AsyncIterator[Sequence[Pair]]:
    """Six pairs: JSON and form, with few and many connections; and the latency of each."""
    async with stage.databases.clone("signup") as database:
        await database.execute(BARE_TABLE)
        with ExitStack() as children:
            ports = free_ports("signup", "bare")
            child = children.enter_context(
                process(
                    ["-m", "services.signup", "web"],
                    environment_of("signup", database, kafka="127.0.0.1:1", ports=ports, **UNLIMITED),
                    log=stage.directory / "signup.log",
                    ready=f"http://127.0.0.1:{ports['signup']}/readyz",
                )
            )
            bare = children.enter_context(
                process(
                    ["-m", "uvicorn", "tests.bench.ceilings.bare_insert:app", "--port", str(ports["bare"]),
                     "--no-access-log", "--log-level", "warning"],
                    {"DATABASE_URL": database.dsn},
                    log=stage.directory / "bare.log",
                    ready=f"http://127.0.0.1:{ports['bare']}/",
                )
            )  # fmt: skip
            ours = Target(stage, child, ports["signup"], database)
            ceiling = Target(stage, bare, ports["bare"], database)
            shown = _shown(ports["signup"])
            # The server takes a form only after it was shown for a moment.
            time.sleep(2.1)  # noqa: ASYNC251
            kinds = {"JSON": _json, "form": lambda: _forms(shown)}
            yield [pair for name, make in kinds.items() for pair in await _pairs(stage, name, make, ours, ceiling)]


async def _pairs(
    stage: Stage, name: str, make: Callable[[], Iterator[bytes]], ours: Target, ceiling: Target
) -> list[Pair]:
    for target in (ours, ceiling):
        await target.throughput(make(), CONNECTIONS[0], WARM_SECONDS)
    half = (await ceiling.throughput(make(), CONNECTIONS[0], stage.seconds)).value / 2

    def at(target: Target, connections: int) -> Measure:
        return lambda: target.throughput(make(), connections, stage.seconds)

    pairs = [
        Pair(1, f"sign-ups, {name}, {connections} connections", "requests/s", at(ours, connections),
             at(ceiling, connections), Goal("at least", 1.5))
        for connections in CONNECTIONS
    ]  # fmt: skip
    pairs.append(
        Pair(
            2, f"p99 latency, {name}, at half the ceiling's throughput ({half:,.0f}/s)", "ms",
            lambda: ours.latency(make(), half, stage.seconds), lambda: ceiling.latency(make(), half, stage.seconds),
            Goal("at most", 2.0),
        )
    )  # fmt: skip
    return pairs


def _json() -> Iterator[bytes]:
    mark = uuid4().hex[:8]
    return (request("/v1/signups", "application/json", people.as_json(mark, number)) for number in itertools.count())


def _forms(shown: dict[str, str]) -> Iterator[bytes]:
    mark = uuid4().hex[:8]
    kind = "application/x-www-form-urlencoded"
    return (request("/f/run", kind, people.as_form(shown, mark, number)) for number in itertools.count())


def _shown(port: int) -> dict[str, str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/f/run", timeout=10) as page:
        return people.controls(page.read().decode())
