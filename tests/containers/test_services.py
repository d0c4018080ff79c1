"""Each service's image against Kafka and PostgreSQL: migrate, become healthy, end at SIGTERM; two versions together."""

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import pytest
from testcontainers.core.container import DockerContainer

from deploy.embedded.kafka import Kafka
from deploy.embedded.postgres import Postgres, ServiceDatabase
from deploy.embedded.processes import choose_port, write_atomically
from deploy.images.build import fill_wheelhouse, sources
from deploy.images.docker import build, docker, labels
from deploy.images.names import PYTHON, SOURCES, ours
from shared.broker import create_topics
from shared.events import ALL_TOPICS
from shared.settings import SERVICES
from tests.harness import PROGRAM_2025, ROOT, internal_token, session_keys

READY_SECONDS = 120
# What a service promises, and what an idle one needs at most on a busy machine.
END_SECONDS = 25
# A column that only the newer version knows: expanding, so that the older one goes on.
EXPANDING = """\
-- migrate:up
ALTER TABLE signups ADD COLUMN seen_by_the_newer text;

-- migrate:down
ALTER TABLE signups DROP COLUMN seen_by_the_newer;
"""


@dataclass(frozen=True, slots=True)
class Place:
    """What a service needs around it: a migrated or empty database, a broker with topics, a folder for its secrets."""

    database: ServiceDatabase
    kafka: Kafka
    folder: Path


@pytest.fixture(scope="module")
async def broker(kafka: Kafka) -> Kafka:
    """The run's broker with every topic."""
    await create_topics(kafka.bootstrap, ALL_TOPICS, partitions=2)
    return kafka


def container(service: str, role: str, place: Place, *, tag: str = "latest", port: int = 0) -> DockerContainer:
    """A container of a service as compose runs it, on the machine's own network."""
    prefix = service.upper()
    private = {
        "DATABASE_URL": place.database.dsn,
        "OWNER_DATABASE_URL": place.database.owner_dsn,
        "INTERNAL_TOKEN": internal_token(service),
        "LINK_SECRET": "link-secret-of-tests",
        "SESSION_PUBLIC_KEY": session_keys()[1],
    }
    if service == "signup":
        private["SESSION_PRIVATE_KEY"] = session_keys()[0]
    plain = {
        "ENVIRONMENT": "test",
        "PORT": str(port or 8000),
        "KAFKA_BOOTSTRAP": place.kafka.bootstrap,
        "PROGRAM": "/program.toml",
        "INTERNAL_CALLERS": json.dumps(
            {s: {"token_sha256": hashlib.sha256(internal_token(s).encode()).hexdigest(), "scopes": ["contacts"]}
             for s in SERVICES}
        ),
        **{f"{s.upper()}_URL": f"http://127.0.0.1:{port or 8000}" for s in SERVICES},
    }  # fmt: skip
    if service == "notifications":
        plain |= {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": "1", "SMS_URL": "http://127.0.0.1:1/sms"}
    made = DockerContainer(
        ours(service, tag),
        command=role,
        network_mode="host",
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
    ).with_tmpfs_mount("/tmp")
    for name, value in plain.items():
        made.with_env(f"{prefix}_{name}", value)
    for name, value in private.items():
        path = place.folder / name.lower()
        write_atomically(path, value, 0o444)
        made.with_env(f"{prefix}_{name}_FILE", f"/run/secrets/{name.lower()}")
        # File by file, as compose does: only its owner may enter the folder.
        made.with_volume_mapping(path, f"/run/secrets/{name.lower()}")
    return made.with_volume_mapping(PROGRAM_2025, "/program.toml")


@contextmanager
def running(made: DockerContainer) -> Iterator[DockerContainer]:
    """Started and, at the end, removed."""
    with made:
        yield made


def wait_until(made: DockerContainer, wanted: str) -> None:
    """Poll the daemon's own word on a container: `healthy`, or `exited`."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        wrapped = made.get_wrapped_container()
        wrapped.reload()
        state = wrapped.attrs["State"]
        if wanted in {state["Status"], state.get("Health", {}).get("Status")}:
            return
        assert state["Status"] in {"created", "running"}, f"{state}: {said(made)}"
        assert time.monotonic() < deadline, f"{state}: {said(made)}"
        time.sleep(0.2)


def said(made: DockerContainer) -> str:
    """A container's log."""
    return "\n".join(part.decode() for part in made.get_logs())


def end(made: DockerContainer) -> int:
    """SIGTERM, and the exit code; fails if the process needs longer than it may."""
    wrapped = made.get_wrapped_container()
    wrapped.kill("SIGTERM")
    return int(wrapped.wait(timeout=END_SECONDS)["StatusCode"])


def migrated(service: str, place: Place, tag: str = "latest") -> None:
    """Run the image's own `migrate` to its end."""
    with running(container(service, "migrate", place, tag=tag)) as made:
        assert made.get_wrapped_container().wait(timeout=READY_SECONDS)["StatusCode"] == 0, said(made)


@pytest.mark.parametrize("service", SERVICES)
def test_image_migrates_becomes_healthy_and_ends_at_sigterm(
    service: str, images: None, postgres: Postgres, broker: Kafka, tmp_path: Path
) -> None:
    place = Place(postgres.create_service(f"{service}_image"), broker, tmp_path)
    migrated(service, place)
    with ExitStack() as stack:
        roles = [
            stack.enter_context(running(container(service, role, place, port=choose_port())))
            for role in ("web", "worker", "relay")
        ]
        for made in roles:
            wait_until(made, "healthy")
        inspected = docker("inspect", *(made.get_wrapped_container().id for made in roles))
        secrets = [path.read_text() for path in tmp_path.iterdir()]
        assert [text for text in secrets if text in inspected] == []
        assert [end(made) for made in roles] == [0, 0, 0]
        assert ["stopped" in said(made) for made in roles] == [True, True, True]


@pytest.mark.parametrize("service", SERVICES)
def test_image_without_settings_says_what_is_missing(service: str, images: None) -> None:
    done = subprocess.run(["docker", "run", "--rm", ours(service), "web"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{service.upper()}_DATABASE_URL: Field required." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def newer(images: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tag of a later version of signup: the same code with one expanding migration more."""
    # Into the folder that is copied: images that were up to date have not asked for it.
    fill_wheelhouse(("signup",))
    context = tmp_path_factory.mktemp("newer")
    kept = shutil.ignore_patterns("__pycache__", "node_modules", "styles")
    for part in ("shared", "services", "deploy/images", "deploy/embedded", "deploy/requirements"):
        shutil.copytree(ROOT / part, context / part, ignore=kept, copy_function=os.link)
    shutil.copy(ROOT / "deploy" / "__init__.py", context / "deploy")
    (context / "services/signup/migrations/0199_pre_seen_by_the_newer.sql").write_text(EXPANDING)
    arguments = {"BASE": PYTHON, "SERVICE": "signup", "VERSION": "newer", "SOURCES": sources("signup", PYTHON)}
    build(
        context, context / "deploy/images/Dockerfile", tags=[ours("signup", "newer")], arguments=arguments, offline=True
    )
    assert labels(ours("signup", "newer"))[SOURCES] == labels(ours("signup"))[SOURCES]
    return "newer"


async def test_two_versions_serve_side_by_side_and_the_older_leaves(
    newer: str, postgres: Postgres, broker: Kafka, tmp_path: Path
) -> None:
    """The order of a deploy: migrate, the new beside the old, then SIGTERM to the old; every sign-up is kept."""
    place = Place(postgres.create_service("signup_versions"), broker, tmp_path)
    migrated("signup", place)
    old_port, new_port = choose_port(), choose_port()
    accepted = 0
    with running(container("signup", "all", place, port=old_port)) as old:
        wait_until(old, "healthy")
        accepted += sign_up(old_port, 10)
        migrated("signup", place, newer)
        accepted += sign_up(old_port, 10)
        with running(container("signup", "all", place, tag=newer, port=new_port)) as new:
            wait_until(new, "healthy")
            for _round in range(5):
                accepted += sign_up(old_port, 2) + sign_up(new_port, 2)
            assert end(old) == 0
            accepted += sign_up(new_port, 10)
            connection = await asyncpg.connect(place.database.owner_dsn)
            try:
                stored = await connection.fetchval("SELECT count(*) FROM signups WHERE seen_by_the_newer IS NULL")
            finally:
                await connection.close()
            assert (stored, accepted) == (50, 50)
            assert end(new) == 0


def sign_up(port: int, count: int) -> int:
    """Send sign-ups; how many were acknowledged."""
    acknowledged = 0
    for _number in range(count):
        mark = uuid4()
        answer = httpx.post(
            f"http://127.0.0.1:{port}/v1/signups",
            headers={"Idempotency-Key": str(mark)},
            json={"form": "run", "name": "Ann Lee", "email": f"ann.{mark.hex}@example.org", "state": "CA"},
            timeout=30,
        )
        assert answer.status_code == 202, answer.text
        acknowledged += 1
    return acknowledged
