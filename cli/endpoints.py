"""Where the running system is: `.hustings/endpoints.json`, or the file that HUSTINGS_ENDPOINTS names."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from shared.settings import SERVICES


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Base URLs, brokers and DSNs of the system that the command talks to."""

    urls: dict[str, str]
    kafka: str
    dsn: dict[str, str]
    owner_dsn: dict[str, str]
    mailbox: str


def fail(sentence: str) -> typer.Exit:
    """Print one sentence on standard error; raise what this returns."""
    typer.echo(sentence, err=True)
    return typer.Exit(1)


def endpoints_path() -> Path:
    """HUSTINGS_ENDPOINTS, or `endpoints.json` in HUSTINGS_HOME."""
    home = Path(os.environ.get("HUSTINGS_HOME", ".hustings"))
    return Path(os.environ.get("HUSTINGS_ENDPOINTS", home / "endpoints.json"))


def endpoints() -> Endpoints:
    """Read the file, or end with a sentence that says what to do."""
    path = endpoints_path()
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise fail(f"No running system is known here ({path} is missing); run `make up` first.") from None
    except json.JSONDecodeError:
        raise fail(f"{path} is damaged; run `make down` and `make up` to write it anew.") from None
    return Endpoints(
        urls={name: found[name] for name in SERVICES},
        kafka=found["kafka"],
        dsn=found["postgres"],
        owner_dsn=found["postgres_owner"],
        mailbox=found["mailbox"],
    )
