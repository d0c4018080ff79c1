"""The `docker` client as a process: what it says is an answer, what it refuses is one sentence."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from deploy.embedded.processes import StackError

ASK_SECONDS = 20


def docker(
    *arguments: str, timeout_seconds: float = 900, stdin: bytes | None = None, env: Mapping[str, str] | None = None
) -> str:
    """The output of `docker …`; `StackError` with its own last words if it fails."""
    try:
        done = subprocess.run(
            ["docker", *arguments],
            input=stdin,
            env={**os.environ, **(env or {})},
            capture_output=True,
            check=False,
            timeout=timeout_seconds,
        )
    except FileNotFoundError:
        raise StackError("There is no `docker` command here: install Docker, or set HUSTINGS_STACK=embedded.") from None
    except subprocess.TimeoutExpired:
        raise StackError(f"`docker {arguments[0]}` did not end within {timeout_seconds:.0f} seconds.") from None
    if done.returncode:
        words = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
        raise StackError(f"`docker {' '.join(arguments[:3])}` failed: {words[-1500:]}")
    return done.stdout.decode("utf-8", "replace")


def missing_docker() -> str | None:
    """Why Docker can't be used here, in one sentence; None when its daemon answers."""
    if shutil.which("docker") is None:
        return "there is no `docker` command"
    try:
        docker("version", "--format", "{{.Server.Version}}", timeout_seconds=ASK_SECONDS)
    except StackError:
        return f"no Docker daemon answers at {os.environ.get('DOCKER_HOST', 'its usual socket')}"
    return None


def demand_docker(otherwise: str) -> None:
    """Raise `StackError` that begins with `otherwise` and says why, unless a daemon answers."""
    if why := missing_docker():
        raise StackError(f"{otherwise}: {why}.")


def image(name: str) -> dict[str, Any] | None:
    """`docker image inspect`, None if there is no such image here."""
    try:
        [found] = json.loads(docker("image", "inspect", name, timeout_seconds=ASK_SECONDS))
    except StackError:
        return None
    assert isinstance(found, dict)
    return found


def labels(name: str) -> dict[str, str]:
    """An image's labels; {} if it is not here."""
    found = image(name)
    return dict(found["Config"].get("Labels") or {}) if found else {}


def build(context: Path, dockerfile: Path, *, tags: list[str], arguments: Mapping[str, str], offline: bool) -> None:
    """`docker build`, plain enough for every builder there is. `offline` builds without any network."""
    command = ["build", "--quiet", "--file", str(dockerfile), "--network", "none" if offline else "host"]
    command += [part for tag in tags for part in ("--tag", tag)]
    command += [part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")]
    docker(*command, str(context), env={"DOCKER_BUILDKIT": "1" if _has_buildkit() else "0"})


@cache
def _has_buildkit() -> bool:
    """Whether the client brings BuildKit's front end; the classic builder does as well."""
    try:
        docker("buildx", "version", timeout_seconds=ASK_SECONDS)
    except StackError:
        return False
    return True
