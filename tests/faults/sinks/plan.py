"""Plans: which hand-overs the sinks treat badly, and how. Deterministic for a seed, whatever the order of arrival."""

import asyncio
import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Sink = Literal["smtp", "sms", "webhook"]
Act = Literal["answer", "hang", "late", "close"]
STAGES: dict[str, tuple[str, ...]] = {
    "smtp": ("data", "connect", "mail", "rcpt", "body"),
    "sms": ("send", "lookup"),
    "webhook": ("send",),
}
"""The stages at which a rule may act; the first is what a rule means that names none."""


class Rule(BaseModel):
    """One rule. It meets a hand-over of its sink and stage whose recipient `to` is found in, in its time window."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=60)
    sink: Sink
    stage: str = ""
    to: str = Field("", description="Regular expression, found in the address, number or path; empty: all.")
    head: str = Field("", description="SMTP, stage data: regular expression, found in the mail's head; empty: all.")
    after: int = Field(0, ge=0, description="Lets so many of those that it meets pass first.")
    every: int = Field(1, ge=1, description="Then takes each so-many-th.")
    times: int | None = Field(None, ge=1, description="Acts so many times at most.")
    probability: float = Field(1.0, ge=0, le=1)
    from_seconds: float = Field(0.0, ge=0, description="Since the plan was given.")
    until_seconds: float | None = Field(None, gt=0)
    act: Act
    code: int | None = Field(None, ge=200, le=599, description="SMTP or HTTP answer; only for `answer`.")
    retry_after_seconds: int | None = Field(None, ge=0, description="HTTP header Retry-After.")
    location: str | None = Field(None, description="HTTP header Location.")
    delay_seconds: float = Field(0.0, ge=0, le=600, description="Before a `late` answer.")
    stored: bool | None = Field(None, description="HTTP: whether it was taken in spite of the answer.")

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        stages = STAGES[self.sink]
        if self.stage and self.stage not in stages:
            raise ValueError(f"rule {self.name!r}: the stage of {self.sink} is one of {', '.join(stages)}")
        if (self.act == "answer") != (self.code is not None):
            raise ValueError(f"rule {self.name!r}: give a code with the act `answer`, and with no other")
        if self.act == "late" and not self.delay_seconds:
            raise ValueError(f"rule {self.name!r}: give delay_seconds with the act `late`")
        if self.head and (self.sink, self.at_stage) != ("smtp", "data"):
            raise ValueError(f"rule {self.name!r}: only a mail at the stage data has a head to look at")
        for name, pattern in (("to", self.to), ("head", self.head)):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"rule {self.name!r}: `{name}` is no regular expression ({error})") from None
        return self

    @property
    def at_stage(self) -> str:
        """The stage, also where the rule names none."""
        return self.stage or STAGES[self.sink][0]


class Plan(BaseModel):
    """Rules, of which the first that takes a hand-over decides."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    rules: tuple[Rule, ...] = ()


@dataclass
class _Use:
    """How often a rule met something, by recipient and in all, and how often it acted."""

    seen: int = 0
    used: int = 0
    by_recipient: Counter[str] = field(default_factory=Counter)


class Plans:
    """The plan that holds now. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.released = asyncio.Event()
        self.load(Plan())

    def load(self, plan: Plan) -> None:
        """Replace the plan; whoever hangs because of the former one is let go."""
        self.released.set()
        self.plan = plan
        self.released = asyncio.Event()
        self._since = self._clock()
        self._uses = [_Use() for _rule in plan.rules]

    def decide(self, sink: Sink, stage: str, recipient: str, head: str = "") -> Rule | None:
        """The rule that takes this hand-over, counted as used; None when it goes well."""
        elapsed = self._clock() - self._since
        for rule, use in zip(self.plan.rules, self._uses, strict=True):
            if (rule.sink, rule.at_stage) != (sink, stage) or not re.search(rule.to, recipient):
                continue
            if not re.search(rule.head, head):
                continue
            if elapsed < rule.from_seconds or (rule.until_seconds is not None and elapsed >= rule.until_seconds):
                continue
            use.seen += 1
            use.by_recipient[recipient] += 1
            turn = use.seen - rule.after
            if turn < 1 or (turn - 1) % rule.every or (rule.times is not None and use.used >= rule.times):
                continue
            if self._draw(rule, recipient, use.by_recipient[recipient]) >= rule.probability:
                continue
            use.used += 1
            return rule
        return None

    def _draw(self, rule: Rule, recipient: str, occasion: int) -> float:
        """A number in [0, 1) that depends on no arrival order."""
        digest = hashlib.sha256(f"{self.plan.seed}/{rule.name}/{recipient}/{occasion}".encode()).digest()
        return int.from_bytes(digest[:8]) / 2**64

    def as_json(self) -> dict[str, Any]:
        """The plan, with what each rule has met and done."""
        return {
            "seed": self.plan.seed,
            "elapsed_seconds": round(self._clock() - self._since, 3),
            "rules": [
                {**rule.model_dump(exclude_unset=True), "seen": use.seen, "used": use.used}
                for rule, use in zip(self.plan.rules, self._uses, strict=True)
            ],
        }
