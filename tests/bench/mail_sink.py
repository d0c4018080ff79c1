"""`python -m tests.bench.mail_sink PORT`: a relay host that takes every mail at once, and forgets it.

After `DATA` everything up to the lone dot is read as it comes; each mail is noted by the time it was taken, and
`NOTE <recipient>` asks for that time. No more of SMTP is here than a client of this benchmark says.
"""

import asyncio
import signal
import sys
import time

import uvloop

GREETING = b"220 sink\r\n"
CAPABILITIES = b"250-sink\r\n250-8BITMIME\r\n250-PIPELINING\r\n250 SMTPUTF8\r\n"
END = b"\r\n.\r\n"
TAKEN: dict[bytes, float] = {}


class Session(asyncio.Protocol):
    """One client."""

    def __init__(self) -> None:
        self._buffer = b""
        self._recipient = b""
        self._in_body = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._transport.write(GREETING)

    def data_received(self, data: bytes) -> None:
        """Answer every command that is whole, and every mail that has ended."""
        self._buffer += data
        answers = []
        while True:
            if self._in_body:
                end = self._buffer.find(END)
                if end < 0:
                    break
                self._buffer, self._in_body = self._buffer[end + len(END) :], False
                TAKEN[self._recipient] = time.time()
                answers.append(b"250 taken\r\n")
                continue
            line, separator, rest = self._buffer.partition(b"\r\n")
            if not separator:
                break
            self._buffer = rest
            answers.append(self._answer(line))
        if answers:
            self._transport.write(b"".join(answers))

    def _answer(self, line: bytes) -> bytes:
        verb = line[:4].upper()
        if verb == b"EHLO":
            return CAPABILITIES
        if verb == b"RCPT":
            self._recipient = line[line.index(b"<") + 1 : line.index(b">")].lower()
        elif verb == b"DATA":
            self._in_body = True
            return b"354 go on\r\n"
        elif verb == b"NOTE":
            return b"%f\r\n" % TAKEN.get(line[5:].lower(), 0.0)
        elif verb == b"SIZE":
            return b"%d\r\n" % len(TAKEN)
        return b"250 ok\r\n"


async def serve(port: int) -> None:
    """Until SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(Session, "127.0.0.1", port)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1])))
