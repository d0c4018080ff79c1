"""The embedded stack with its Kafka and PostgreSQL in containers: `python -m tests.flow.on_containers up|down|…`.

Everything else is as users have it: the same commands, supervisor, services and files.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

from deploy.embedded import __main__ as commands
from deploy.embedded import supervisor
from deploy.embedded.processes import Process
from deploy.embedded.stack import Stack
from tests.servers import ContainerKafka, ContainerPostgres

SUPERVISE = "supervise"


def launch(stack: Stack, _wanted_ports: Mapping[str, int]) -> Process:
    """The supervisor, detached; itself a process of this module."""
    return Process.spawn(
        [sys.executable, "-m", "tests.flow.on_containers", SUPERVISE],
        log=stack.home.log("supervisor"),
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "HUSTINGS_HOME": str(stack.home.path)},
    )


def main() -> int:
    if sys.argv[1:] == [SUPERVISE]:
        sys.argv[1:] = []
        with patch.object(supervisor, "Kafka", ContainerKafka), patch.object(supervisor, "Postgres", ContainerPostgres):
            return supervisor.main()
    with patch.object(commands, "launch", launch):
        commands.main()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
