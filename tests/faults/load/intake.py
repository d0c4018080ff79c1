"""Sending sign-ups: the intent is on disk before it goes out, its answer after, and what is unknown goes out again."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from shared.program import Program
from tests.faults.journal import Journal
from tests.faults.load.crowd import Planned

TIMEOUT_SECONDS = 10.0
TYPING_SECONDS = 2.2
"""A form that is sent sooner after it was shown is asked for again."""
KEEP_SECONDS = 3.0
"""Less than the server's own keep-alive, so that a connection is rarely used while the server closes it."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.25, 5.0
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass
class Sent:
    """One sign-up on its way. Moments are seconds of the run; it is sent once its intent is on disk."""

    planned: Planned
    intent: str
    began: float
    outcome: str = "unknown"
    settled: float | None = None
    tries: int = 0
    signup_id: str | None = None
    last: str = ""


@dataclass
class Tally:
    """What became of all of them."""

    sent: dict[str, Sent] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """Answers that no fault excuses."""
    never_begun: list[str] = field(default_factory=list)
    """Addresses of people who never saw the form."""

    def count(self, outcome: str) -> int:
        """How many have this outcome now."""
        return sum(sent.outcome == outcome for sent in self.sent.values())


class Intake:
    """The client. One connection for each request under way, kept for the next."""

    def __init__(
        self, base_url: str, program: Program, journal: Journal, *, patience_seconds: float, seed: int
    ) -> None:
        self._base, self._program, self._journal = base_url, program, journal
        self._patience = patience_seconds
        self._rng = random.Random(f"{seed}/waits")
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_SECONDS),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
        )
        self.tally = Tally()
        self.began = time.monotonic()

    def elapsed(self) -> float:
        """Seconds of the run."""
        return time.monotonic() - self.began

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def submit(self, planned: Planned) -> Sent:
        """See one sign-up through, until it has an answer or the patience is used up."""
        if planned.via == "page":
            return await self._by_page(planned)
        sent = await self._intend(planned, str(planned.intent_id))
        if planned.twice:
            # A double click: the same at the same time.
            await asyncio.gather(self._by_json(sent), self._by_json(sent))
        else:
            await self._by_json(sent)
        return sent

    async def _intend(self, planned: Planned, intent: str) -> Sent:
        payload = planned.payload
        await self._journal.write(
            kind="intent", intent=intent, form=payload["form"], email=planned.email, payload=payload, via=planned.via
        )
        sent = Sent(planned, intent, self.elapsed())
        self.tally.sent[intent] = sent
        return sent

    # ------------------------------------------------------------ JSON

    async def _by_json(self, sent: Sent) -> None:
        body = orjson.dumps(sent.planned.payload)
        headers = {"Content-Type": "application/json", "Idempotency-Key": sent.intent}

        async def once() -> tuple[str, int, str | None, str, float]:
            async with self._http.post(f"{self._base}/v1/signups", data=body, headers=headers) as answer:
                return _read_json(answer.status, await answer.read(), _retry_after(answer))

        await self._until_settled(sent, once)

    # ------------------------------------------------------------ the form

    async def _by_page(self, planned: Planned) -> Sent:
        """Open the form as a browser does, type for a while, send what it holds."""
        address = f"{self._base}/f/{planned.payload['form']}"
        deadline = self.elapsed() + self._patience
        wait = FIRST_WAIT_SECONDS
        while True:
            try:
                async with self._http.get(address) as shown:
                    page = await shown.text() if shown.status == 200 else ""
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                page = ""
            if page:
                break
            if self.elapsed() > deadline:
                self.tally.never_begun.append(planned.email)
                return Sent(planned, "", self.elapsed())
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)
        hidden = hidden_values(page)
        await asyncio.sleep(TYPING_SECONDS)
        sent = await self._intend(planned, hidden["intent_id"])
        fields = [*hidden.items(), *form_fields(planned.payload, self._program)]
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(self._base))

        async def once() -> tuple[str, int, str | None, str, float]:
            async with self._http.post(
                address, data=fields, headers={"Origin": origin, "Accept": "text/html"}, allow_redirects=False
            ) as answer:
                await answer.read()
                return _read_page(answer.status, answer.headers.get("Location", ""), _retry_after(answer))

        await self._until_settled(sent, once)
        return sent

    # ------------------------------------------------------------ again and again

    async def _until_settled(self, sent: Sent, once: Any) -> None:
        deadline = self.elapsed() + self._patience
        wait = FIRST_WAIT_SECONDS
        while True:
            status: int | None = None
            signup_id: str | None = None
            asked_seconds = 0.0
            sent.tries += 1
            try:
                outcome, status, signup_id, detail, asked_seconds = await once()
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
                outcome, detail = "unknown", type(error).__name__
            answered = self.elapsed()
            await self._journal.write(
                kind="answer", intent=sent.intent, outcome=outcome, status=status, signup_id=signup_id, detail=detail
            )
            self.tally.answers[str(status or detail)] += 1
            if outcome != "unknown":
                self._settle(sent, outcome, signup_id, detail, answered)
                return
            sent.last = detail if status is None else f"{status} {detail}"
            if self.elapsed() > deadline:
                return
            await asyncio.sleep(max(asked_seconds, wait * self._rng.uniform(0.7, 1.3)))
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)

    def _settle(self, sent: Sent, outcome: str, signup_id: str | None, detail: str, answered: float) -> None:
        wrong = self.tally.wrong
        if sent.planned.is_mistake != (outcome == "nack"):
            wrong.append(f"intent {sent.intent}: {outcome} {detail}, though it was {_as_meant(sent.planned)}")
        if sent.outcome == "ack" and outcome == "ack" and signup_id != sent.signup_id:
            wrong.append(f"intent {sent.intent}: acknowledged as {sent.signup_id}, and again as {signup_id}")
        if sent.settled is None or sent.outcome == "unknown":
            sent.settled = answered
            sent.outcome, sent.signup_id = outcome, signup_id


def _as_meant(planned: Planned) -> str:
    return "meant to be refused" if planned.is_mistake else "filled in well"


def _retry_after(answer: aiohttp.ClientResponse) -> float:
    given = answer.headers.get("Retry-After", "")
    return min(float(given), LONGEST_WAIT_SECONDS) if given.isdigit() else 0.0


def _read_json(status: int, body: bytes, retry_after: float) -> tuple[str, int, str | None, str, float]:
    """Outcome, status, sign-up id, detail, seconds to wait."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        content = {}
    if status == 202:
        return "ack", status, str(content["signup_id"]), "", 0.0
    detail = str(content.get("code", "")) if isinstance(content, dict) else ""
    if 400 <= status < 500 and status != 429:
        return "nack", status, None, detail, 0.0
    return "unknown", status, None, detail, retry_after


def _read_page(status: int, location: str, retry_after: float) -> tuple[str, int, str | None, str, float]:
    if status == 303 and "/thank-you" in location:
        return "ack", status, None, "thank-you page", 0.0
    if 400 <= status < 500 and status != 429:
        return "nack", status, None, "form shown again", 0.0
    return "unknown", status, None, "page", retry_after


class _Hidden(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "input" and given.get("type") == "hidden" and given.get("name"):
            self.values[str(given["name"])] = given.get("value") or ""


def hidden_values(page: str) -> dict[str, str]:
    """The hidden controls of a page, by name."""
    parser = _Hidden()
    parser.feed(page)
    return parser.values


def form_fields(payload: dict[str, Any], program: Program) -> list[tuple[str, str]]:
    """The controls of the HTML form, as somebody leaves them who means this payload."""
    form = program.form(payload["form"])
    fields: list[tuple[str, str]] = []
    for name, value in payload.items():
        if name in ("form", "language", "source"):
            continue
        if name == "consents":
            given = {consent["channel"] for consent in value}
            fields += [(f"consent_{wording.id}", "yes") for wording in program.wordings
                       if wording.id in form.consents and wording.channel in given]  # fmt: skip
        elif name == "answers":
            fields += [(f"q_{question}", str(answer)) for question, answer in value.items()]
        elif name == "availability":
            for window in value:
                stem = f"availability-{DAYS[window['dow']]}-1"
                fields += [(f"{stem}-start", window["start"]), (f"{stem}-end", window["end"])]
        elif isinstance(value, list):
            fields += [(name, str(item)) for item in value]
        else:
            fields.append((name, str(value)))
    return list(dict.fromkeys(fields))
