"""Each mode of the proxy does to a connection what it is named for."""

import asyncio
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from deploy.embedded.processes import choose_port
from tests.faults.proxy import Proxy
from tests.harness import ROOT

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what comes, and says so when the other side is done."""
    while piece := await reader.read(1024):
        writer.write(piece)
    writer.write(b"eof")
    await writer.drain()
    writer.close()


@asynccontextmanager
async def proxied(answer: Answer = echo) -> AsyncIterator[tuple[Proxy, int]]:
    """A server behind a proxy process: the proxy's control and its port."""
    target, control, port = choose_port(), choose_port(), choose_port()
    server = await asyncio.start_server(answer, "127.0.0.1", target)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.proxy", "--control", str(control), f"echo={port}:{target}"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 30) == b"ready\n"
        yield Proxy(control), port
    finally:
        process.kill()
        await process.wait()
        server.close()


async def said(streams: Streams, words: bytes, *, seconds: float = 10) -> bytes:
    """What comes back for `words`."""
    reader, writer = streams
    writer.write(words)
    await writer.drain()
    return await asyncio.wait_for(reader.read(1024), seconds)


async def test_connections_are_forwarded() -> None:
    async with proxied() as (_proxy, port):
        streams = await asyncio.open_connection("127.0.0.1", port)
        assert await said(streams, b"hello") == b"hello"
        streams[1].write_eof()
        assert await asyncio.wait_for(streams[0].read(), 10) == b"eof"
        streams[1].close()


async def test_cut_resets_open_and_new_connections_until_passed_again() -> None:
    async with proxied() as (proxy, port):
        streams = await asyncio.open_connection("127.0.0.1", port)
        assert await said(streams, b"hello") == b"hello"
        assert await proxy.set("echo", "cut") == 1
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(streams[0].read(1024), 10)
        with pytest.raises(ConnectionResetError):
            await said(await asyncio.open_connection("127.0.0.1", port), b"hello")
        await proxy.set("echo", "pass")
        again = await asyncio.open_connection("127.0.0.1", port)
        assert await said(again, b"hello") == b"hello"
        again[1].close()


async def test_refuse_closes_the_port() -> None:
    async with proxied() as (proxy, port):
        await proxy.set("echo", "refuse")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        await proxy.set("echo", "pass")
        streams = await asyncio.open_connection("127.0.0.1", port)
        assert await said(streams, b"hello") == b"hello"
        streams[1].close()


async def test_black_hole_keeps_connections_and_says_nothing() -> None:
    async with proxied() as (proxy, port):
        old = await asyncio.open_connection("127.0.0.1", port)
        assert await said(old, b"hello") == b"hello"
        assert await proxy.set("echo", "black_hole") == 1
        new = await asyncio.open_connection("127.0.0.1", port)
        for streams in (old, new):
            with pytest.raises(TimeoutError):
                await said(streams, b"hello", seconds=0.3)
        await proxy.set("echo", "pass")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(old[0].read(1024), 10)
        old[1].close()
        new[1].close()


async def test_half_close_ends_the_way_there_and_keeps_the_way_back() -> None:
    async with proxied() as (proxy, port):
        streams = await asyncio.open_connection("127.0.0.1", port)
        assert await said(streams, b"hello") == b"hello"
        await proxy.set("echo", "half_close")
        assert await asyncio.wait_for(streams[0].read(1024), 10) == b"eof"
        streams[1].close()


async def test_delay_makes_answers_late_and_keeps_their_order() -> None:
    async with proxied() as (proxy, port):
        streams = await asyncio.open_connection("127.0.0.1", port)
        await proxy.set("echo", "delay", 0.2)
        began = time.monotonic()
        assert await said(streams, b"one") == b"one"
        assert time.monotonic() - began >= 0.4, "late there, and late back"
        assert await said(streams, b"two") == b"two"
        streams[1].close()


async def test_reset_by_the_server_reaches_the_client() -> None:
    async def abort(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    async with proxied(abort) as (_proxy, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1024), 10)
        writer.close()


async def test_unknown_mode_is_refused() -> None:
    async with proxied() as (proxy, _port):
        with pytest.raises(ConnectionError):
            await proxy.set("echo", "explode")
