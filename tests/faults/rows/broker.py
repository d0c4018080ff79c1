"""The broker dies, is away, or cannot be reached."""

import asyncio
import signal
import time

from shared.settings import SERVICES
from tests.faults.crowd import acknowledged, percentile
from tests.faults.rows import Scene, row
from tests.faults.stand import Broken

OUTBOX = "SELECT count(*) FROM outbox"
# What "normal" may mean on a busy machine: a few times what it was before, or below half a second anyway.
USUAL_FACTOR, ANYWAY_SECONDS = 5.0, 0.5


@row()
async def broker_killed(scene: Scene) -> None:
    """Kafka dies of SIGKILL and is started again. Sign-ups go on meanwhile; afterwards mails arrive again."""
    before = await scene.stand.kill("kafka")
    tries = await scene.knock.keep_on(3)
    if len(acknowledged(tries)) != len(tries):
        raise Broken(f"{len(tries) - len(acknowledged(tries))} of {len(tries)} sign-ups were not taken without Kafka")
    await scene.stand.restarted("kafka", before)
    await scene.goes_on()


@row()
async def broker_restarted(scene: Scene) -> None:
    """Kafka is stopped in an orderly way and started again. Afterwards mails arrive again."""
    before = await scene.stand.kill("kafka", signal.SIGTERM)
    await scene.stand.restarted("kafka", before)
    await scene.goes_on()


@row()
async def broker_away(scene: Scene) -> None:
    """No service can reach Kafka for 60 s, at 50 sign-ups a second (20 s at 10 in CI). Every sign-up of that time is
    taken, at the latency from before; within 60 s of its return the backlog is gone."""
    stand, seconds, every = scene.stand, scene.seconds(60, 20), scene.seconds(0.02, 0.1)
    usual = percentile(await scene.knock.keep_on(scene.seconds(5, 3), every=every), 0.95)
    await stand.proxy.set("kafka", "refuse")
    stand.tell("Kafka is out of reach")
    tries = await scene.knock.keep_on(seconds, every=every)
    left = sum([await stand.count(service, OUTBOX) for service in SERVICES])
    await stand.proxy.set("kafka", "pass")
    meanwhile = percentile(tries, 0.95)
    stand.tell(
        f"Kafka is back: {len(tries)} sign-ups without it, 95% within {meanwhile:.3f} s ({usual:.3f} s before), "
        f"{left} rows in the outboxes"
    )
    if len(acknowledged(tries)) != len(tries):
        raise Broken(f"{len(tries) - len(acknowledged(tries))} of {len(tries)} sign-ups were not taken without Kafka")
    if meanwhile > max(ANYWAY_SECONDS, USUAL_FACTOR * usual):
        raise Broken(f"without Kafka 95% of sign-ups took {meanwhile:.2f} s, before {usual:.2f} s")
    if left < len(tries):
        raise Broken(f"only {left} rows waited in the outboxes after {len(tries)} sign-ups: Kafka was not away")
    began = time.monotonic()

    async def emptied() -> bool:
        # Rows of this moment's sign-ups are no backlog.
        return sum([await stand.count(service, OUTBOX) for service in SERVICES]) < 50

    await stand.until(emptied, "the backlog to be gone", seconds=60)
    stand.tell(f"the backlog is gone after {time.monotonic() - began:.1f} s")
    await scene.goes_on()


@row()
async def kafka_cut(scene: Scene) -> None:
    """Every connection to Kafka is reset, three times in a row. Mails go on to arrive."""
    for _ in range(3):
        met = await scene.stand.proxy.set("kafka", "cut")
        scene.stand.tell(f"{met} connections to Kafka are reset")
        await asyncio.sleep(scene.rng.uniform(0.2, 1.0))
        await scene.stand.proxy.set("kafka", "pass")
        await asyncio.sleep(scene.rng.uniform(0.5, 2.0))
    await scene.goes_on()


@row()
async def kafka_delayed(scene: Scene) -> None:
    """Everything to and from Kafka takes 0.3 s longer. Mails arrive meanwhile."""
    await scene.stand.proxy.set("kafka", "delay", 0.3)
    scene.stand.tell("Kafka is slow")
    await scene.goes_on()
    await asyncio.sleep(scene.seconds(10, 1))
    await scene.stand.proxy.set("kafka", "pass")


@row()
async def kafka_black_hole(scene: Scene) -> None:
    """Connections to Kafka stay open and nothing passes, for longer than a relay's lease. Mails arrive afterwards."""
    await scene.stand.proxy.set("kafka", "black_hole")
    scene.stand.tell("nothing passes to Kafka")
    await asyncio.sleep(scene.seconds(25, 16))
    await scene.stand.proxy.set("kafka", "pass")
    await scene.goes_on(seconds=90)


@row()
async def kafka_half_closed(scene: Scene) -> None:
    """The services' side of every connection to Kafka is shut, answers still come. Mails arrive afterwards."""
    await scene.stand.proxy.set("kafka", "half_close")
    await asyncio.sleep(scene.seconds(6, 3))
    await scene.stand.proxy.set("kafka", "pass")
    await scene.goes_on(seconds=90)
