"""From the form to the mail at a steady rate, and what a bulk series beside it does to links."""

import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import orjson

from tests.bench import people
from tests.bench.intake import demand_accepted
from tests.bench.load import connect, open_loop, request
from tests.bench.mail import sign_up
from tests.bench.stage import Stage
from tests.bench.suite import Goal, Pair, Rounds, Sample, constant
from tests.bench.system import System, open_system

PER_SECOND = 50.0
MOST_SECONDS = 2.0
LEAST_SECONDS = 6.0
BULK = 4_000
# A series to people who are stored: the same personal mail, in the class that waits for others.
QUEUE_BULK = """
    INSERT INTO messages (id, event_id, event_type, person_id, template, channel, delivery, reference, state, due_at,
                          program_version, program_hash, created_at)
    SELECT gen_random_uuid(), gen_random_uuid(), event_type, person_id, template, channel, 'bulk', reference, 'queued',
           now(), program_version, program_hash, now()
    FROM messages, generate_series(1, $1) WHERE delivery = 'link' LIMIT $2
"""


@asynccontextmanager
async def steady(stage: Stage) -> AsyncIterator[Sequence[Pair]]:
    """Two pairs: against two seconds, and with a series beside against without."""
    async with open_system(stage) as system:
        with system.parts("sink", "web", "relay", "worker"):
            await sign_up(system.ports["signup"], stage.count(200))
            await system.handed_over(stage.count(200))

            async def quiet() -> Sample:
                return await _form_to_mail(stage, system)

            async def beside_bulk() -> Sample:
                await system.notifications.execute(QUEUE_BULK, 100, stage.count(BULK))
                try:
                    return await _form_to_mail(stage, system)
                finally:
                    await system.notifications.execute(
                        "UPDATE messages SET state = 'dropped' WHERE delivery = 'bulk' AND state = 'queued'"
                    )

            async def measure(side: str) -> dict[str, Sample]:
                return {"p95": await (beside_bulk() if side == "ours" else quiet())}

            # What is measured without a series is told against two seconds as well.
            rounds = Rounds(measure)
            yield [
                Pair(7, "form to mail beside a bulk series, p95, against without", "s", rounds.of("p95"),
                     rounds.of("p95", "quiet"), Goal("at most", 1.25)),
                Pair(7, f"form to mail at {PER_SECOND:.0f}/s, p95, against {MOST_SECONDS:.0f} s", "s",
                     rounds.of("p95", "quiet"), constant(MOST_SECONDS), Goal("at most", 1.0)),
            ]  # fmt: skip


async def _form_to_mail(stage: Stage, system: System) -> Sample:
    """The 95th percentile of the seconds from when a request was due to when the relay host had its mail."""
    seconds = max(LEAST_SECONDS, stage.seconds)
    mark = f"s{time.time_ns()}"
    count = int(seconds * PER_SECOND)
    bodies = [people.as_json(mark, number) for number in range(count)]
    connections = await connect(system.ports["signup"], 32)
    began = time.time()
    answers = await open_loop(
        connections, (request("/v1/signups", "application/json", body) for body in bodies), seconds, PER_SECOND
    )
    assert demand_accepted(answers) == count
    for connection in connections:
        connection.close()
    addresses = [str(orjson.loads(body)["email"]) for body in bodies]
    deadline = time.monotonic() + 120
    while not all(taken := system.ask_sink(*(f"NOTE {address}" for address in addresses))):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{sum(map(bool, taken))} of {count} mails came within two minutes.")
        time.sleep(0.1)  # noqa: ASYNC251 (nothing else runs here)
    late = sorted(at - (began + number / PER_SECOND) for number, at in zip(itertools.count(), taken, strict=False))
    return Sample(late[int(0.95 * count)])
