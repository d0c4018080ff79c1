"""Consumers that come and go, stand still, and catch up."""

import asyncio
import signal
import time

import psutil

from shared.events.topics import ALL_TOPICS
from shared.settings import SERVICES
from tests.faults import kafka
from tests.faults.rest import all_taken
from tests.faults.rows import Scene, row
from tests.faults.stand import Broken

CONSUMING = ("matching", "notifications", "endorsement")
# A process that drains holds one batch per partition, and the program's own parts.
MOST_BYTES = 600 * 2**20
STOP_SECONDS = 25.0


@row()
async def consumers_join_and_leave(scene: Scene) -> None:
    """For a minute (15 s in CI) workers of notifications and matching join and leave their groups, some in an orderly
    way, some by SIGKILL, so that partitions change hands in the middle of batches."""
    stand = scene.stand
    deadline = time.monotonic() + scene.seconds(60, 15)
    rounds = 0
    while time.monotonic() < deadline:
        spares = [stand.spare_process(service, "worker") for service in ("notifications", "matching")]
        await scene.knock.keep_on(scene.rng.uniform(3, 6), every=0.2)
        for spare in spares:
            if scene.rng.random() < 0.5:
                spare.send(signal.SIGKILL)
                await asyncio.to_thread(spare.wait, 5)
            elif not await asyncio.to_thread(spare.stop, STOP_SECONDS):
                raise Broken(f"a worker that was told to leave did not within {STOP_SECONDS:.0f} s")
        rounds += 1
    stand.tell(f"workers joined and left {rounds} times")
    await scene.goes_on(seconds=120)


@row()
async def services_frozen(scene: Scene) -> None:
    """Each service in turn is stopped by SIGSTOP for longer than its leases last, and wakes up in the middle of what it
    did: relays, senders and consumers that others have given up."""
    stand = scene.stand
    chosen = SERVICES if not scene.brief else (SERVICES[scene.number % 4],)
    for service in chosen:
        await stand.ready(service)
        process = stand.process(service)
        spare = stand.spare_process(service, "relay")
        await asyncio.sleep(2)
        process.suspend()
        stand.tell(f"{service} stands still")
        try:
            # Sign-ups to a process that stands still wait for it; the others' go on.
            if service == "signup":
                await asyncio.sleep(18)
            else:
                await scene.knock.keep_on(18, every=0.3)
        finally:
            process.resume()
        stand.tell(f"{service} goes on")
        await asyncio.to_thread(spare.stop, STOP_SECONDS)
    await scene.goes_on(seconds=120)


@row()
async def lag_drained(scene: Scene) -> None:
    """The consumers stand still while 100,000 records pile up (4,000 in CI), then drain them, each within 600 MB."""
    stand, wanted = scene.stand, int(scene.seconds(100_000, 4_000))
    processes = {name: stand.process(name) for name in CONSUMING}
    for process in processes.values():
        process.suspend()
    try:
        # Genuine sign-ups among many repeats.
        await scene.knock.keep_on(3, every=0.05)
        records = await kafka.read(stand, [topic.name for topic in ALL_TOPICS], most=wanted)
        written = await kafka.write(stand, records, times=-(-wanted // max(1, len(records))))
    finally:
        for process in processes.values():
            process.resume()
    stand.tell(f"{len(written)} records wait")
    began = time.monotonic()
    most: dict[str, int] = dict.fromkeys(processes, 0)
    draining = asyncio.create_task(drained(scene, written, scene.seconds(600, 150)))
    while not draining.done():
        for name, process in processes.items():
            try:
                most[name] = max(most[name], process.memory_info().rss)
            except psutil.NoSuchProcess:
                processes[name] = stand.process(name)
                break
        await asyncio.sleep(0.2)
    await draining
    sizes = ", ".join(f"{name} {size / 2**20:.0f} MB" for name, size in most.items())
    stand.tell(f"they are drained after {time.monotonic() - began:.1f} s; at most {sizes}")
    if large := [name for name, size in most.items() if size > MOST_BYTES]:
        raise Broken(f"{', '.join(large)} took more than {MOST_BYTES // 2**20} MB to drain {len(written)} records")
    await scene.goes_on(seconds=60)


async def drained(scene: Scene, places: list[str], seconds: float) -> None:
    """Wait until the records at these places are taken, whatever comes in meanwhile."""
    taken = all_taken(scene.stand, places)
    await scene.stand.until(taken, "the records that piled up to be taken", seconds=seconds, every=0.3)
