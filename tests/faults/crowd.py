"""Who uses the system while faults are injected: the load client in waves, and sign-ups timed by the harness itself."""

import asyncio
import contextlib
import datetime as dt
import json
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from deploy.embedded.processes import Process
from tests.faults.stand import ROOT, Broken, Stand

# Numbers of the exchange that is kept for fiction, in an area that no crowd has.
PHONES = "+1907555"


@dataclass(frozen=True, slots=True)
class Size:
    """A wave: `people` sign up, `rate` a second (0: all at once), and `walkers` more go the whole path."""

    people: int
    walkers: int
    rate: float


def whole_path(summary: Path) -> int:
    """How many of a wave's walkers had their one-on-one and got as far as a decision; 0 if the wave did not end."""
    with contextlib.suppress(OSError, ValueError):
        return int(json.loads(summary.read_text(encoding="utf-8"))["walkers"].get("whole_path", 0))
    return 0


class Crowd:
    """Waves of the load client, one after another; each has a directory and a journal of its own."""

    def __init__(self, stand: Stand, seed: int, *, patience_seconds: float = 240) -> None:
        self._stand = stand
        self._seed = seed
        self._patience = patience_seconds
        self._waves = 0
        self._process: Process | None = None
        self.people = 0
        self.walkers = 0
        self.whole_path = 0
        self.problems: list[str] = []

    @property
    def directory(self) -> Path:
        """The running wave's."""
        return self._stand.evidence / "loads" / f"{self._waves:03d}"

    def running(self) -> bool:
        """Whether a wave is under way."""
        return self._process is not None and self._process.running()

    async def wave(self, size: Size) -> None:
        """Send one wave through; what it could not settle is added to `problems`."""
        self._waves += 1
        self.directory.mkdir(parents=True)
        stand, seed = self._stand, self._seed * 1000 + self._waves
        sinks = stand.sinks
        hook = sinks["webhook"].replace("NAME", f"wave-{self._waves}")
        arguments = [
            *("--endpoints", str(stand.home / "endpoints.json"), "--journals", str(self.directory)),
            *("--seed", str(seed), "--people", str(size.people), "--walkers", str(size.walkers)),
            *("--rate", f"{size.rate:g}", "--mailbox", sinks["mailbox"], "--patience", f"{self._patience:g}"),
            *(("--webhook", hook) if size.walkers else ()),
        ]
        stand.tell(f"wave {self._waves} (seed {seed}): {size.people} people, {size.walkers} walkers")
        began = time.monotonic()
        self._process = Process.spawn(
            [sys.executable, "-m", "tests.faults.load", *arguments],
            log=self.directory / "output.log",
            env=stand.environment,
            cwd=ROOT,
        )
        process = self._process
        try:
            while process.running():
                await asyncio.sleep(0.1)
        finally:
            if process.running():
                await asyncio.to_thread(process.stop, 5)
        said = (self.directory / "output.log").read_text(errors="replace").strip()
        if process.exit_code != 0:
            self.problems.append(f"wave {self._waves} ended with {process.exit_code}: {said[-1500:]}")
        self.people += size.people
        self.walkers += size.walkers
        self.whole_path += whole_path(self.directory / "summary.json")
        stand.tell(f"wave {self._waves} is through after {time.monotonic() - began:.1f} s, exit {process.exit_code}")

    def lines(self) -> Iterator[dict[str, Any]]:
        """Every line of the running or last wave's journal so far."""
        path = self.directory / "load.jsonl"
        if path.exists():
            with path.open(encoding="utf-8", errors="replace") as journal:
                for line in journal:
                    with contextlib.suppress(json.JSONDecodeError):
                        yield json.loads(line)

    def merge(self) -> None:
        """Lay all journals of sign-ups together where the ledger looks for one."""
        parts = [*sorted((self._stand.evidence / "loads").glob("*/load.jsonl")), self._stand.evidence / "own.jsonl"]
        with (self._stand.journals / "load.jsonl").open("wb") as out:
            for part in parts:
                if part.exists():
                    for line in part.read_bytes().splitlines():
                        # A torn last line must not swallow the next journal's first.
                        out.write(line + b"\n" if _is_whole(line) else b"")


def _is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt of a sign-up: when (monotonic), how long, the answer's status (0: none came)."""

    at: float
    seconds: float
    status: int
    retry_after: str | None = None
    text: str = ""


@dataclass
class Knock:
    """Sign-ups that the harness makes itself, to see what one person is told at one moment.

    They are journaled like the crowd's: the intent before, the answer after; what stays unknown is sent again at the
    end by `settle`.
    """

    stand: Stand
    seed: int
    tries: list[Try] = field(default_factory=list)
    _unsettled: dict[str, dict[str, Any]] = field(default_factory=dict)
    _count: int = 0
    _texts: int = 0

    def begin(self) -> None:
        """Tell the ledger what marks these people."""
        markers = [self._word, f"knock-{self.seed}.example.org", PHONES]
        self.stand.note({"kind": "run", "seed": self.seed, "people": 0, "markers": markers})

    @property
    def _word(self) -> str:
        return f"Knocker{self.seed}"

    async def sign_up(self, *, timeout_seconds: float = 15) -> Try:
        """One new person, once."""
        self._count += 1
        intent = str(uuid.uuid4())
        payload = {
            "form": "run",
            "name": f"{self._word} {self._count}",
            "email": f"{self._count}@knock-{self.seed}.example.org",
            "state": "TX",
            "zip": "78701",
            "consents": [],
        }
        self.stand.note(
            {"kind": "intent", "intent": intent, "form": "run", "email": payload["email"], "payload": payload}
        )
        self._unsettled[intent] = payload
        return await self._send(intent, payload, timeout_seconds)

    @property
    def last_email(self) -> str:
        """The address of the newest of these people."""
        return f"{self._count}@knock-{self.seed}.example.org"

    async def sign_up_until_taken(self, *, seconds: float = 60) -> None:
        """One new person, sent again until acknowledged."""
        await self.sign_up()
        await self.settle(seconds=seconds)

    async def _send(self, intent: str, payload: dict[str, Any], timeout_seconds: float) -> Try:
        began = time.monotonic()
        url = f"{self.stand.endpoints['signup']}/v1/signups"
        signup_id = None
        try:
            answer = await self.stand.http.post(
                url, json=payload, headers={"Idempotency-Key": intent}, timeout=timeout_seconds
            )
            status, retry_after, text = answer.status_code, answer.headers.get("retry-after"), answer.text
            if status == 202:
                signup_id = answer.json()["signup_id"]
        except httpx.HTTPError as error:
            status, retry_after, text = 0, None, type(error).__name__
        final = status == 202 or (400 <= status < 500 and status != 429)
        outcome = "ack" if status == 202 else "nack" if final else "unknown"
        self.stand.note(
            {"kind": "answer", "intent": intent, "outcome": outcome, "status": status, "signup_id": signup_id,
             "detail": text[:200] if outcome != "ack" else None}
        )  # fmt: skip
        if final:
            self._unsettled.pop(intent, None)
        done = Try(began, time.monotonic() - began, status, retry_after, text)
        self.tries.append(done)
        return done

    async def keep_on(self, seconds: float, *, every: float = 0.1) -> list[Try]:
        """Sign people up for so long, `every` so often, without waiting for answers; the tries, when all are done."""
        running = []
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            running.append(asyncio.create_task(self.sign_up()))
            await asyncio.sleep(every)
        return list(await asyncio.gather(*running))

    async def ask_for_help(self, *, seconds: float = 120) -> None:
        """Somebody new texts HELP, and others after them until one is answered: a text at any hour, whatever the crowd
        is doing.
        """
        token = self.stand.environment["NOTIFICATIONS_SMS_INBOUND_TOKEN"]
        url = f"{self.stand.endpoints['notifications']}/sms/inbound"

        async def answered() -> bool:
            self._texts += 1
            text = {"from": f"{PHONES}{self._texts:04d}", "body": "HELP"}
            # The provider's own word is awaited before this is answered.
            answer = await self.stand.http.post(url, json=text, headers={"X-Inbound-Token": token})
            return answer.status_code == 200

        await self.stand.until(answered, "an answer to HELP", seconds=seconds, every=0.5)

    async def settle(self, *, seconds: float = 60) -> None:
        """Send again what is unknown until it is answered."""
        deadline = time.monotonic() + seconds
        while self._unsettled:
            for intent, payload in list(self._unsettled.items()):
                await self._send(intent, payload, 15)
            if self._unsettled and time.monotonic() > deadline:
                raise Broken(f"{len(self._unsettled)} sign-ups of the harness are not answered after {seconds:.0f} s")


def acknowledged(tries: list[Try]) -> list[Try]:
    """Those with a 202."""
    return [one for one in tries if one.status == 202]


def percentile(tries: list[Try], share: float) -> float:
    """The time in seconds within which that share of the tries was answered; 0 for none."""
    times = sorted(one.seconds for one in tries)
    return times[min(len(times) - 1, int(share * len(times)))] if times else 0.0


def span(text: str) -> dt.timedelta:
    """`90s`, `15m`, `2d`."""
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    return dt.timedelta(**{units[text[-1]]: float(text[:-1])})
