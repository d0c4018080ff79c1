"""A run: the crowd arrives, the walkers walk, everything is written down, and at the end it is counted."""

import asyncio
import datetime as dt
import json
import math
import os
import random
import resource
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import stamina
import typer

from cli.clock import move_to
from cli.endpoints import Endpoints, endpoints
from deploy.demo import endorsing, journey
from deploy.demo.accounts import open_accounts
from deploy.demo.client import UNANSWERED, Client, Refused
from deploy.demo.journey import Member, Staff, Stage
from deploy.demo.mailbox import Mailbox, Watch
from shared.clock import parse_span
from shared.program import Program, load
from tests.faults.journal import Journal
from tests.faults.load import leaving
from tests.faults.load.crowd import (
    WALKERS_TEXTS_SHARE,
    Later,
    Marks,
    Planned,
    arrivals,
    invented,
    plan,
    willing,
)
from tests.faults.load.intake import Intake, Sent

ROOT = Path(__file__).parents[3]
WINDOW_SECONDS = 5.0
NUDGE_AFTER_SECONDS, NUDGE = 20.0, "6m"
"""A hand-over that failed for now is tried again after five minutes of business time: time has to pass for it."""
ROUNDS = 4
T = TypeVar("T")
TROUBLE = (Refused, TimeoutError, *UNANSWERED)


@dataclass(frozen=True, slots=True)
class Settings:
    """A run, as the command line describes it."""

    endpoints: Path
    journals: Path
    seed: int
    people: int
    walkers: int
    rate: float = 50.0
    mailbox: str | None = None
    inbound_token: str | None = None
    webhook: str | None = None
    patience_seconds: float = 180.0
    rest: bool = True
    program: Path = ROOT / "programs" / "org_2025.toml"


@dataclass
class Summary:
    """What a run came to. Latencies are milliseconds from the first try to the acknowledgement."""

    seed: int
    seconds: float = 0.0
    sent: int = 0
    ack: int = 0
    nack: int = 0
    unknown: int = 0
    tries: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    latency_ms: dict[str, float] = field(default_factory=dict)
    windows: list[dict[str, float]] = field(default_factory=list)
    confirmed: int = 0
    mails_missed: int = 0
    walkers: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    """What keeps a run from being settled, each in one sentence."""

    @property
    def ok(self) -> bool:
        """Whether everything is settled and nothing was wrong."""
        return not self.wrong


class Run:
    """One run under way."""

    def __init__(self, settings: Settings, known: Endpoints, program: Program, journal: Journal, marks: Marks) -> None:
        self.settings, self.known, self.program, self.journal, self.marks = settings, known, program, journal, marks
        self.intake = Intake(
            known.urls["signup"], program, journal, patience_seconds=settings.patience_seconds, seed=settings.seed
        )
        self.client = Client(known.urls, at_once=16, patience_seconds=settings.patience_seconds)
        self.watch = Watch(Mailbox(settings.mailbox or known.mailbox))
        self.summary = Summary(settings.seed)
        self.ahead = dt.timedelta(0)
        self.walkers: list[Member] = []
        self.volunteers: list[Member] = []
        self.step = "begins"
        self.acts: Counter[str] = Counter()
        self._clock = asyncio.Lock()

    # ------------------------------------------------------------ what the stage needs

    async def acted(self, act: str, who: str, person_id: str | None, outcome: str, **detail: Any) -> None:
        """Write an act down."""
        if outcome == "ack":
            self.acts[act] += 1
        await self.journal.write(
            kind="act", act=act, who=who, person_id=person_id, outcome=outcome, detail=detail or None
        )

    async def advance(self, span: str) -> None:
        """Move the business clock, also where the databases are away for a while."""
        async with self._clock:
            await self.reach(self.ahead + parse_span(span))

    async def reach(self, target: dt.timedelta) -> None:
        """Set the business clock so far ahead in every service."""
        # What holds before the move, then what holds after it: the ledger dates stops and embargoes by these.
        await self.journal.write(kind="clock", ahead_seconds=self.ahead.total_seconds())
        deadline = time.monotonic() + self.settings.patience_seconds
        while True:
            try:
                self.ahead = await asyncio.to_thread(move_to, target)
                break
            except typer.Exit:
                # It has said why. Whatever part of the services it reached is brought to the same time.
                if time.monotonic() > deadline:
                    raise TimeoutError("The business clock could not be moved; run `hustings clock level`.") from None
                await asyncio.sleep(1)
        await self.journal.write(kind="clock", ahead_seconds=self.ahead.total_seconds())

    def stage(self) -> Stage:
        """The walkers' stage."""
        return Stage(
            client=self.client,
            mail=self.watch,
            program=self.program,
            advance=self.advance,
            now=lambda: dt.datetime.now(dt.UTC) + self.ahead,
            rng=random.Random(f"{self.settings.seed}/walk"),
            acted=self.acted,
            mark=self.marks.word,
            goes_on=True,
            watched=frozenset(member.invented.email for member in (*self.walkers, *self.volunteers)),
            patience_seconds=self.settings.patience_seconds,
        )

    # ------------------------------------------------------------ the crowd

    async def crowd(self) -> None:
        """Send everybody at their moment, whatever became of those before."""
        settings = self.settings
        planned = plan(self.program, settings.seed, settings.people, self.marks)
        moments = arrivals(settings.seed, settings.people, settings.rate)
        stage = self.stage()
        began = self.intake.elapsed()
        async with asyncio.TaskGroup() as group:
            for one, moment in zip(planned, moments, strict=True):
                wait = began + moment - self.intake.elapsed()
                if wait > 0:
                    await asyncio.sleep(wait)
                group.create_task(self._one(stage, one))

    async def _one(self, stage: Stage, planned: Planned) -> None:
        sent = await self.intake.submit(planned)
        if sent.outcome != "ack" or not planned.confirms:
            return
        try:
            await leaving.after_confirming(
                stage, planned.email, planned.payload.get("phone"), planned.later, self.settings.inbound_token
            )
        except TimeoutError:
            # A mail may rightly stay away while mails fail; whether it was lost is the ledger's to say.
            self.summary.mails_missed += 1
        except (Refused, *UNANSWERED) as failure:
            self.summary.wrong.append(f"{planned.email} could not confirm or leave: {failure}")

    # ------------------------------------------------------------ the walkers

    def invite_walkers(self) -> None:
        """Make up who walks and who takes their calls."""
        settings, texts = self.settings, random.Random(f"{self.settings.seed}/texts")
        people = invented(self.program, settings.seed + 1, "run", settings.people + settings.walkers, self.marks)
        for number, person in enumerate(people[settings.people :]):
            phone = self.marks.phone(70_000 + number) if texts.random() < WALKERS_TEXTS_SHARE else None
            self.walkers.append(Member(willing(person, texts=phone)))
        count = max(6, settings.walkers // 2) if settings.walkers else 0
        self.volunteers = [
            Member(person) for person in invented(self.program, settings.seed, "volunteer", count, self.marks)
        ]

    async def walk(self) -> None:
        """The whole path, within a bound."""
        stage = self.stage()
        everybody = [*self.walkers, *self.volunteers]
        self.step = "open accounts"
        tries = max(1, int(self.settings.patience_seconds / 4))
        staff = await self._nudging(
            open_accounts(stage, "staff", domain=self.marks.domain, title=self.marks.word, tries=tries)
        )
        if self.settings.webhook:
            await self._subscribe(staff, self.settings.webhook)
        self.step = "sign up"
        await asyncio.gather(*(self._walker_signs_up(member) for member in everybody))
        self.step = "confirm"
        await self._nudging(journey.confirm(stage, everybody, lambda: None))
        walking = [member for member in self.walkers if not member.stuck]
        self.step = "intro calls"
        await journey.intro_calls(stage, walking, staff, lambda: None)
        await self._nudging(self._some_leave(stage, walking))
        for number in range(1, ROUNDS + 1):
            self.step = f"one-on-ones, round {number}"
            await journey.one_on_ones(stage, walking, self.volunteers, staff, lambda: None, rounds=1)
            without = [member for member in walking if not member.calls and not member.stuck]
            if not without or number == ROUNDS:
                break
            await journey.ask_for_calls(stage, without)
        self.step = "endorsement"
        counts = await endorsing.endorse(stage, walking, staff, lambda: None, endorsed_share=0.8, rescinded_share=0.1)
        self.step = "done"
        if self.settings.rest:
            await asyncio.gather(*(self._rest(member) for member in self.volunteers))
        called = sum(bool(member.calls) for member in self.walkers)
        confirmed = sum(bool(member.person_id) for member in self.walkers)
        self.summary.walkers = {"began": len(self.walkers), "confirmed": confirmed, "one_on_one": called, **counts}
        self.summary.walkers["whole_path"] = sum(bool(m.calls) and m.through for m in self.walkers)

    async def _walker_signs_up(self, member: Member) -> None:
        planned = Planned(member.invented.intent_id, member.invented.signup)
        sent = await self.intake.submit(planned)
        if sent.outcome != "ack":
            member.stuck = f"sign-up: {sent.outcome} {sent.last}"

    async def _rest(self, member: Member) -> None:
        """A volunteer takes no more calls, so that the next run's people are not matched with this run's."""
        if member.stuck:
            return
        try:
            hours = await self.client.get("matching", "/v1/availability", member.session)
            hours |= {"paused": True}
            hours.pop("stated")
            await self.client.put("matching", "/v1/availability", hours, member.session)
        except TROUBLE as failure:
            member.stuck = f"rest: {type(failure).__name__} {failure}"

    async def _nudging(self, work: Awaitable[T]) -> T:
        """Let a few minutes of business time pass now and then while people wait for a mail."""

        async def nudge() -> None:
            while True:
                await asyncio.sleep(NUDGE_AFTER_SECONDS)
                await self.advance(NUDGE)

        nudging = asyncio.create_task(nudge())
        try:
            return await work
        finally:
            nudging.cancel()
            await asyncio.gather(nudging, return_exceptions=True)

    async def _some_leave(self, stage: Stage, walking: list[Member]) -> None:
        """One in twelve stops texts, one in twelve all mail but their own, and still walks on."""
        acts: tuple[tuple[int, Later], ...] = ((3, "stop"), (7, "unsubscribe"), (11, "choose"))

        async def leave(member: Member, what: Later) -> None:
            if member.stuck:
                return
            phone = member.invented.signup.get("phone")
            try:
                await leaving.act_later(
                    stage, what, member.invented.email, member.person_id, phone, self.settings.inbound_token
                )
            except TROUBLE as failure:
                member.stuck = f"{what}: {type(failure).__name__} {failure}"

        chosen = [(m, what) for n, m in enumerate(walking) for rest, what in acts if n % 12 == rest]
        await asyncio.gather(*(leave(member, what) for member, what in chosen))

    async def _subscribe(self, staff: Staff, url: str) -> None:
        """An administrator subscribes an address. A lost answer leaves a secret nobody knows: then it is rotated."""
        created: dict[str, Any] | None = None
        while created is None:
            listed = await self.client.get("endorsement", "/v1/webhooks", staff.decider)
            known = next((row for row in listed["webhooks"] if row["url"] == url), None)
            path = f"/v1/webhooks/{known['webhook_id']}/rotation" if known else "/v1/webhooks"
            body = None if known else {"url": url, "description": self.marks.word}
            try:
                created = await self.client.call("POST", "endorsement", path, body, session=staff.decider, attempts=1)
            except UNANSWERED:
                await asyncio.sleep(1)
        detail = {"subscriber_id": created["webhook_id"], "path": httpx.URL(url).path, "secret": created["secret"]}
        await self.acted("subscribe", f"decider.staff@{self.marks.domain}", None, "ack", **detail)

    # ------------------------------------------------------------ progress and the end

    async def report(self, say: Callable[[str], None]) -> None:
        """Say every few seconds how it goes."""
        while True:
            await asyncio.sleep(WINDOW_SECONDS)
            tally = self.intake.tally
            say(
                f"{self.intake.elapsed():6.0f} s  sent {len(tally.sent)}  ack {tally.count('ack')}"
                f"  nack {tally.count('nack')}  open {tally.count('unknown')}"
                f"  walk: {self.step}  acts {sum(self.acts.values())}"
            )

    def finish(self) -> Summary:
        """Count."""
        summary, tally = self.summary, self.intake.tally
        every = list(tally.sent.values())
        summary.seconds = round(self.intake.elapsed(), 1)
        summary.sent, summary.tries = len(every), sum(sent.tries for sent in every)
        summary.ack, summary.nack = tally.count("ack"), tally.count("nack")
        summary.unknown = tally.count("unknown")
        summary.answers = dict(sorted(tally.answers.items()))
        summary.confirmed = self.acts["confirm"]
        acknowledged = [sent for sent in every if sent.outcome == "ack"]
        summary.latency_ms = latencies(acknowledged)
        summary.windows = windows(every)
        summary.wrong += tally.wrong
        summary.wrong += [f"intent {s.intent} of {s.planned.email} stayed unknown: {s.last}" for s in every
                          if s.outcome == "unknown"]  # fmt: skip
        summary.wrong += [f"{email} was never shown the form" for email in tally.never_begun]
        summary.wrong += [f"{member.invented.email} got stuck at {member.stuck}"
                          for member in (*self.walkers, *self.volunteers) if member.stuck]  # fmt: skip
        return summary

    async def close(self) -> None:
        """Close the connections."""
        await self.intake.close()
        await self.client.close()


def latencies(acknowledged: list[Sent]) -> dict[str, float]:
    """p50, p99 and the longest, in milliseconds; {} for none."""
    taken = sorted((sent.settled or 0.0) - sent.began for sent in acknowledged)
    if not taken:
        return {}

    def rank(share: float) -> float:
        return round(taken[max(0, math.ceil(share * len(taken)) - 1)] * 1000, 1)

    return {"p50": rank(0.5), "p99": rank(0.99), "max": rank(1.0)}


def windows(every: list[Sent]) -> list[dict[str, float]]:
    """For each 5 s of first tries: how many came, how many were acknowledged, and their latencies."""
    groups: dict[int, list[Sent]] = {}
    for sent in every:
        groups.setdefault(int(sent.began // WINDOW_SECONDS), []).append(sent)
    return [
        {
            "from_seconds": number * WINDOW_SECONDS,
            "sent": len(group),
            "ack": sum(sent.outcome == "ack" for sent in group),
            **latencies([sent for sent in group if sent.outcome == "ack"]),
        }
        for number, group in sorted(groups.items())
    ]


async def run(settings: Settings, say: Callable[[str], None] = print) -> Summary:
    """Run to the end. Raises `typer.Exit` where there is no running system, OSError where no journal can be written."""
    stamina.instrumentation.set_on_retry_hooks([])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 20_000)), hard))
    # The commands that are run for the staff read it too.
    os.environ["HUSTINGS_ENDPOINTS"] = str(settings.endpoints.absolute())
    known, program = endpoints(), load(settings.program)
    marks = Marks.of(settings.seed, dt.datetime.now(dt.UTC).isoformat())
    async with Journal(settings.journals / "load.jsonl") as journal:
        await journal.write(kind="run", seed=settings.seed, people=settings.people, markers=marks.as_list())
        this = Run(settings, known, program, journal, marks)
        this.invite_walkers()
        background = [asyncio.create_task(this.watch.run()), asyncio.create_task(this.report(say))]
        try:
            await this.reach(dt.timedelta(0))
            await asyncio.gather(this.crowd(), _bounded_walk(this))
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await this.close()
        summary = this.finish()
    whole = {**asdict(summary), "ok": summary.ok}
    (settings.journals / "summary.json").write_text(json.dumps(whole, indent=1), encoding="utf-8")
    return summary


async def _bounded_walk(this: Run) -> None:
    """The walk ends within eight patiences, and names the step where it stood."""
    if not this.walkers:
        return
    try:
        async with asyncio.timeout(8 * this.settings.patience_seconds):
            await this.walk()
    except TROUBLE as failure:
        this.summary.wrong.append(f"The walk ended at “{this.step}”: {type(failure).__name__} {failure}")
