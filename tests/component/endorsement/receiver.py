"""A real HTTP receiver on the loopback address, which answers as it is told and remembers what it got."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Got:
    """One request."""

    path: str
    headers: dict[str, str]
    body: str


@dataclass
class Receiver:
    """`answer` is the raw HTTP answer to the next requests, by the request; empty bytes hang."""

    port: int = 0
    host: str = "127.0.0.1"
    got: list[Got] = field(default_factory=list)
    answer: Callable[[Got], bytes] = lambda _got: reply(200)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.host}:{self.port}/hook"


def reply(status: int, *headers: str, body: str = "") -> bytes:
    """An HTTP answer as bytes."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


@asynccontextmanager
async def receiving(host: str = "127.0.0.1") -> AsyncIterator[Receiver]:
    """A receiver that ends with the block."""
    receiver = Receiver(host=host)
    stop = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        request_line, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _colon, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        got = Got(request_line.split(" ")[1], headers, body.decode())
        receiver.got.append(got)
        answer = receiver.answer(got)
        if answer:
            writer.write(answer)
            await writer.drain()
        else:
            await stop.wait()
        writer.close()

    server = await asyncio.start_server(serve, host, 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        stop.set()
        server.close()
        await server.wait_closed()
