"""What is said to a relay host that offers PIPELINING, and what its replies, whole, torn or missing, come to."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from services.notifications.sending.answers import Answer
from services.notifications.sending.mime import Mail
from services.notifications.sending.smtp import Relay, SmtpPool

CONTENT = b"Subject: x\r\n\r\n.\r\n..two\r\nlast\r\n"
GROUP = b"250 ok\r\n250 ok\r\n354 go on\r\n"
TAKEN = b"250 taken\r\n"


@dataclass
class Host:
    """`group` answers MAIL, RCPT and DATA, read before a word is said; `body` answers the body. None: hang up.

    A list of pieces is sent piece by piece. Both are asked with the number of the connection and of its mail.
    """

    group: Callable[[int, int], list[bytes] | None] = lambda _connection, _mail: [GROUP]
    body: Callable[[int, int], list[bytes] | None] = lambda _connection, _mail: [TAKEN]
    hangs_up_after_body: bool = False
    capabilities: bytes = b"250-host\r\n250-PIPELINING\r\n250 SMTPUTF8\r\n"
    said: list[list[bytes]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said: list[bytes] = []
        self.said.append(said)
        number, mails = len(self.said), 0
        try:
            writer.write(b"220 host\r\n")
            await reader.readline()
            writer.write(self.capabilities)
            while line := await reader.readline():
                said.append(line)
                if line.startswith(b"QUIT"):
                    writer.write(b"221 bye\r\n")
                    break
                said += [await reader.readline(), await reader.readline()]
                mails += 1
                if not await self._say(writer, self.group(number, mails)):
                    break
                body = b""
                while not body.endswith(b"\r\n.\r\n"):
                    if not (read := await reader.read(65_536)):
                        return
                    body += read
                self.bodies.append(body)
                if not await self._say(writer, self.body(number, mails)) or self.hangs_up_after_body:
                    break
        finally:
            writer.close()

    async def _say(self, writer: asyncio.StreamWriter, pieces: list[bytes] | None) -> bool:
        for piece in pieces or ():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        return pieces is not None

    @asynccontextmanager
    async def pool(self) -> AsyncIterator[SmtpPool]:
        """Connections to this host."""
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        pool = SmtpPool(Relay("127.0.0.1", self.port, "none", None, None, 10.0))
        try:
            yield pool
        finally:
            await pool.close()
            server.close()


def mail(recipient: str = "ana@example.org", content: bytes = CONTENT, *, needs_utf8: bool = False) -> Mail:
    return Mail("hello@mail.example", recipient, content, needs_utf8)


async def test_envelope_is_one_group_and_the_connection_stays() -> None:
    host = Host()
    async with host.pool() as pool:
        answers = [await pool.hand_over(mail(f"p{number}@example.org")) for number in range(3)]
    assert answers == [Answer("accepted", provider_id="taken")] * 3
    assert host.said == [
        [
            line
            for number in range(3)
            for line in (
                b"MAIL FROM:<hello@mail.example>\r\n",
                f"RCPT TO:<p{number}@example.org>\r\n".encode(),
                b"DATA\r\n",
            )
        ]
        + [b"QUIT\r\n"]
    ]
    assert host.bodies == [b"Subject: x\r\n\r\n..\r\n...two\r\nlast\r\n.\r\n"] * 3


async def test_replies_in_pieces_and_of_many_lines_are_read() -> None:
    whole = b"250-first\r\n250 ok\r\n250 2.1.5 ok\r\n354 go on\r\n"
    host = Host(
        group=lambda _connection, _mail: [bytes([sign]) for sign in whole],
        body=lambda _connection, _mail: [b"250-queued\r", b"\n250 as 77\r\n"],
    )
    async with host.pool() as pool:
        assert await pool.hand_over(mail()) == Answer("accepted", provider_id="queued\nas 77")


@pytest.mark.parametrize("to_data", [b"354 go on\r\n", b"503 no recipient\r\n", b"554 none valid\r\n"])
async def test_recipient_refused_in_a_group_gets_no_body_whatever_data_says(to_data: bytes) -> None:
    host = Host(
        group=lambda connection, _mail: (
            [b"250 ok\r\n550 5.1.1 no such user\r\n", to_data] if connection == 1 else [GROUP]
        )
    )
    async with host.pool() as pool:
        assert await pool.hand_over(mail()) == Answer("rejected", "bounced", bounced=True)
        assert (await pool.hand_over(mail("other@example.org"))).outcome == "accepted"
    assert (len(host.said), len(host.bodies)) == (2, 1)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (None, Answer("temporary", "server_disconnected", provider_failed=True)),
        ([b"250 ok\r\n250 ok\r\n"], Answer("temporary", "server_disconnected", provider_failed=True)),
        (
            [b"250 ok\r\nwho are you?\r\n354 go on\r\n"],
            Answer("temporary", "server_disconnected", provider_failed=True),
        ),
        ([b"250 ok\r\n451 4.7.1 later\r\n"], Answer("temporary", "smtp_451")),
        ([b"421 too many\r\n"], Answer("temporary", "smtp_421", provider_failed=True)),
        ([b"250 ok\r\n250 ok\r\n554 no\r\n"], Answer("rejected", "smtp_554")),
        ([b"250 " + b"x" * 40_000], Answer("temporary", "server_disconnected", provider_failed=True)),
    ],
)
async def test_nothing_was_taken_before_the_word_for_the_body(said: list[bytes] | None, answer: Answer) -> None:
    """The host hangs up after what it says."""
    host = Host()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 host\r\n")
        await reader.readline()
        writer.write(host.capabilities)
        for _ in range(3):
            await reader.readline()
        await host._say(writer, said)
        writer.close()

    host.serve = serve  # type: ignore[method-assign]
    async with host.pool() as pool:
        assert await pool.hand_over(mail()) == answer
    assert host.bodies == []


@pytest.mark.parametrize("said", [None, [b"what?\r\n"], [b"25"]])
async def test_body_without_a_reply_is_unknown(said: list[bytes] | None) -> None:
    host = Host(body=lambda _connection, _mail: said, hangs_up_after_body=True)
    async with host.pool() as pool:
        assert await pool.hand_over(mail()) == Answer("unknown", "server_disconnected", provider_failed=True)
    assert len(host.bodies) == 1


async def test_stale_connection_is_replaced_and_the_mail_sent_once() -> None:
    host = Host(group=lambda connection, number: None if (connection, number) == (1, 2) else [GROUP])
    async with host.pool() as pool:
        assert [(await pool.hand_over(mail())).outcome for _ in range(3)] == ["accepted"] * 3
    assert (len(host.said), len(host.bodies)) == (2, 3)


async def test_connection_on_which_the_host_speaks_unasked_is_not_used_again() -> None:
    host = Host(body=lambda connection, _mail: [TAKEN, b"421 good night\r\n"] if connection == 1 else [TAKEN])
    async with host.pool() as pool:
        assert (await pool.hand_over(mail())).outcome == "accepted"
        async with asyncio.timeout(10):
            while any(not dialogue.ended for dialogue in pool._idle):
                await asyncio.sleep(0.01)
        assert (await pool.hand_over(mail())).outcome == "accepted"
    assert (len(host.said), len(host.bodies)) == (2, 2)


async def test_address_with_signs_outside_ascii_needs_a_host_that_knows_them() -> None:
    host = Host()
    async with host.pool() as pool:
        assert (await pool.hand_over(mail("josé@example.org", needs_utf8=True))).outcome == "accepted"
    assert host.said[0][:2] == [
        b"MAIL FROM:<hello@mail.example> SMTPUTF8\r\n", "RCPT TO:<josé@example.org>\r\n".encode()
    ]  # fmt: skip
    host = Host(capabilities=b"250-host\r\n250 PIPELINING\r\n")
    async with host.pool() as pool:
        assert await pool.hand_over(mail("josé@example.org", needs_utf8=True)) == Answer("temporary", "not_supported")


@pytest.mark.parametrize("address", ["a@example.org>\r\nDATA", "a>@example.org", "a b@example.org", "<a@example.org"])
async def test_address_that_would_end_its_command_is_never_said(address: str) -> None:
    host = Host()
    async with host.pool() as pool:
        assert await pool.hand_over(mail(address)) == Answer("rejected", "bad_address")
    assert host.said == []


async def test_dots_at_the_beginning_of_lines_arrive_as_they_were() -> None:
    contents = [
        "".join(f"{line}\r\n" for line in ("Subject: x", "", *lines)).encode()
        for lines in itertools.product(("", ".", "..", ". a", "a.", "\t."), repeat=3)
    ]
    host = Host()
    async with host.pool() as pool:
        for content in contents:
            assert (await pool.hand_over(mail(content=content))).outcome == "accepted"
    received = [
        b"".join(line.removeprefix(b".") for line in body.removesuffix(b".\r\n").splitlines(keepends=True))
        for body in host.bodies
    ]
    assert received == contents
