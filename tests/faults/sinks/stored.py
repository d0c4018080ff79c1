"""What the sinks hold: everything stored, for people to read, and how every hand-over was answered."""

import zlib
from collections import Counter, defaultdict
from typing import Any

import orjson

from deploy.embedded.mail_store import recipient_key


class Stored:
    """Messages in the order in which they became durable; kept compressed, since a crowd gets tens of thousands."""

    def __init__(self) -> None:
        self._messages: list[bytes] = []
        self._by_recipient: dict[str, list[int]] = defaultdict(list)
        self._by_reference: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._messages)

    def add_mail(self, line: dict[str, Any]) -> None:
        """Take a line of `smtp.jsonl`: one message per recipient."""
        for recipient in line["to"]:
            self._add(
                recipient,
                {
                    "channel": "email",
                    "from": line["headers"].get("from", line["sender"]),
                    "subject": line["subject"],
                    "text": line["text"],
                    "attachments": [
                        {"filename": a["filename"], "content_type": a["content_type"], "content": a["text"]}
                        for a in line["attachments"]
                    ],
                    "headers": {name.title(): value for name, value in line["headers"].items()},
                    "message_id": f"<{line['message_id']}>" if line["message_id"] else "",
                    "received_at": line["at"],
                },
            )

    def add_text(self, line: dict[str, Any], sender: str = "") -> str:
        """Take a line of `sms.jsonl`; the provider's id."""
        message_id = self._add(
            line["to"],
            {
                "channel": "sms",
                "from": sender,
                "subject": "",
                "text": line["body"],
                "attachments": [],
                "headers": {},
                "message_id": "",
                "received_at": line["at"],
            },
        )
        if line["reference"]:
            self._by_reference.setdefault(line["reference"], message_id)
        return str(message_id)

    def _add(self, recipient: str, message: dict[str, Any]) -> int:
        number = len(self._messages) + 1
        whole = {"id": str(number), "to": recipient, "html": "", **message}
        self._messages.append(zlib.compress(orjson.dumps(whole), 1))
        self._by_recipient[recipient_key(recipient)].append(number)
        return number

    def find_reference(self, reference: str) -> str | None:
        """The id that the first text with this client reference got."""
        found = self._by_reference.get(reference)
        return None if found is None else str(found)

    def as_json(self, to: str | None, after: int | None, limit: int | None) -> bytes:
        """A JSON array, oldest first. With `after`: the first `limit` beyond that id; without: the newest `limit`."""
        last = len(self._messages)
        if to is None:
            numbers: list[int] | range = range(1 + (after or 0), last + 1)
        else:
            numbers = [number for number in self._by_recipient.get(recipient_key(to), []) if number > (after or 0)]
        if limit is not None:
            numbers = numbers[-limit:] if after is None else numbers[:limit]
        return b"[" + b",".join(zlib.decompress(self._messages[number - 1]) for number in numbers) + b"]"


class Counters:
    """How hand-overs were answered, by sink."""

    def __init__(self) -> None:
        self.answers: dict[str, Counter[str]] = {"smtp": Counter(), "sms": Counter(), "webhook": Counter()}
        self.hanging = 0

    def as_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return {**{sink: dict(sorted(found.items())) for sink, found in self.answers.items()}, "hanging": self.hanging}
