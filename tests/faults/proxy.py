"""A TCP proxy that breaks connections on command: `python -m tests.faults.proxy --control PORT NAME=PORT:TARGET …`.

It runs as a process of its own, so that the harness's own work never delays what it passes on. A line of JSON to the
control port, `{"name": …, "mode": …, "delay_seconds": …}`, sets what a link does from then on; the answer is a line
with the connections it met. Modes:

    pass        forwards
    cut         resets every connection (RST), and each new one at once
    refuse      closes the listening socket too: connecting fails
    black_hole  keeps connections open and forwards nothing, in both directions, and accepts new ones
    half_close  sends what was under way, then shuts the side towards the server (FIN) and forwards answers only;
                new connections are accepted and nothing that they send goes on
    delay       forwards each piece `delay_seconds` later, in order

`pass` heals new connections; those that were black-holed or half-closed are reset, as a network that comes back does
to connections whose other end has given them up.
"""

import argparse
import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import uvloop

PIECE_BYTES = 65_536
MODES = ("pass", "cut", "refuse", "black_hole", "half_close", "delay")


@dataclass(eq=False, slots=True)
class Connection:
    """One client with its way to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    spoiled: bool = False
    """Bytes were held back or a side was shut: it can't be healed any more."""

    def reset(self) -> None:
        """Close both sides with RST."""
        for writer in (self.client, self.server):
            if writer is None:
                continue
            with contextlib.suppress(OSError, AttributeError):
                # SO_LINGER with 0 seconds: closing sends RST and drops what is unsent.
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


@dataclass(eq=False)
class Link:
    """A listening port and the address that it leads to."""

    name: str
    port: int
    host: str
    target_port: int
    mode: str = "pass"
    delay_seconds: float = 0.0
    connections: set[Connection] = field(default_factory=set)
    _server: asyncio.Server | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self) -> None:
        """Listen."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=512)

    async def close(self) -> None:
        """Stop listening and reset what is open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._reset(list(self.connections))

    async def set(self, mode: str, delay_seconds: float) -> int:
        """Change what the link does; returns how many connections were open."""
        met = list(self.connections)
        self.mode, self.delay_seconds = mode, delay_seconds
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        if mode == "refuse":
            await self.close()
            return len(met)
        await self.open()
        if mode == "cut":
            self._reset(met)
        elif mode == "half_close":
            for connection in met:
                connection.spoiled = True
                if connection.server is not None and connection.server.can_write_eof():
                    with contextlib.suppress(OSError, RuntimeError):
                        connection.server.write_eof()
        elif mode in ("pass", "delay"):
            self._reset([connection for connection in met if connection.spoiled])
        return len(met)

    def _reset(self, connections: Sequence[Connection]) -> None:
        for connection in connections:
            connection.reset()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(writer)
        if self.mode == "cut":
            connection.reset()
            return
        self.connections.add(connection)
        try:
            if self.mode == "black_hole":
                connection.spoiled = True
                await self._changed.wait()
                return
            try:
                server_reader, connection.server = await asyncio.open_connection(self.host, self.target_port)
            except OSError:
                return
            both = (
                asyncio.create_task(self._forward(connection, reader, connection.server, to_server=True)),
                asyncio.create_task(self._forward(connection, server_reader, writer, to_server=False)),
            )
            if any(isinstance(end, Exception) for end in await self._ends(both)):
                connection.reset()
        finally:
            self.connections.discard(connection)
            for side in (writer, connection.server):
                if side is not None:
                    with contextlib.suppress(OSError):
                        side.close()

    async def _ends(self, both: Sequence[asyncio.Task[None]]) -> list[BaseException | None]:
        """Wait for both directions; when one breaks, the other end is told at once."""
        done, waiting = await asyncio.wait(both, return_when=asyncio.FIRST_EXCEPTION)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return [task.exception() for task in done]

    async def _forward(
        self, connection: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, to_server: bool
    ) -> None:
        while piece := await reader.read(PIECE_BYTES):
            if self.mode == "delay":
                await asyncio.sleep(self.delay_seconds)
            while self.mode == "black_hole" or (self.mode == "half_close" and to_server):
                connection.spoiled = True
                await self._changed.wait()
            if connection.spoiled and to_server:
                return
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def serve(control_port: int, links: Sequence[Link]) -> None:
    """Forward until cancelled."""
    by_name = {link.name: link for link in links}

    async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            wanted = json.loads(line)
            link, mode = by_name[wanted["name"]], wanted["mode"]
            if mode not in MODES:
                raise ValueError(f"there is no mode {mode!r}: use one of {', '.join(MODES)}")
            met = await link.set(mode, float(wanted.get("delay_seconds", 0)))
            writer.write(json.dumps({"connections": met}).encode() + b"\n")
            await writer.drain()
        writer.close()

    for link in links:
        await link.open()
    server = await asyncio.start_server(control, "127.0.0.1", control_port)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


class Proxy:
    """The other end of the control port."""

    def __init__(self, control_port: int) -> None:
        self._port = control_port

    async def set(self, name: str, mode: str, delay_seconds: float = 0.0) -> int:
        """Have a link do something else; returns how many connections were open on it."""
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                wanted = {"name": name, "mode": mode, "delay_seconds": delay_seconds}
                writer.write(json.dumps(wanted).encode() + b"\n")
                answer = await reader.readline()
                if not answer:
                    raise ConnectionError(f"the proxy refused {wanted}")
                return int(json.loads(answer)["connections"])
            finally:
                writer.close()


def parse_link(text: str) -> Link:
    """`kafka=20001:20002` leads port 20001 to port 20002."""
    name, _, ports = text.partition("=")
    port, _, target = ports.partition(":")
    return Link(name, int(port), "127.0.0.1", int(target))


def main(arguments: Sequence[str] | None = None) -> None:
    """Forward until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.proxy", description=__doc__)
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("links", nargs="+", type=parse_link)
    given = parser.parse_args(arguments)
    uvloop.run(serve(given.control, given.links))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
