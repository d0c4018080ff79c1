"""The compose stack as data: its secrets, ports, addresses and variables, all in `docker/` of the stack's directory.

Secrets are files that every user may read inside a directory that only its owner may enter: a container gets single
files of it, whatever number its process runs under, and nobody else on the machine gets any.

What the caller sets reaches the containers: a variable of a service that the compose file names without a value is
passed on where it is set, and one that is secret becomes a file. `up` remembers both, so that every later command
starts the same system.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from deploy.embedded.processes import StackError, choose_port, write_atomically
from deploy.embedded.stack import (
    KEYS_FOR_GOOD,
    PORT_NAMES,
    Home,
    Stack,
    demand_foreign_free,
    internal_callers,
    read_json,
)
from shared.settings import SERVICES

COMPOSE_FILE = Path(__file__).with_name("compose.yaml")
RUNNING_ROLES = ("web", "worker", "relay")
# What runs to its end before the services start.
ONCE = ("databases", "topics", *(f"{service}-migrate" for service in SERVICES))
KEPT = ("postgres", "kafka", "mailbox", *(f"{service}-{role}" for service in SERVICES for role in RUNNING_ROLES))

_FILE_TEXT = COMPOSE_FILE.read_text(encoding="utf-8")
# Named without a value in the compose file: containers get them from the environment of compose, where they are set.
PASSED = tuple(dict.fromkeys(re.findall(r"^    ([A-Z][A-Z_]+):$", _FILE_TEXT, re.MULTILINE)))
# Mounted as files of these names in small letters; empty, which services read as not given, until somebody gives them.
GIVEN_SECRETS = (
    "NOTIFICATIONS_SMTP_PASSWORD",
    "NOTIFICATIONS_SMTP_FALLBACK_PASSWORD",
    "NOTIFICATIONS_SMS_TOKEN",
    "NOTIFICATIONS_SMS_FALLBACK_TOKEN",
    "NOTIFICATIONS_SMS_INBOUND_TOKEN",
    "NOTIFICATIONS_MAIL_RECEIPT_TOKEN",
)
# Made here, unless somebody brings those of an earlier system.
KEPT_SECRETS = tuple(f"{service}_{key}".upper() for service, key in KEYS_FOR_GOOD.items())
PUBLIC_URLS = tuple(f"{service.upper()}_URL" for service in SERVICES)
# What the compose file fills in.
FILLED = (
    *("HUSTINGS_ENVIRONMENT", "HUSTINGS_TAG", "HUSTINGS_PARTITIONS", "HUSTINGS_POSTGRES_CONNECTIONS"),
    *("HUSTINGS_POSTGRES_IMAGE", "HUSTINGS_KAFKA_IMAGE"),
)
REMEMBERED = ("HUSTINGS_PROGRAM", *FILLED, *PUBLIC_URLS, *PASSED, *GIVEN_SECRETS, *KEPT_SECRETS)


@dataclass(frozen=True)
class System:
    """One system by compose; `home` is the directory that the embedded stack would use."""

    home: Home
    program: Path
    given: Mapping[str, str]

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> System:
        """HUSTINGS_HOME as the embedded stack reads it, and what was set for an earlier `up` or is set now."""
        home = Stack.from_environment(environ).home
        given = merge(read_json(home.path / "docker" / "variables.json"), environ)
        program = Stack.from_environment({**environ, "HUSTINGS_PROGRAM": given.get("HUSTINGS_PROGRAM", "")}).program
        return cls(home, program, given)

    def remember(self) -> None:
        """Keep what was given for every later command; secrets may be among it. Raises `StackError` when it is not
        enough for production."""
        needed = (*PUBLIC_URLS, "NOTIFICATIONS_SMTP_HOST")
        if self.environment == "production" and (missing := [name for name in needed if not self.value(name)]):
            raise StackError(f"Production needs {', '.join(missing)}: set them for `make up`, which remembers them.")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        write_atomically(self.folder / "variables.json", json.dumps(dict(self.given), indent=1), 0o600)

    @property
    def environment(self) -> str:
        return self.value("HUSTINGS_ENVIRONMENT") or "development"

    def value(self, name: str) -> str | None:
        """What was given as `NAME`, or in the file that `NAME_FILE` names. Raises `StackError` if it can't be read."""
        if name in self.given:
            return self.given[name]
        if not (path := self.given.get(f"{name}_FILE")):
            return None
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise StackError(
                f"{name}_FILE names {path}, which can't be read ({type(error).__name__}): set it, or {name}, anew for"
                " `make up`."
            ) from None

    @property
    def folder(self) -> Path:
        return self.home.path / "docker"

    @property
    def project(self) -> str:
        """A name of its own for each directory, so that two checkouts never meet."""
        return f"hustings-{hashlib.sha256(str(self.home.path).encode()).hexdigest()[:8]}"

    @cached_property
    def _known(self) -> Stack:
        """Where tokens and keys are kept: the same file as the embedded stack's, one directory further down."""
        return Stack(Home(self.folder), self.folder, self.program)

    @property
    def ports(self) -> dict[str, int]:
        return read_json(self.folder / "ports.json")

    @property
    def passwords(self) -> dict[str, str]:
        return read_json(self.folder / "passwords.json")

    def choose_ports(self, wanted: Mapping[str, int]) -> None:
        """Remembered ports that are free stay; not to be called while the containers hold them."""
        remembered = self.ports
        chosen: dict[str, int] = {}
        for name in PORT_NAMES:
            if name in wanted:
                demand_foreign_free(wanted[name], name)
                chosen[name] = wanted[name]
            else:
                chosen[name] = choose_port(remembered.get(name), frozenset({*chosen.values(), *wanted.values()}))
        write_atomically(self.folder / "ports.json", json.dumps(chosen, indent=1))

    def make_secrets(self) -> set[str]:
        """Fill in what is missing and write every file; what is there stays. Returns the files that say something else
        now: containers that run read them when they start again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self._known.make_secrets()
        self._adopt_keys()
        roles = ["postgres", *(role for service in SERVICES for role in (service, f"{service}_owner"))]
        passwords = {role: self.passwords.get(role) or secrets.token_urlsafe(24) for role in roles}
        write_atomically(self.folder / "passwords.json", json.dumps(passwords, indent=1), 0o600)
        changed = set()
        for name, text in self._secret_texts().items():
            path = self.folder / "secrets" / name
            if path.exists() and path.read_text(encoding="utf-8") != text:
                changed.add(name)
            write_atomically(path, text, 0o444)
        (self.folder / "secrets").chmod(0o755)
        return changed

    def _adopt_keys(self) -> None:
        """A key for good that was given once stays, also when it is no longer given."""
        path = Home(self.folder).secrets
        known = read_json(path)
        given = {(service, key): self.value(f"{service}_{key}".upper()) for service, key in KEYS_FOR_GOOD.items()}
        for (service, key), value in given.items():
            if value:
                known["services"][service][key] = value
        if any(given.values()):
            write_atomically(path, json.dumps(known, indent=1), 0o600)
            self._known.__dict__.pop("credentials", None)

    def _secret_texts(self) -> dict[str, str]:
        known, passwords = self._known.credentials, self.passwords
        texts = {
            "postgres_password": passwords["postgres"],
            "session_private_key": known["session_private_key"],
            "session_public_key": known["session_public_key"],
        }
        for service in SERVICES:
            owner, own = f"{service}_owner", known["services"][service]
            texts |= {
                f"{service}_password": passwords[service],
                f"{owner}_password": passwords[owner],
                f"{service}_database_url": self.dsn(service, service, "postgres:5432"),
                f"{service}_owner_database_url": self.dsn(service, owner, "postgres:5432"),
                f"{service}_internal_token": own["internal_token"],
                f"{service}_internal_callers": json.dumps(internal_callers(service, known)),
                f"{service}_link_secret": own["link_secret"],
            }
            if key := KEYS_FOR_GOOD.get(service):
                texts[f"{service}_{key}"] = own[key]
        texts |= {name.lower(): self.value(name) or "" for name in GIVEN_SECRETS}
        return texts

    def forget(self, what: str) -> None:
        """Drop secrets, so that `make_secrets` makes new ones: passwords, internal, sessions or links.

        Before links are dropped, what is kept for good is seeded with them where it is missing.
        """
        self.make_secrets()
        if what == "passwords":
            # The superuser's is not among them: it is what changes the others.
            kept = {"postgres": self.passwords["postgres"]}
            write_atomically(self.folder / "passwords.json", json.dumps(kept, indent=1), 0o600)
            return
        path = Home(self.folder).secrets
        known = read_json(path)
        if what == "sessions":
            known = {key: value for key, value in known.items() if not key.startswith("session_")}
        else:
            dropped = {"internal": "internal_token", "links": "link_secret"}[what]
            for own in known["services"].values():
                own.pop(dropped)
        write_atomically(path, json.dumps(known, indent=1), 0o600)

    def dsn(self, database: str, role: str, address: str) -> str:
        return f"postgresql://{role}:{self.passwords[role]}@{address}/{database}?sslmode=disable"

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def variables(self, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
        """What compose fills into the file and passes on; no secret is among them. What was given wins."""
        ports = self.ports
        usual = {
            "HUSTINGS_ENVIRONMENT": self.environment,
            **{f"{name.upper()}_URL": self.url(name) for name in SERVICES},
        }
        if self.environment != "production":
            usual |= {"NOTIFICATIONS_SMS_URL": "http://mailbox:8000/sms"}
            if not self.value("NOTIFICATIONS_SMTP_HOST"):
                usual |= {"NOTIFICATIONS_SMTP_HOST": "mailbox", "NOTIFICATIONS_SMTP_PORT": "2525"}
            # On one machine a whole crowd comes from one address.
            usual |= {"SIGNUP_LIMIT_ADDRESS_BURST": "20000", "SIGNUP_LIMIT_ADDRESS_PER_MINUTE": "6000"}
        given = {name: value for name in (*FILLED, *PUBLIC_URLS, *PASSED) if (value := self.value(name))}
        fixed = {
            "COMPOSE_PROJECT_NAME": self.project,
            "HUSTINGS_SECRETS": str(self.folder / "secrets"),
            "HUSTINGS_PROGRAM_FILE": str(self.program),
            **{f"{name.upper()}_PUBLISHED": str(ports[name]) for name in PORT_NAMES},
        }
        others = {name: value for name, value in environ.items() if name.removesuffix("_FILE") not in REMEMBERED}
        return {**others, **usual, **given, **fixed}

    def write_endpoints(self) -> None:
        """`endpoints.json` as the embedded stack writes it, seen from outside the containers."""
        ports = self.ports
        address = f"127.0.0.1:{ports['postgres']}"
        endpoints: dict[str, Any] = {
            "stack": "docker",
            **{name: self.url(name) for name in (*SERVICES, "mailbox")},
            "smtp": f"127.0.0.1:{ports['smtp']}",
            "sms": f"{self.url('mailbox')}/sms",
            "kafka": f"127.0.0.1:{ports['kafka']}",
            "postgres": {name: self.dsn(name, name, address) for name in SERVICES},
            "postgres_owner": {name: self.dsn(name, f"{name}_owner", address) for name in SERVICES},
        }
        write_atomically(self.home.endpoints, json.dumps(endpoints, indent=1), 0o600)


def merge(remembered: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """What was given before, and what is given now, which wins; set to nothing, a variable is forgotten.

    `NAME` and `NAME_FILE` replace one another. Paths become absolute: a later command may run elsewhere.
    """
    merged = dict(remembered)
    for name in REMEMBERED:
        forms = (name, f"{name}_FILE")
        if any(form in environ for form in forms):
            for form in forms:
                merged.pop(form, None)
                if value := environ.get(form):
                    is_path = form == "HUSTINGS_PROGRAM" or form.endswith("_FILE")
                    merged[form] = str(Path(value).absolute()) if is_path else value
    return merged
