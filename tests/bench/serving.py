"""Processes under measurement: started as production starts them, stopped by their id."""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.embedded.processes import Process, choose_port, last_lines
from shared.settings import SERVICES
from tests.harness import PROGRAM_2025, ROOT, Database, internal_token, session_keys

START_SECONDS = 60.0


@contextmanager
def process(
    argv: Sequence[str], environment: Mapping[str, str], *, log: Path, ready: str | None = None
) -> Iterator[Process]:
    """A child, up once `ready` (an address) answers; stopped at the end of the block."""
    child = Process.spawn([sys.executable, *argv], log=log, env={**os.environ, **environment}, cwd=ROOT)
    try:
        deadline = time.monotonic() + START_SECONDS
        while ready is not None and not _answers(ready):
            if not child.running() or time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(argv)} did not come up; its log ends: {last_lines(log)}")
            time.sleep(0.1)
        yield child
    finally:
        child.stop(25)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return bool(answer.status < 400)
    except urllib.error.HTTPError as error:
        return error.code in (404, 405)
    except OSError:
        return False


def environment_of(
    service: str, database: Database, *, kafka: str, ports: Mapping[str, int], **changes: object
) -> dict[str, str]:
    """The variables of one service's process; `changes` by setting name."""
    private, public = session_keys()
    values: dict[str, object] = {
        "environment": "test",
        "database_url": database.dsn,
        "kafka_bootstrap": kafka,
        "program": PROGRAM_2025,
        "port": ports[service],
        "internal_token": internal_token(service),
        "internal_callers": json.dumps(
            {
                name: {"token_sha256": _hash(internal_token(name)), "scopes": ["contacts", "profiles", "message-data"]}
                for name in SERVICES
            }
        ),
        "session_public_key": public,
        "link_secret": "link-secret-of-benchmarks",
        "log_level": "WARNING",
        **{f"{name}_url": f"http://127.0.0.1:{ports.get(name, 1)}" for name in SERVICES},
        **changes,
    }
    if service == "signup":
        values["session_private_key"] = private
    return {f"{service}_{name}".upper(): str(value) for name, value in values.items()}


def free_ports(*names: str) -> dict[str, int]:
    """A free port for each name."""
    ports: dict[str, int] = {}
    for name in names:
        ports[name] = choose_port(taken=frozenset(ports.values()))
    return ports


def _hash(text: str) -> str:
    from hashlib import sha256

    return sha256(text.encode()).hexdigest()
