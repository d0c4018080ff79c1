"""A mail as bytes, without building a message object per recipient.

What is the same for all is written once (`Envelope`); the rest is filled in. Every header value goes through
`header`, which encodes what is not ASCII (RFC 2047) and cannot carry a line break out. Bodies are quoted-printable
with CRLF, so no line is longer than 76 characters. Every line ends with CRLF; dots are stuffed where the mail is sent.
"""

import base64
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from email.header import Header
from email.utils import format_datetime
from functools import lru_cache
from uuid import UUID

from services.notifications.sending.stencil import quoted_printable
from shared.messages import Attachment

_SPECIALS = frozenset('()<>@,;:\\".[]')
_MAX_LINE = 76
"""Of a line that has an encoded word (RFC 2047, 2)."""


@dataclass(frozen=True, slots=True)
class Mail:
    """What SMTP needs: the addresses of the envelope and the message's bytes."""

    sender: str
    recipient: str
    content: bytes
    needs_utf8: bool = False


@dataclass(frozen=True, slots=True)
class Letter:
    """One recipient's mail. `unsubscribe_url` puts one-click unsubscribing (RFC 8058) in the headers.

    `encoded` may give `text` and `html` as `quoted_printable` makes them.
    """

    message_id: UUID
    recipient: str
    recipient_name: str
    subject: str
    language: str
    text: str
    html: str
    date: dt.datetime
    unsubscribe_url: str | None
    attachments: Sequence[Attachment] = ()
    encoded: tuple[bytes, bytes] | None = None


class Envelope:
    """The part of all mails that does not change."""

    def __init__(self, *, sender_name: str, sender_address: str, reply_to: str) -> None:
        self.sender = sender_address
        self._domain = sender_address.rpartition("@")[2]
        self._fixed = (
            f"From: {mailbox(sender_name, sender_address)}\r\n"
            f"Reply-To: {one_line(reply_to)}\r\n"
            "MIME-Version: 1.0\r\nAuto-Submitted: auto-generated\r\nX-Auto-Response-Suppress: All\r\n"
        )

    def message_id(self, message_id: UUID) -> str:
        """The same for every copy of a message."""
        return f"<{message_id}@{self._domain}>"

    def write(self, letter: Letter) -> Mail:
        """The mail, ready to be handed over."""
        head = [
            self._fixed,
            f"Date: {_date(letter.date.replace(microsecond=0))}\r\n",
            f"Message-ID: {self.message_id(letter.message_id)}\r\n",
            f"To: {mailbox(letter.recipient_name, letter.recipient)}\r\n",
            f"Subject: {header('Subject', letter.subject)}\r\n",
            f"Content-Language: {letter.language}\r\n",
        ]
        if letter.unsubscribe_url:
            head.append(
                f"List-Unsubscribe: <{one_line(letter.unsubscribe_url)}>\r\n"
                "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
            )
        mark = letter.message_id.hex
        plain, html = letter.encoded or (quoted_printable(letter.text), quoted_printable(letter.html))
        alternatives = _multipart("alternative", f"=_a{mark}", [_PLAIN + plain, _HTML + html])
        if letter.attachments:
            body = _multipart("mixed", f"=_m{mark}", [alternatives, *(_attached(a) for a in letter.attachments)])
        else:
            body = alternatives
        content = "".join(head).encode() + body
        return Mail(self.sender, letter.recipient, content, needs_utf8=not letter.recipient.isascii())


def one_line(value: str) -> str:
    """Without anything that could end a header line."""
    if value.isprintable():
        return " ".join(value.split())
    return " ".join("".join(sign if sign.isprintable() else " " for sign in value).split())


@lru_cache(maxsize=256)
def header(name: str, value: str) -> str:
    """A header's value, encoded and folded."""
    plain = one_line(value)
    if plain.isascii() and len(plain) + len(name) < 76:
        return plain
    charset = "us-ascii" if plain.isascii() else "utf-8"
    return Header(plain, charset, header_name=name).encode(linesep="\r\n")


def mailbox(name: str, address: str) -> str:
    """A name and an address as From and To want them."""
    shown, plain = one_line(name), one_line(address)
    if not shown:
        return plain
    if not shown.isascii():
        return _encoded_mailbox(shown, plain)
    if _SPECIALS & set(shown):
        escaped = shown.replace("\\", "\\\\").replace('"', '\\"')
        shown = f'"{escaped}"'
    return f"{shown} <{plain}>"


def _encoded_mailbox(shown: str, address: str) -> str:
    word = f"=?utf-8?b?{base64.b64encode(shown.encode()).decode()}?="
    if len("From: ") + len(word) > _MAX_LINE:
        # Several words, cut between characters.
        word = Header(shown, "utf-8", maxlinelen=_MAX_LINE - 1, header_name="From").encode(linesep="\r\n")
    fits = len("From: ") + len(word.rpartition("\n")[2]) + len(address) + len(" <>") <= _MAX_LINE
    return f"{word} <{address}>" if fits else f"{word}\r\n <{address}>"


@lru_cache(maxsize=8)
def _date(second: dt.datetime) -> str:
    return format_datetime(second)


def _head(subtype: str) -> bytes:
    return (
        f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n".encode()
    )


_PLAIN, _HTML = _head("plain"), _head("html")


def _attached(attachment: Attachment) -> bytes:
    kind = one_line(attachment.content_type)
    if not kind.isascii() or "/" not in kind:
        kind = "application/octet-stream"
    if kind.startswith("text/") and "charset" not in kind:
        kind += "; charset=utf-8"
    name = "".join(sign for sign in attachment.filename if sign.isascii() and (sign.isalnum() or sign in "._-"))
    encoded = base64.encodebytes(attachment.content.encode()).replace(b"\n", b"\r\n")
    return (
        f"Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n"
        f'Content-Disposition: attachment; filename="{name or "attachment"}"\r\n\r\n'.encode()
        + encoded
    )


def _multipart(subtype: str, boundary: str, parts: Sequence[bytes]) -> bytes:
    line = b"--" + boundary.encode()
    body = b"".join(line + b"\r\n" + part + b"\r\n" for part in parts)
    return f'Content-Type: multipart/{subtype};\r\n boundary="{boundary}"\r\n\r\n'.encode() + body + line + b"--\r\n"
