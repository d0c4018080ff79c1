"""A session: rows played on one stand under one crowd, then rest, then the ledger."""

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.crowd import Crowd, Knock, Size
from tests.faults.rest import come_to_rest
from tests.faults.rows import Row, Scene
from tests.faults.stand import ROOT, Broken, Stand, Timeline, open_stand, seeded

ROW_SECONDS = 600.0
CROWD_SECONDS = 900.0
LEDGER_SECONDS = 600.0
LINKS = ("kafka", "postgres", "smtp")

Rest = Callable[[], Awaitable[None]]


@dataclass
class Played:
    """What came of some rows: `broken` by row, the crowd's own problems, the ledger's code and words."""

    rows: list[str]
    people: int = 0
    walkers: int = 0
    whole_path: int = 0
    seconds: float = 0.0
    broken: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    ledger_code: int | None = None
    ledger_said: str = ""

    @property
    def violations(self) -> int:
        """How many checks of the ledger failed."""
        return len(re.findall(r"^L\d+ +violated ", self.ledger_said, re.MULTILINE))

    @property
    def clean(self) -> bool:
        """Nothing broken, nobody stuck, nothing lost, nothing doubled."""
        return not self.broken and not self.problems and self.ledger_code == 0


class Session:
    """Rows on one stand; `number` counts the seeds, `brief` shortens outages."""

    def __init__(self, stand: Stand, *, seed: int, number: int, brief: bool) -> None:
        self.stand = stand
        self.seed = seed
        self.number = number
        self.brief = brief
        self.crowd = Crowd(stand, seed)
        self.knock = Knock(stand, seed)
        self.knock.begin()

    async def play(self, rows: Sequence[Row], first: Size, more: Size) -> Played:
        """Do the rows while a crowd is there; lanes at once, `world` alone. Never raises for what a row finds."""
        began = time.monotonic()
        played = Played([row.name for row in rows])
        people, walkers, problems = self.crowd.people, self.crowd.walkers, len(self.crowd.problems)
        whole_path = self.crowd.whole_path
        done = asyncio.Event()
        crowd = asyncio.create_task(self._crowd(first, more, done))
        rests: list[tuple[Row, Rest]] = []
        try:
            await self._act(rows, played, rests)
            done.set()
            async with asyncio.timeout(CROWD_SECONDS):
                await crowd
            await self.knock.settle()
        except (Broken, TimeoutError) as error:
            played.problems.append(f"the crowd: {error or 'is not through in time'}")
        finally:
            crowd.cancel()
            await asyncio.gather(crowd, return_exceptions=True)
        played.problems += self.crowd.problems[problems:]
        await self._rest(played, rests)
        await self._ledger(played)
        played.people, played.walkers = self.crowd.people - people, self.crowd.walkers - walkers
        played.whole_path = self.crowd.whole_path - whole_path
        played.seconds = time.monotonic() - began
        return played

    async def _crowd(self, first: Size, more: Size, done: asyncio.Event) -> None:
        await self.crowd.wave(first)
        while not done.is_set():
            await self.crowd.wave(more)

    async def _act(self, rows: Sequence[Row], played: Played, rests: list[tuple[Row, Rest]]) -> None:
        lanes: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            lanes[row.lane].append(row)
        alone = lanes.pop("world", [])
        await asyncio.gather(*(self._in_turn(lane, played, rests) for lane in lanes.values()))
        await self._in_turn(alone, played, rests)

    async def _in_turn(self, rows: Iterable[Row], played: Played, rests: list[tuple[Row, Rest]]) -> None:
        for row in rows:
            self.stand.tell(f"row {row.name}")
            scene = Scene(
                self.stand, self.crowd, self.knock, seeded(self.seed, row.name), brief=self.brief, number=self.number
            )
            try:
                async with asyncio.timeout(ROW_SECONDS):
                    rests.append((row, await row.begin(scene)))
            except (Broken, TimeoutError) as error:
                await self._note(played, row, str(error) or f"did not end within {ROW_SECONDS:.0f} s")
            except Exception as error:  # noqa: BLE001 (the other rows go on, and this one's evidence is kept)
                await self._note(played, row, f"{type(error).__name__}: {error}")

    async def _note(self, played: Played, row: Row, what: str) -> None:
        """A row has failed: what it had set up is taken down, so that the others start from a whole system."""
        played.broken[row.name] = what
        self.stand.tell(f"row {row.name} FAILED: {what}")
        for link in LINKS:
            await self.stand.proxy.set(link, "pass")
        await self.stand.plan()

    async def _rest(self, played: Played, rests: Sequence[tuple[Row, Rest]]) -> None:
        try:
            await come_to_rest(self.stand)
        except Broken as error:
            played.problems.append(str(error))
            self.stand.tell(f"FAILED: {error}")
        for row, rest in rests:
            try:
                await rest()
            except Broken as error:
                await self._note(played, row, str(error))

    async def _ledger(self, played: Played) -> None:
        self.crowd.merge()
        began = time.monotonic()
        try:
            played.ledger_code, played.ledger_said = await self.stand.run(
                "cli",
                *("ledger", "--journals", str(self.stand.journals)),
                *("--endpoints", str(self.stand.home / "endpoints.json")),
                "--require-all",
                seconds=LEDGER_SECONDS,
                code=None,
            )
        except Broken as error:
            played.ledger_code, played.ledger_said = 2, str(error)
        (self.stand.evidence / "ledger.txt").write_text(played.ledger_said)
        verdict = {0: "clean", 1: "VIOLATIONS"}.get(played.ledger_code, "COULD NOT CHECK")
        self.stand.tell(f"ledger after {time.monotonic() - began:.1f} s: {verdict}")


@asynccontextmanager
async def open_session(evidence: Path, *, seed: int, number: int = 0, brief: bool = False) -> AsyncIterator[Session]:
    """A stand with a link to the code, which a rolling deploy can exchange."""
    code = _linked(evidence)
    async with open_stand(evidence, Timeline(evidence / "timeline.jsonl"), code=code) as stand:
        yield Session(stand, seed=seed, number=number, brief=brief)


def _linked(evidence: Path) -> Path:
    evidence.mkdir(parents=True, exist_ok=True)
    code = evidence / "code"
    code.symlink_to(ROOT)
    return code


def grouped(rows: Iterable[Row], *, together: int) -> list[list[Row]]:
    """Rows that are played under one crowd: kill points of different services at once, others in turn."""
    lanes: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        lanes[row.lane].append(row)
    alone = lanes.pop("world", [])
    groups: list[list[Row]] = []
    while any(lanes.values()):
        groups.append([lane.pop(0) for lane in lanes.values() if lane])
    return groups + [alone[first : first + together] for first in range(0, len(alone), together)]
