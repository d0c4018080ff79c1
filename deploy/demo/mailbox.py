"""Reading the local mailbox, as people read theirs."""

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import httpx
import stamina

LINK = re.compile(r"https?://[^\s<>\"')\]]+")


class Mailbox:
    """The mails and texts that the running system handed over."""

    def __init__(self, base_url: str) -> None:
        self._client = httpx.Client(base_url=base_url, timeout=30)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    @stamina.retry(on=httpx.TransportError, attempts=30, timeout=60, wait_max=2)
    def messages(self, to: str | None = None, after: str | None = None) -> list[dict[str, Any]]:
        """Messages, oldest first: all, or those to one recipient, or those after an id."""
        query = {name: value for name, value in (("to", to), ("after", after)) if value is not None}
        answer = self._client.get("/api/messages", params=query)
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        return found

    def wait_for(
        self, to: str, wanted: Callable[[dict[str, Any]], bool] = lambda _: True, *, seconds: float = 60
    ) -> dict[str, Any]:
        """The first message to a recipient for which `wanted` holds; `TimeoutError` when none comes in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for message in self.messages(to):
                if wanted(message):
                    return message
            time.sleep(0.2)
        subjects = [message["subject"] for message in self.messages(to)]
        raise TimeoutError(f"No such message came within {seconds:.0f} s; there are: {subjects}.")


class Watch:
    """One reader for a whole crowd: what is new is fetched once and laid into each recipient's pile."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._after = "0"
        self._piles: dict[str, list[dict[str, Any]]] = defaultdict(list)

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            try:
                found = await asyncio.to_thread(self._mailbox.messages, None, self._after)
            except httpx.HTTPError:
                # The mailbox is away for longer than its reader's own retries; people look again later.
                found = []
            for message in found:
                self._piles[message["to"]].append(message)
                self._after = message["id"]
            await asyncio.sleep(0.3)

    @property
    def latest(self) -> str:
        """The id of the newest message read."""
        return self._after

    def latest_of(self, recipients: Iterable[str]) -> str:
        """The id of the newest message read that went to one of them; "0" when there is none."""
        return str(max((int(self._piles[to][-1]["id"]) for to in recipients if self._piles.get(to)), default=0))

    def pile(self, to: str) -> list[dict[str, Any]]:
        """What one recipient got, oldest first."""
        return list(self._piles.get(to, ()))

    def newest_link(self, to: str, containing: str) -> str | None:
        """The newest link to a recipient that holds `containing`."""
        for message in reversed(self._piles.get(to, [])):
            for link in links(message, containing):
                return link
        return None


def links(message: dict[str, Any], containing: str = "") -> list[str]:
    """The addresses in a message's text that hold `containing`, in order."""
    return [link.rstrip(".,") for link in LINK.findall(message["text"]) if containing in link]
