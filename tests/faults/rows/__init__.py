"""The fault table of the promises, row by row: one module per family, each row a function under its name.

A row is a coroutine function, or a generator that yields once: what comes before the `yield` is done while a crowd
uses the system, what comes after it when the crowd is through and the system at rest. Its docstring says what it does
and what it asserts besides the ledger; a broken assertion raises `Broken`.
"""

import inspect
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from tests.faults.crowd import Crowd, Knock
from tests.faults.stand import Stand

FAMILIES = ("kills", "broker", "database", "providers", "records", "consumers", "clock", "webhooks", "deploys")


@dataclass(frozen=True, slots=True)
class Scene:
    """What a row acts on. `brief` shortens outages, for continuous integration; `number` counts the seeds."""

    stand: Stand
    crowd: Crowd
    knock: Knock
    rng: random.Random
    brief: bool
    number: int

    def seconds(self, whole: float, brief: float) -> float:
        """How long an outage lasts: `whole` by hand, `brief` in continuous integration."""
        return brief if self.brief else whole

    async def goes_on(self, *, seconds: float = 60) -> None:
        """Somebody signs up now and their mail arrives: every part of the way works."""
        from tests.faults.mail import mailed

        await self.knock.sign_up_until_taken(seconds=seconds)
        await mailed(self.stand, self.knock.last_email, seconds=seconds)


Act = Callable[[Scene], Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One fault. Rows of different lanes may run at once; those of `world` run alone."""

    name: str
    lane: str
    does: str
    act: Act
    walkers: bool

    async def begin(self, scene: Scene) -> "Callable[[], Awaitable[None]]":
        """Do the first part; returns the second."""
        if not inspect.isasyncgenfunction(self.act):
            await self.act(scene)
            return _nothing
        parts: AsyncIterator[None] = self.act(scene)
        await anext(parts)

        async def rest() -> None:
            async for _ in parts:
                raise RuntimeError(f"row {self.name} yields more than once")

        return rest


async def _nothing() -> None:
    return


TABLE: dict[str, Row] = {}


def row(*, lane: str = "world", name: str | None = None, walkers: bool = False) -> Callable[[Act], Act]:
    """Enter a function in the table, under its own name or another."""

    def enter(act: Act) -> Act:
        known = name or act.__name__
        assert known not in TABLE, f"two rows are named {known}"
        TABLE[known] = Row(known, lane, " ".join((act.__doc__ or "").split()), act, walkers)
        return act

    return enter


def table() -> dict[str, Row]:
    """Every row by name, in the order of the families."""
    for family in FAMILIES:
        import_module(f"tests.faults.rows.{family}")
    return TABLE
