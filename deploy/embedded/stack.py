"""The embedded stack as data: which processes there are, where they listen, what each is told and may know.

Everything lives in one directory, `.hustings/` beside the code or HUSTINGS_HOME. Secrets reach a service as
files of mode 0600 named by `<SERVICE>_<X>_FILE`, so neither a process list nor an environment shows one.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from deploy.embedded.postgres import ServiceDatabase
from deploy.embedded.processes import StackError, choose_port, port_is_free, write_atomically
from shared.settings import SERVICES

# Kafka and PostgreSQL remember their own ports beside their data.
CHOSEN_PORTS = (*SERVICES, "mailbox", "smtp")
PORT_NAMES = (*CHOSEN_PORTS, "kafka", "postgres")
TOPIC_PARTITIONS = 6
# Long enough for a service to finish what it is doing; then it is killed.
SERVICE_GRACE_SECONDS = 25.0

# Who may ask whom for what, inside the stack: service → caller → scopes.
CALLERS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "signup": {
        "matching": ("contacts", "profiles"),
        "notifications": ("contacts", "message-data"),
        "endorsement": ("profiles",),
    },
    "matching": {"notifications": ("message-data",)},
    "endorsement": {"notifications": ("message-data",)},
    "notifications": {},
}


# Made once, and renewed by no rotation: databases and subscribers hold what was derived from them.
KEYS_FOR_GOOD: Mapping[str, str] = {"notifications": "contact_hash_key", "endorsement": "webhook_key"}


@dataclass(frozen=True)
class Spec:
    """One process the supervisor runs; `url` answers `/readyz`."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    log: Path
    url: str
    grace_seconds: float


@dataclass(frozen=True)
class Home:
    """The places inside the stack's directory."""

    path: Path

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def state(self) -> Path:
        return self.path / "state.json"

    @property
    def lock(self) -> Path:
        return self.path / "supervisor.lock"

    @property
    def endpoints(self) -> Path:
        return self.path / "endpoints.json"

    @property
    def secrets(self) -> Path:
        return self.path / "secrets.json"

    @property
    def ports(self) -> Path:
        return self.path / "ports.json"

    def log(self, name: str) -> Path:
        """Kafka and PostgreSQL keep their logs beside their data."""
        if name in {"kafka", "postgres"}:
            return self.path / name / f"{name}.log"
        return self.logs / f"{name}.log"


@dataclass(frozen=True)
class Stack:
    """`code` holds `services/` and `shared/`; `program` is the organization's file."""

    home: Home
    code: Path
    program: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Stack:
        """HUSTINGS_HOME, HUSTINGS_PROGRAM, and HUSTINGS_CODE for code that lies elsewhere."""
        code = Path(environ.get("HUSTINGS_CODE") or Path(__file__).resolve().parents[2]).absolute()
        home = Path(environ.get("HUSTINGS_HOME") or code / ".hustings").absolute()
        program = Path(environ.get("HUSTINGS_PROGRAM") or code / "programs" / "org_2025.toml").absolute()
        return cls(Home(home), code, program)

    @cached_property
    def ports(self) -> dict[str, int]:
        """As chosen by `choose_ports`."""
        return read_json(self.home.ports)

    @cached_property
    def credentials(self) -> dict[str, Any]:
        """As made by `make_secrets`."""
        return read_json(self.home.secrets)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def mailbox(self) -> Spec:
        arguments = {
            "--smtp-port": self.ports["smtp"],
            "--http-port": self.ports["mailbox"],
            "--dir": self.home.path / "mailbox",
        }
        return Spec(
            name="mailbox",
            argv=(
                *(sys.executable, "-m", "deploy.embedded.mailbox"),
                *(str(part) for pair in arguments.items() for part in pair),
            ),
            env=dict(os.environ),
            # The stack's own code, wherever that of the services is.
            cwd=Path(__file__).resolve().parents[2],
            log=self.home.log("mailbox"),
            url=self.url("mailbox"),
            grace_seconds=10,
        )

    def service(self, name: str, bootstrap: str, database: ServiceDatabase) -> Spec:
        return Spec(
            name=name,
            argv=(sys.executable, "-m", f"services.{name}", "all"),
            env=self._environment(name, bootstrap, {"DATABASE_URL": database.dsn}),
            cwd=self.code,
            log=self.home.log(name),
            url=self.url(name),
            grace_seconds=SERVICE_GRACE_SECONDS,
        )

    def migration(self, name: str, bootstrap: str, database: ServiceDatabase) -> Spec:
        """Runs to its end before the service starts; it alone gets the owner's way into the database."""
        urls = {"DATABASE_URL": database.dsn, "OWNER_DATABASE_URL": database.owner_dsn}
        return Spec(
            name=f"{name} migrate",
            argv=(sys.executable, "-m", f"services.{name}", "migrate"),
            env=self._environment(name, bootstrap, urls),
            cwd=self.code,
            log=self.home.log(name),
            url="",
            grace_seconds=0,
        )

    def topics(self, bootstrap: str) -> Spec:
        arguments = ("create", "--bootstrap", bootstrap, "--partitions", str(TOPIC_PARTITIONS))
        return Spec(
            name="topics",
            argv=(sys.executable, "-m", "shared.topics", *arguments),
            env=dict(os.environ),
            cwd=self.code,
            log=self.home.log("topics"),
            url="",
            grace_seconds=0,
        )

    def _environment(self, name: str, bootstrap: str, private: Mapping[str, str]) -> dict[str, str]:
        known = self.credentials
        own = known["services"][name]
        private = {**private, "INTERNAL_TOKEN": own["internal_token"], "LINK_SECRET": own["link_secret"]}
        # What the processes of one stack have to agree on; in all else, what the operator sets wins.
        fixed = {"HOST", "PORT", "INTERNAL_CALLERS", "SESSION_PUBLIC_KEY", *(f"{s.upper()}_URL" for s in SERVICES)}
        plain = {
            "ENVIRONMENT": "development",
            "HOST": "127.0.0.1",
            "PORT": str(self.ports[name]),
            "KAFKA_BOOTSTRAP": bootstrap,
            "PROGRAM": str(self.program),
            "INTERNAL_CALLERS": json.dumps(internal_callers(name, known)),
            "SESSION_PUBLIC_KEY": known["session_public_key"],
            **{f"{other.upper()}_URL": self.url(other) for other in SERVICES},
        }
        if (key := KEYS_FOR_GOOD.get(name)) and not any(
            os.environ.get(f"{name}_{key}{form}".upper()) for form in ("", "_FILE")
        ):
            private[key.upper()] = own[key]
        if name == "signup":
            private["SESSION_PRIVATE_KEY"] = known["session_private_key"]
            # On one machine a whole crowd comes from 127.0.0.1.
            plain |= {"LIMIT_ADDRESS_BURST": "20000", "LIMIT_ADDRESS_PER_MINUTE": "6000"}
        if name == "notifications":
            plain |= {
                "SMTP_HOST": "127.0.0.1",
                "SMTP_PORT": str(self.ports["smtp"]),
                "SMS_URL": f"{self.url('mailbox')}/sms",
            }
        prefix = name.upper()
        environment = {**{f"{prefix}_{key}": value for key, value in plain.items()}, **os.environ}
        environment |= {f"{prefix}_{key}": plain[key] for key in fixed}
        for key, value in private.items():
            path = self.home.path / "secrets" / name / key.lower()
            write_atomically(path, value, 0o600)
            environment[f"{prefix}_{key}_FILE"] = str(path)
        return environment

    def choose_ports(self, wanted: Mapping[str, int]) -> None:
        """Keeps the remembered ports that are free; a `wanted` one is taken or refused."""
        remembered = read_json(self.home.ports)
        chosen: dict[str, int] = {}
        for name in CHOSEN_PORTS:
            if name in wanted:
                if wanted[name] in chosen.values():
                    raise StackError(f"Port {wanted[name]} is asked for twice: give {name} another one.")
                demand_foreign_free(wanted[name], name)
                chosen[name] = wanted[name]
            else:
                apart = frozenset({*chosen.values(), *wanted.values()})
                chosen[name] = choose_port(remembered.get(name), apart)
        write_atomically(self.home.ports, json.dumps(chosen, indent=1))
        self.__dict__.pop("ports", None)

    def make_secrets(self) -> None:
        """Fills in what is not there yet; what is there stays, so that links and sessions outlive a restart."""
        known = read_json(self.home.secrets)
        services = known.setdefault("services", {})
        for name in SERVICES:
            own = services.setdefault(name, {})
            own.setdefault("internal_token", secrets.token_urlsafe(32))
            if for_good := KEYS_FOR_GOOD.get(name):
                # A system that served without such a key used the link secret, and has to go on with its value.
                own.setdefault(for_good, own.get("link_secret") or secrets.token_hex(32))
            own.setdefault("link_secret", secrets.token_hex(32))
        if "session_private_key" not in known:
            key = Ed25519PrivateKey.generate()
            private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            known |= {"session_private_key": private.decode(), "session_public_key": public.decode()}
        write_atomically(self.home.secrets, json.dumps(known, indent=1), 0o600)
        self.__dict__.pop("credentials", None)

    def write_endpoints(self, bootstrap: str, databases: Mapping[str, ServiceDatabase]) -> None:
        """`endpoints.json`, mode 0600: where everything answers, database passwords included."""
        endpoints = {
            **{name: self.url(name) for name in (*SERVICES, "mailbox")},
            "smtp": f"127.0.0.1:{self.ports['smtp']}",
            "sms": f"{self.url('mailbox')}/sms",
            "kafka": bootstrap,
            "postgres": {name: database.dsn for name, database in databases.items()},
            "postgres_owner": {name: database.owner_dsn for name, database in databases.items()},
        }
        write_atomically(self.home.endpoints, json.dumps(endpoints, indent=1), 0o600)


def internal_callers(service: str, credentials: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Of each caller the hash of its token and its scopes; no service learns another's token."""
    return {
        caller: {
            "token_sha256": hashlib.sha256(credentials["services"][caller]["internal_token"].encode()).hexdigest(),
            "scopes": list(scopes),
        }
        for caller, scopes in CALLERS[service].items()
    }


def demand_foreign_free(port: int, name: str) -> None:
    """Raises StackError, with the holder's name where the system tells it."""
    if port_is_free(port):
        return
    holder = "another process"
    for connection in psutil.net_connections("tcp"):
        if connection.laddr and connection.laddr.port == port and connection.pid:
            try:
                holder = f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
            except psutil.Error:
                continue
            break
    raise StackError(f"Port {port} for {name} is taken by {holder}: stop it, or choose another with --port.")


def read_json(path: Path) -> dict[str, Any]:
    """{} if there is no such file."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        raise StackError(f"{path} is damaged ({error}): remove it; it is written anew.") from error
    return found
