"""Migrations: plain SQL, the kernel's and the service's in one order, applied by dbmate under the owning role.

Files are named `NNNN_pre_….sql` (expand, before a deploy) and `NNNN_post_….sql` (contract, after it). The kernel's
numbers are below 0100, a service's above.

A process tells in the name of each of its connections which migrations its code knows. A `post` migration takes away
what older code still uses, so it is held back for as long as a process that does not know it is connected; the
`pre` ones go ahead. The same command runs before and after a deploy.
"""

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import asyncpg

KERNEL = Path(__file__).parent / "migrations"
SERVICE_NUMBERS_FROM = 100
# A migration that waits for a lock makes everybody behind it wait: it gives up soon, and is tried again.
LOCK_TIMEOUT = "2s"
LOCK_TRIES = 10

_NAME = re.compile(r"^hustings-[a-z_]+ (\d{4})\.(\d{4})$")
_FIND_PROCESSES = """
    SELECT application_name FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_HAS_TABLE = "SELECT to_regclass('public.schema_migrations') IS NOT NULL"
_GET_APPLIED = "SELECT version FROM schema_migrations"


class HeldBack(RuntimeError):
    """A `post` migration has to wait for older processes to end."""


def directories(service: str) -> list[Path]:
    """Where the migrations of a service's database are."""
    return [KERNEL, KERNEL.parent.parent / "services" / service / "migrations"]


def files_of(service: str) -> list[Path]:
    """Every migration of a service's database, in the order they are applied."""
    return sorted((path for folder in directories(service) for path in folder.glob("*.sql")), key=lambda p: p.name)


def application_name(service: str) -> str:
    """What a process calls itself to the database: its service, and the newest migrations that its code knows."""
    numbers = [int(path.name[:4]) for path in files_of(service)]
    kernel = max((number for number in numbers if number < SERVICE_NUMBERS_FROM), default=0)
    own = max((number for number in numbers if number >= SERVICE_NUMBERS_FROM), default=0)
    return f"hustings-{service} {kernel:04}.{own:04}"


def older_than(number: int, names: Sequence[str]) -> list[str]:
    """Of these connections' names, those of processes that do not know the migration; each process may have many."""
    found = []
    for name in names:
        if match := _NAME.match(name):
            known = int(match[1] if number < SERVICE_NUMBERS_FROM else match[2])
            if known < number:
                found.append(name)
    return found


def migrate(service: str, owner_dsn: str) -> list[str]:
    """Bring a service's database as far as the processes that use it allow; returns the `post` files held back.

    Raises `RuntimeError` with dbmate's own words, or when a held-back file stands before a `pre` one.
    """
    try:
        # In a thread of its own: the caller may have a loop running.
        with ThreadPoolExecutor(1) as thread:
            applied, names = thread.submit(lambda: asyncio.run(_look(owner_dsn))).result()
    except (OSError, asyncpg.PostgresError) as fault:
        raise RuntimeError(f"The migrations of {service} failed: {type(fault).__name__}: {fault}") from None
    pending = [path for path in files_of(service) if path.name[:4] not in applied]
    held = [path.name for path in pending if _is_post(path) and older_than(int(path.name[:4]), names)]
    if held and (later := [path.name for path in pending if path.name > held[0] and not _is_post(path)]):
        raise RuntimeError(
            f"{later[0]} can't run before {held[0]}, which waits for processes of an older version to end: deploy the"
            f" version that brought {held[0]} first, then migrate, then deploy this one."
        )
    with ExitStack() as stack:
        folders = directories(service)
        if held:
            # dbmate applies whatever is in a folder; without anything held back none has to be written.
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hustings-migrations-")))
            for path in files_of(service):
                if path.name not in held:
                    shutil.copy(path, folder)
            folders = [folder]
        for left in range(LOCK_TRIES, -1, -1):
            failure = _apply(folders, owner_dsn)
            if failure is None:
                return held
            if "lock timeout" not in failure or not left:
                break
            time.sleep(0.5)
    raise RuntimeError(f"The migrations of {service} failed: {failure}")


def contract(service: str, owner_dsn: str) -> None:
    """The same after a deploy, when nothing may be held back: raises `HeldBack` with what still runs."""
    if held := migrate(service, owner_dsn):
        raise HeldBack(
            f"{', '.join(held)} of {service} would take away what processes of an older version still use; end"
            " them, then run this again."
        )


async def demand_migrated(pool: "asyncpg.Pool[asyncpg.Record]", service: str) -> None:
    """Raise `RuntimeError` when the code needs a `pre` migration that its database does not have yet."""
    try:
        applied = {row["version"] for row in await pool.fetch(_GET_APPLIED)}
    except asyncpg.UndefinedTableError:
        applied = set()
    missing = [path.name for path in files_of(service) if not _is_post(path) and path.name[:4] not in applied]
    if missing:
        raise RuntimeError(
            f"The database of {service} lacks {', '.join(missing)}: run `python -m services.{service} migrate` first."
        )


def _is_post(path: Path) -> bool:
    return path.name[5:].startswith("post_")


async def _look(owner_dsn: str) -> tuple[set[str], list[str]]:
    """The numbers applied, and the names of the connections to this database."""
    connection = await asyncpg.connect(owner_dsn, timeout=10)
    try:
        names = [row["application_name"] or "" for row in await connection.fetch(_FIND_PROCESSES)]
        if not await connection.fetchval(_HAS_TABLE):
            return set(), names
        return {row["version"] for row in await connection.fetch(_GET_APPLIED)}, names
    finally:
        await connection.close()


def _apply(folders: Sequence[Path], owner_dsn: str) -> str | None:
    """Have dbmate apply what these folders hold; None, or what it said went wrong."""
    separator = "&" if "?" in owner_dsn else "?"
    url = owner_dsn if "sslmode=" in owner_dsn else f"{owner_dsn}{separator}sslmode=disable"
    separator = "&" if "?" in url else "?"
    url = f"{url}{separator}options=-c%20lock_timeout%3D{LOCK_TIMEOUT}"
    command = [_dbmate(), "--no-dump-schema"]
    for folder in folders:
        command += ["--migrations-dir", str(folder)]
    done = subprocess.run(  # noqa: S603 (our own binary, our own arguments)
        [*command, "migrate"],
        env={"DATABASE_URL": url, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return (done.stderr or done.stdout).strip()[-600:] if done.returncode else None


def _dbmate() -> str:
    """The dbmate binary that its wheel installed beside the interpreter."""
    return str(Path(sys.executable).parent / "dbmate")
