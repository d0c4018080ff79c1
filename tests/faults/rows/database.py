"""PostgreSQL dies, is out of connections, or cannot be reached: 503 within 2 s, and nothing is acknowledged."""

import asyncio
import contextlib
import json
import signal
import time

import asyncpg

from shared.settings import SERVICES
from tests.faults.crowd import Try, acknowledged
from tests.faults.rows import Scene, row
from tests.faults.stand import Broken

ANSWERED_SECONDS = 2.0
READY_SECONDS = 10.0
# The services' run roles bear their names.
THEIRS = "SELECT count(*) FROM pg_stat_activity WHERE usename = ANY($1::text[])"
END_THEIRS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ANY($1::text[])"
# What the harness's own machinery may add on two busy cores.
SLACK_SECONDS = 1.0


def demand_refusals(tries: list[Try], *, why: str) -> None:
    """Each was answered 503 with Retry-After within 2 s; none was acknowledged."""
    if not tries:
        raise Broken(f"nobody tried to sign up while {why}")
    if taken := acknowledged(tries):
        raise Broken(f"{len(taken)} of {len(tries)} sign-ups were acknowledged while {why}")
    demand_answers(tries, why=why)


def demand_answers(tries: list[Try], *, why: str) -> None:
    """Each was taken, or answered 503 with Retry-After; within 2 s."""
    other = sorted({one.status for one in tries} - {202, 503})
    if other:
        raise Broken(f"sign-ups were answered {other} instead of 503 while {why} (0: not at all)")
    if late := [one for one in tries if one.seconds > ANSWERED_SECONDS + SLACK_SECONDS]:
        slowest = max(one.seconds for one in late)
        raise Broken(f"{len(late)} of {len(tries)} answers took longer than 2 s, up to {slowest:.1f} s, while {why}")
    if not all(one.retry_after for one in tries if one.status == 503):
        raise Broken(f"an answer had no Retry-After while {why}")


async def demand_service(scene: Scene, since: float) -> None:
    """Sign-ups are taken again within 10 s."""
    while (tried := await scene.knock.sign_up(timeout_seconds=5)).status != 202:
        if time.monotonic() - since > READY_SECONDS + SLACK_SECONDS:
            raise Broken(f"10 s after PostgreSQL was back a sign-up was answered {tried.status}")
        await asyncio.sleep(0.2)
    scene.stand.tell(f"sign-ups are taken {time.monotonic() - since:.1f} s after PostgreSQL was back")


async def dies(scene: Scene, number: signal.Signals) -> None:
    """PostgreSQL ends by a signal and comes back. Whether those who sign up meanwhile are taken or answered 503 depends
    on the moment; that what was acknowledged is stored, the ledger says."""
    stand = scene.stand
    trying = asyncio.create_task(scene.knock.keep_on(scene.seconds(6, 3), every=0.1))
    before = await stand.kill("postgres", number)
    process = stand.process
    with contextlib.suppress(Broken):
        await stand.until(lambda: not process("postgres").is_running(), "PostgreSQL to end", seconds=20)
    await stand.restarted("postgres", before)
    back = time.monotonic()
    await demand_service(scene, back)
    demand_answers(await trying, why=f"PostgreSQL ended by {number.name}")
    await scene.goes_on()


@row()
async def postgres_killed(scene: Scene) -> None:
    """PostgreSQL dies of SIGKILL, recovers from its log and is back; 10 s later sign-ups are taken.
    Meanwhile they are taken or answered 503, within 2 s."""
    await dies(scene, signal.SIGKILL)


@row()
async def postgres_restarted(scene: Scene) -> None:
    """PostgreSQL is stopped fast (SIGINT: connections are ended) and is back; 10 s later sign-ups are taken."""
    await dies(scene, signal.SIGINT)


@row()
async def postgres_away(scene: Scene) -> None:
    """No connection to PostgreSQL is accepted. Sign-ups are answered 503 with Retry-After within 2 s, none is
    acknowledged; a posted form comes back with what was typed; 10 s after the return sign-ups are taken."""
    stand = scene.stand
    await stand.proxy.set("postgres", "refuse")
    stand.tell("PostgreSQL is out of reach")
    try:
        # What was committed in the moment of the cut may still be answered.
        await asyncio.sleep(0.5)
        tries = await scene.knock.keep_on(scene.seconds(8, 3), every=0.2)
        await form_keeps_what_was_typed(scene)
    finally:
        await stand.proxy.set("postgres", "pass")
        back = time.monotonic()
    demand_refusals(tries, why="PostgreSQL was out of reach")
    await demand_service(scene, back)
    await scene.goes_on()


async def form_keeps_what_was_typed(scene: Scene) -> None:
    """A form that is posted now is answered within 2 s by a page that has the name in it, or says how to keep it."""
    began = time.monotonic()
    url = f"{scene.stand.endpoints['signup']}/f/run"
    word = f"Knocker{scene.knock.seed}"
    answer = await scene.stand.http.post(
        url,
        data={"name": f"{word} Typed", "email": f"typed@knock-{scene.knock.seed}.example.org", "state": "TX"},
        headers={"Accept": "text/html", "Origin": scene.stand.endpoints["signup"]},
    )
    seconds = time.monotonic() - began
    if answer.status_code != 503 or seconds > ANSWERED_SECONDS + SLACK_SECONDS:
        raise Broken(f"a form posted without PostgreSQL was answered {answer.status_code} after {seconds:.1f} s")
    if f"{word} Typed" not in answer.text:
        raise Broken("the page that answers a form without PostgreSQL has lost what was typed")


@row()
async def postgres_black_hole(scene: Scene) -> None:
    """Connections to PostgreSQL stay open and nothing passes. Sign-ups are answered 503 within 2 s, none is
    acknowledged, and 10 s after the return they are taken."""
    stand = scene.stand
    await stand.proxy.set("postgres", "black_hole")
    stand.tell("nothing passes to PostgreSQL")
    try:
        tries = await scene.knock.keep_on(scene.seconds(10, 4), every=0.5)
    finally:
        await stand.proxy.set("postgres", "pass")
        back = time.monotonic()
    demand_refusals(tries, why="nothing passed to PostgreSQL")
    await demand_service(scene, back)
    await scene.goes_on()


@row()
async def postgres_cut(scene: Scene) -> None:
    """Every connection to PostgreSQL is reset, three times in a row: transactions end in the middle, commits without
    their answers. Sign-ups are taken again each time."""
    for _ in range(3):
        met = await scene.stand.proxy.set("postgres", "cut")
        scene.stand.tell(f"{met} connections to PostgreSQL are reset")
        await asyncio.sleep(scene.rng.uniform(0.1, 0.5))
        await scene.stand.proxy.set("postgres", "pass")
        await demand_service(scene, time.monotonic())
    await scene.goes_on()


@row()
async def postgres_half_closed(scene: Scene) -> None:
    """The services' side of every connection to PostgreSQL is shut. Sign-ups are taken again afterwards."""
    await scene.stand.proxy.set("postgres", "half_close")
    await asyncio.sleep(scene.seconds(4, 2))
    await scene.stand.proxy.set("postgres", "pass")
    await demand_service(scene, time.monotonic())
    await scene.goes_on()


@row()
async def postgres_delayed(scene: Scene) -> None:
    """Everything to and from PostgreSQL takes 20 ms longer. Sign-ups are taken and mails arrive meanwhile."""
    await scene.stand.proxy.set("postgres", "delay", 0.02)
    await scene.goes_on(seconds=120)
    await scene.stand.proxy.set("postgres", "pass")


@row()
async def postgres_out_of_connections(scene: Scene) -> None:
    """PostgreSQL has no connection left for the services (SQLSTATE 53300). Sign-ups are answered 503 within 2 s, none
    is acknowledged; 10 s after there is room again they are taken."""
    stand = scene.stand
    passwords = json.loads((stand.home / "postgres" / "passwords.json").read_text())
    address = stand.endpoints["postgres_owner"]["signup"].rpartition("@")[2].partition("/")[0]
    admin = await asyncpg.connect(f"postgresql://postgres:{passwords['postgres']}@{address}/postgres?sslmode=disable")
    try:
        # By the roles' own limits: whoever fills up the server races the services for each place that comes free.
        for service in SERVICES:
            await admin.execute(f'ALTER ROLE "{service}" CONNECTION LIMIT 0')
        while await admin.fetchval(THEIRS, list(SERVICES)):
            await admin.execute(END_THEIRS, list(SERVICES))
            await asyncio.sleep(0.2)
        stand.tell("no connection is left")
        tries = await scene.knock.keep_on(scene.seconds(8, 3), every=0.2)
    finally:
        for service in SERVICES:
            await admin.execute(f'ALTER ROLE "{service}" CONNECTION LIMIT -1')
        await admin.close()
        back = time.monotonic()
    demand_refusals(tries, why="PostgreSQL was out of connections")
    await demand_service(scene, back)
    await scene.goes_on()
