"""A stand-in for a service, for the supervisor's tests: the roles and variables of the real ones, no rules.

`migrate` makes a table as the owner; `all` reads it as the run role and answers `/readyz`, and `/environment`
with the variables it was given. FAKE_DIES names a service that ends at once; FAKE_STUBBORN one that ignores
SIGTERM.
"""

import asyncio
import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import asyncpg

NAME = Path(__file__).parent.name
PREFIX = NAME.upper() + "_"


def private(key: str) -> str:
    return Path(os.environ[f"{PREFIX}{key}_FILE"]).read_text()


async def run_sql(key: str, statement: str) -> Any:
    connection = await asyncpg.connect(private(key))
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        mine = {key: value for key, value in os.environ.items() if key.startswith(PREFIX)}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(mine).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


def main() -> None:
    if sys.argv[1] == "migrate":
        asyncio.run(run_sql("OWNER_DATABASE_URL", "CREATE TABLE IF NOT EXISTS things (id int PRIMARY KEY)"))
        return
    if os.environ.get("FAKE_DIES") == NAME:
        sys.exit("the fake service cannot go on")
    asyncio.run(run_sql("DATABASE_URL", "SELECT * FROM things"))
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ[PREFIX + "PORT"])), Handler)

    def end(*_: Any) -> None:
        print(json.dumps({"event": "ended in order"}), flush=True)
        os._exit(0)

    signal.signal(signal.SIGTERM, signal.SIG_IGN if os.environ.get("FAKE_STUBBORN") == NAME else end)
    server.serve_forever()


main()
