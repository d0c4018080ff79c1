"""Commands that a service brings itself, run with the settings of the running system, wherever that runs."""

import json
import subprocess
from collections.abc import Sequence

from cli.endpoints import endpoints, endpoints_path, fail
from deploy.compose.control import containers
from deploy.compose.system import System
from deploy.embedded.postgres import ServiceDatabase
from deploy.embedded.processes import StackError
from deploy.embedded.stack import Stack


def run_inside(service: str, module: str, arguments: Sequence[str]) -> int:
    """Run `python -m module …` as the service itself would; its exit code.

    By containers that is inside one of the service's own; otherwise a process with the embedded stack's settings.
    """
    known = endpoints()
    if json.loads(endpoints_path().read_text(encoding="utf-8")).get("stack") == "docker":
        return subprocess.run([*_exec(service), "python", "-m", module, *arguments], check=False).returncode
    database = ServiceDatabase(owner_dsn=known.owner_dsn[service], dsn=known.dsn[service])
    spec = Stack.from_environment().service(service, known.kafka, database)
    command = [spec.argv[0], "-m", module, *arguments]
    return subprocess.run(command, env=dict(spec.env), cwd=spec.cwd, check=False).returncode


def _exec(service: str) -> list[str]:
    try:
        running = [c for c in containers(System.from_environment()) if c.state == "running"]
    except StackError as error:
        raise fail(str(error)) from None
    for container in running:
        if container.service == f"{service}-web":
            return ["docker", "exec", container.id]
    raise fail(f"No container of {service} runs; see `make status`.")
