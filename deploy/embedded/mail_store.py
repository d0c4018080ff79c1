"""What the mailbox keeps: one SQLite file, written ahead and fsynced before anything is acknowledged.

Message bodies stay on disk, compressed; memory holds only what is being answered. A row of `messages` is one
recipient's copy. References of text messages outlive the messages, so that a repeat stays a repeat.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS contents (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  parsed BLOB NOT NULL,  -- zlib of the JSON object that all recipients share
  raw BLOB               -- zlib of the message as it came; NULL for a text message
);
CREATE TABLE IF NOT EXISTS messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  content_id INTEGER NOT NULL REFERENCES contents (id),
  channel TEXT NOT NULL CHECK (channel IN ('email', 'sms')),
  recipient TEXT NOT NULL,
  recipient_key TEXT NOT NULL,
  sender TEXT NOT NULL,
  subject TEXT NOT NULL,
  received_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS messages_recipient_idx ON messages (recipient_key, id);
CREATE TABLE IF NOT EXISTS sms_references (
  client_reference TEXT PRIMARY KEY,
  message_id INTEGER NOT NULL
) WITHOUT ROWID;
"""
_SELECT = (
    "SELECT m.id, m.channel, m.recipient, m.received_at, c.parsed "
    "FROM messages m JOIN contents c ON c.id = m.content_id "
)


@dataclass(frozen=True)
class Arrival:
    """One message to store, for one or more recipients."""

    channel: str
    sender: str
    recipients: tuple[str, ...]
    content: dict[str, Any]
    received_at: datetime
    raw: bytes | None = None
    client_reference: str | None = None


@dataclass(frozen=True)
class Entry:
    """A line of the list: what can be shown without opening the body."""

    id: int
    channel: str
    recipient: str
    sender: str
    subject: str
    received_at: str


@dataclass
class _Waiting:
    arrival: Arrival
    done: asyncio.Future[list[int]] = field(default_factory=asyncio.Future)


class MailStore:
    """Arrivals that wait at the same time share one transaction, and so one fsync."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / "mailbox.sqlite3"
        self._waiting: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None
        with closing(self._connect()) as connection:
            connection.executescript(_SCHEMA)

    def _connect(self) -> sqlite3.Connection:
        # A streamed answer takes each row on whichever worker thread is free, one at a time.
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    async def add(self, arrival: Arrival) -> list[int]:
        """The ids, one per recipient, once they are on disk. A known client_reference gives its old id.

        Raises sqlite3.Error when the disk refuses.
        """
        waiting = _Waiting(arrival)
        self._waiting.append(waiting)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())
        return await waiting.done

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                try:
                    results = await asyncio.to_thread(self._write, [item.arrival for item in batch])
                except sqlite3.Error as error:
                    for item in batch:
                        if not item.done.done():
                            item.done.set_exception(error)
                    continue
                for item, ids in zip(batch, results, strict=True):
                    if not item.done.done():
                        item.done.set_result(ids)
        finally:
            self._writer = None

    def _write(self, arrivals: list[Arrival]) -> list[list[int]]:
        with closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            results = [self._insert(connection, arrival) for arrival in arrivals]
            connection.execute("COMMIT")
        return results

    def _insert(self, connection: sqlite3.Connection, arrival: Arrival) -> list[int]:
        if arrival.client_reference is not None:
            known = self._find_reference(connection, arrival.client_reference)
            if known is not None:
                return [known]
        parsed = zlib.compress(json.dumps(arrival.content, ensure_ascii=False).encode(), 1)
        raw = None if arrival.raw is None else zlib.compress(arrival.raw, 1)
        content_id = connection.execute("INSERT INTO contents (parsed, raw) VALUES (?, ?)", (parsed, raw)).lastrowid
        ids = []
        for recipient in arrival.recipients:
            row = connection.execute(
                "INSERT INTO messages (content_id, channel, recipient, recipient_key, sender, subject, "
                "received_at) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
                (
                    content_id,
                    arrival.channel,
                    recipient,
                    recipient_key(recipient),
                    arrival.sender,
                    arrival.content["subject"],
                    arrival.received_at.isoformat(),
                ),
            ).fetchone()
            ids.append(int(row[0]))
        if arrival.client_reference is not None:
            connection.execute(
                "INSERT INTO sms_references (client_reference, message_id) VALUES (?, ?)",
                (arrival.client_reference, ids[0]),
            )
        return ids

    @staticmethod
    def _find_reference(connection: sqlite3.Connection, client_reference: str) -> int | None:
        row = connection.execute(
            "SELECT message_id FROM sms_references WHERE client_reference = ?", (client_reference,)
        ).fetchone()
        return None if row is None else int(row[0])

    def find_reference(self, client_reference: str) -> int | None:
        """The id that a text message with this reference got."""
        with closing(self._connect()) as connection:
            return self._find_reference(connection, client_reference)

    def messages(self, to: str | None, after: int | None, limit: int | None) -> Iterator[dict[str, Any]]:
        """Oldest first. With `after`: the first `limit` beyond that id; without: the newest `limit`."""
        order = "DESC" if after is None and limit is not None else "ASC"
        query = (
            f"SELECT * FROM ({_SELECT} WHERE (?1 IS NULL OR m.recipient_key = ?1) AND m.id > ?2 "  # noqa: S608
            f"ORDER BY m.id {order} LIMIT ?3) ORDER BY 1"
        )
        key = None if to is None else recipient_key(to)
        with closing(self._connect()) as connection:
            for row in connection.execute(query, (key, after or 0, -1 if limit is None else limit)):
                yield _message(row)

    def message(self, message_id: int) -> dict[str, Any] | None:
        with closing(self._connect()) as connection:
            row = connection.execute(_SELECT + "WHERE m.id = ?", (message_id,)).fetchone()
        return None if row is None else _message(row)

    def raw(self, message_id: int) -> bytes | None:
        """The mail as the sender gave it; None for a text message or an unknown id."""
        with closing(self._connect()) as connection:
            row = connection.execute(
                "SELECT c.raw FROM messages m JOIN contents c ON c.id = m.content_id WHERE m.id = ?",
                (message_id,),
            ).fetchone()
        return zlib.decompress(row[0]) if row and row[0] is not None else None

    def entries(self, search: str, before: int | None, limit: int) -> list[Entry]:
        """Newest first; `search` is part of a recipient."""
        with closing(self._connect()) as connection:
            rows = connection.execute(
                "SELECT id, channel, recipient, sender, subject, received_at FROM messages "
                "WHERE instr(recipient_key, ?) > 0 AND (? IS NULL OR id < ?) ORDER BY id DESC LIMIT ?",
                (recipient_key(search), before, before, limit),
            ).fetchall()
        return [Entry(*row) for row in rows]

    def count(self) -> int:
        with closing(self._connect()) as connection:
            return int(connection.execute("SELECT count(*) FROM messages").fetchone()[0])

    def clear(self) -> None:
        """Empties the mailbox; ids go on from where they were."""
        with closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("DELETE FROM messages")
            connection.execute("DELETE FROM contents")
            connection.execute("COMMIT")


def recipient_key(recipient: str) -> str:
    """Addresses are compared without regard to case; a `+` that a query string turned into a space returns."""
    if recipient.startswith(" ") and recipient[1:].isdigit():
        recipient = "+" + recipient[1:]
    return recipient.strip().casefold()


def _message(row: tuple[int, str, str, str, bytes]) -> dict[str, Any]:
    message_id, channel, recipient, received_at, parsed = row
    return {
        "id": str(message_id),
        "channel": channel,
        "to": recipient,
        **json.loads(zlib.decompress(parsed)),
        "received_at": received_at,
    }


def parse_mail(raw: bytes) -> dict[str, Any]:
    """`{from, subject, text, html, attachments, headers, message_id}` of a mail.

    `text` and `html` are "" where the mail has no such part, and their lines end in a newline alone;
    attachments are exactly what came, text as text and the rest in base64. A header that comes twice is joined
    by newlines.
    """
    mail = message_from_bytes(raw)
    headers: dict[str, str] = {}
    for name, value in mail.raw_items():
        text = _header(value)
        headers[name] = f"{headers[name]}\n{text}" if name in headers else text
    bodies: dict[str, str] = {}
    attachments: list[dict[str, Any]] = []
    for part in _leaves(mail):
        kind = part.get_content_type()
        shown = kind in {"text/plain", "text/html"} and part.get_content_disposition() != "attachment"
        if shown and kind not in bodies:
            bodies[kind] = _text(part).replace("\r\n", "\n")
        else:
            attachments.append(_attachment(part))
    return {
        "from": headers.get("From", ""),
        "subject": headers.get("Subject", ""),
        "text": bodies.get("text/plain", ""),
        "html": bodies.get("text/html", ""),
        "attachments": attachments,
        "headers": headers,
        "message_id": headers.get("Message-ID", headers.get("Message-Id", "")),
    }


def _leaves(part: Message) -> Iterator[Message]:
    """The parts that are no containers; a forwarded message counts as one part."""
    inner = part.get_payload()
    if part.get_content_maintype() == "multipart" and isinstance(inner, list):
        for child in inner:
            if isinstance(child, Message):
                yield from _leaves(child)
    else:
        yield part


# The standard library's newer policy parses every header by grammar: 3 ms a mail, against 0.1 ms like this.
def _header(value: object) -> str:
    # Raw UTF-8 in a header arrives as surrogates.
    text = str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    folded = re.sub(r"\r?\n(?=[ \t])", "", text)
    if "=?" not in folded:
        return folded
    try:
        return str(make_header(decode_header(folded)))
    except (HeaderParseError, LookupError, ValueError):
        return folded  # what no parser understands is shown as it came


def text_message(sender: str, body: str) -> dict[str, Any]:
    """A text message in the same shape as `parse_mail`."""
    empty: dict[str, Any] = {"subject": "", "html": "", "attachments": [], "headers": {}, "message_id": ""}
    return {"from": sender, "text": body, **empty}


def _text(part: Message) -> str:
    payload = part.get_payload(decode=True)
    content = payload if isinstance(payload, bytes) else b""
    try:
        return content.decode(part.get_content_charset() or "utf-8", "replace")
    except LookupError:  # a charset nobody knows
        return content.decode("utf-8", "replace")


def _attachment(part: Message) -> dict[str, Any]:
    payload = part.get_payload(decode=True)
    content = payload if isinstance(payload, bytes) else part.as_bytes()
    is_text = part.get_content_maintype() == "text"
    return {
        "filename": _header(part.get_filename() or ""),
        "content_type": part.get_content_type(),
        "size": len(content),
        "content": _text(part) if is_text else base64.b64encode(content).decode(),
    }


def now() -> datetime:
    return datetime.now(UTC)
