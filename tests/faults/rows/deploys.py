"""A new version is rolled out under load: its migration first, then process by process, old and new together."""

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from deploy.embedded.processes import Process
from shared.settings import SERVICES
from tests.faults.rows import Scene, row
from tests.faults.stand import ROOT, Broken

STOP_SECONDS = 25.0
# An expand migration of every table that busy statements read whole, as a next version might bring it.
KERNEL_TABLES = ("timers", "parked", "outbox", "streams", "inbox_offsets")
SERVICE_TABLES = {
    "signup": ("people", "signups", "person_emails", "links", "intents"),
    "matching": ("people", "bookings", "queue_entries"),
    "notifications": ("messages", "suppressions"),
    "endorsement": ("applications", "decisions", "endorsements", "webhook_subscribers", "webhook_deliveries"),
}


def next_version(destination: Path, number: int) -> None:
    """A copy of the code with one more migration for the kernel's tables and one for each service's."""
    tracked = subprocess.run(
        ["git", "ls-files", "services", "shared", "programs"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    for name in filter(None, tracked):
        (destination / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, destination / name)
    write_migration(destination / "shared" / "migrations" / f"{60 + number:04d}_pre_next.sql", KERNEL_TABLES, number)
    for service, tables in SERVICE_TABLES.items():
        folder = destination / "services" / service / "migrations"
        write_migration(folder / f"{9000 + number}_pre_next.sql", tables, number)


def write_migration(path: Path, tables: tuple[str, ...], number: int) -> None:
    """Adds a column to each table, and takes it away again on the way down."""
    up = "\n".join(f"ALTER TABLE {table} ADD COLUMN next_{number} text NOT NULL DEFAULT '';" for table in tables)
    down = "\n".join(f"ALTER TABLE {table} DROP COLUMN next_{number};" for table in tables)
    path.write_text(f"-- migrate:up\nSET lock_timeout = '5s';\n{up}\n\n-- migrate:down\n{down}\n")


@row()
async def rolling_deploy(scene: Scene) -> None:
    """A next version is deployed while people sign up and walk: its migration runs under load, workers and relays of
    it run beside the old ones, then each process gets SIGTERM in turn, ends with 0 within 25 s, and is started again
    as the next version. No sign-up is answered with a server's error but 503."""
    stand, number = scene.stand, scene.number
    fresh = stand.evidence / f"version-{number}-{scene.rng.randrange(10**6)}"
    next_version(fresh, number)
    tries = asyncio.create_task(scene.knock.keep_on(scene.seconds(25, 15), every=0.1))
    stand.tell("the next version's migrations run")
    for service in SERVICES:
        await migrate(scene, service, fresh)
    spares = [stand.spare_process(s, role, code=fresh) for s in SERVICES for role in ("worker", "relay")]
    stand.tell("workers and relays of the next version run beside the old ones")
    await asyncio.sleep(scene.seconds(8, 3))
    swap(stand.code, fresh)
    for service in SERVICES:
        old = stand.process(service)
        before = await stand.kill(service, signal.SIGTERM)
        await stand.until(gone(old), f"{service} to end after SIGTERM", seconds=STOP_SECONDS)
        await stand.restarted(service, before)
        code = stand.known(service)["last_exit"]
        if code != 0:
            raise Broken(f"{service} ended with {code} after SIGTERM")
        if not same_file(stand.process(service).cwd(), fresh):
            raise Broken(f"{service} still runs the old version")
    for spare in spares:
        if not await asyncio.to_thread(spare.stop, STOP_SECONDS) or spare.exit_code != 0:
            raise Broken(f"a worker of the next version ended with {spare.exit_code} after SIGTERM")
    stand.tell("every process is of the next version")
    wrong = sorted({one.status for one in await tries} - {202, 503, 0})
    if wrong:
        raise Broken(f"sign-ups were answered {wrong} during the deploy")
    await scene.goes_on(seconds=90)


def same_file(one: str, other: Path) -> bool:
    return Path(one).resolve() == other.resolve()


def swap(code: Path, fresh: Path) -> None:
    """What a process is started from next: the link changes in one step."""
    if not code.is_symlink():
        raise Broken(f"{code} is no link: a rolling deploy needs a stand whose code can be exchanged")
    beside = code.with_name(f"{code.name}.next")
    beside.symlink_to(fresh)
    beside.replace(code)


def gone(process: psutil.Process) -> Callable[[], bool]:
    """Asks whether that very process has ended."""
    return lambda: not process.is_running()


def ended(process: Process) -> Callable[[], bool]:
    """Asks whether it has."""
    return lambda: not process.running()


async def migrate(scene: Scene, service: str, code: Path) -> None:
    """Run a service's migrations as its owner, from that copy of the code."""
    stand = scene.stand
    environment = {
        **stand.process(service).environ(),
        f"{service.upper()}_OWNER_DATABASE_URL": stand.endpoints["postgres_owner"][service],
    }
    log = stand.evidence / f"migrate-{service}.log"
    # A table that is busy may keep a migration waiting longer than it should hold others up: it is tried again.
    for _attempt in range(5):
        process = Process.spawn([sys.executable, "-m", f"services.{service}", "migrate"], log=log, env=environment,
                                cwd=code)  # fmt: skip
        await stand.until(ended(process), f"{service} to migrate", seconds=60)
        if process.exit_code == 0:
            return
        await asyncio.sleep(1)
    raise Broken(f"the migrations of {service} failed: {log.read_text()[-600:]}")
