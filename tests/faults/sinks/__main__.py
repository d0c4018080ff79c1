"""`python -m tests.faults.sinks --dir D --ports-file F`: runs until SIGTERM or SIGINT."""

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from pydantic import ValidationError

from deploy.embedded.processes import write_atomically
from tests.faults.sinks import open_sinks
from tests.faults.sinks.plan import Plan


async def serve(arguments: argparse.Namespace, plan: Plan | None) -> None:
    """Serve until told to stop; what was being received is finished."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with open_sinks(arguments.dir, smtp_port=arguments.smtp_port, http_port=arguments.http_port) as sinks:
        if plan is not None:
            sinks.plans.load(plan)
        write_atomically(arguments.ports_file, json.dumps({**sinks.addresses(), "pid": os.getpid()}, indent=1))
        await stop.wait()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.sinks", description="Sinks for injected faults.")
    parser.add_argument("--dir", type=Path, required=True, help="where the journals go")
    parser.add_argument("--ports-file", type=Path, required=True, help="written once everything listens")
    parser.add_argument("--smtp-port", type=int, default=0)
    parser.add_argument("--http-port", type=int, default=0)
    parser.add_argument("--plan", type=Path, help="a plan to begin with")
    arguments = parser.parse_args()
    plan = None
    if arguments.plan:
        try:
            plan = Plan.model_validate_json(arguments.plan.read_bytes())
        except (OSError, ValidationError) as error:
            sys.exit(f"The plan {arguments.plan} cannot be read; correct it and start again: {error}")
    asyncio.run(serve(arguments, plan))


if __name__ == "__main__":
    main()
