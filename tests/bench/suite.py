"""Pairs of measurements and what comes out of them. Nothing here knows what is measured."""

import itertools
import os
import platform
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any, Literal

LEAST_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: `value` in the pair's unit; CPU seconds of all processes that had a part, per unit of work."""

    value: float
    cpu_seconds: float | None = None


Measure = Callable[[], Awaitable[Sample]]


@dataclass(frozen=True, slots=True)
class Goal:
    """What the ratio of ours to the ceiling should be."""

    bound: Literal["at least", "at most"]
    ratio: float

    def met(self, ratio: float) -> bool:
        """Whether a ratio is good enough."""
        return ratio >= self.ratio if self.bound == "at least" else ratio <= self.ratio

    def __str__(self) -> str:
        return f"{'≥' if self.bound == 'at least' else '≤'} {self.ratio:g}"


@dataclass(frozen=True, slots=True)
class Pair:
    """Our way and the ceiling, measured in turn. `number` is the goal's number; `of` names it among its siblings."""

    number: int
    of: str
    unit: str
    ours: Measure
    ceiling: Measure
    goal: Goal
    note: str = ""


@dataclass(slots=True)
class Result:
    """The samples of one pair, round by round."""

    number: int
    of: str
    unit: str
    goal: Goal
    note: str
    ours: list[Sample] = field(default_factory=list)
    ceiling: list[Sample] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Of each round: what disturbs a round disturbs both of its sides."""
        return [ours.value / ceiling.value for ours, ceiling in zip(self.ours, self.ceiling, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return statistics.median(self.ratios)

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.goal.met(self.ratio)


class Rounds:
    """One measurement that yields several numbers: made once for each side and round, whichever pair asks first."""

    def __init__(self, measure: Callable[[str], Awaitable[dict[str, Sample]]]) -> None:
        self._measure = measure
        self._measured: dict[tuple[str, int], dict[str, Sample]] = {}

    def of(self, name: str, side: str = "ours") -> Measure:
        """One of the numbers, round by round."""
        numbers = itertools.count()

        async def sample() -> Sample:
            number = next(numbers)
            if (side, number) not in self._measured:
                self._measured[side, number] = await self._measure(side)
            return self._measured[side, number][name]

        return sample


def constant(value: float) -> Measure:
    """A ceiling that is a number."""

    async def sample() -> Sample:
        return Sample(value)

    return sample


Bench = Callable[[Any], AbstractAsyncContextManager[Sequence[Pair]]]
"""Prepares what its pairs need, for as long as the block lasts."""


async def run(pair: Pair, rounds: int) -> AsyncIterator[Result]:
    """Measure both sides in turn, each round in the other order; yields the result as it grows."""
    result = Result(pair.number, pair.of, pair.unit, pair.goal, pair.note)
    for number in range(rounds):
        if number % 2:
            result.ours.append(await pair.ours())
            result.ceiling.append(await pair.ceiling())
        else:
            result.ceiling.append(await pair.ceiling())
            result.ours.append(await pair.ours())
        yield result


HEADINGS = ("#", "work", "unit", "ours", "ceiling", "ratio", "goal", "", "CPU µs a unit: ours", "ceiling")


def rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """The table's cells: medians, each with its spread (least to most)."""
    return [
        (
            str(result.number),
            result.of,
            result.unit,
            spread([sample.value for sample in result.ours]),
            spread([sample.value for sample in result.ceiling]),
            spread(result.ratios),
            str(result.goal),
            "met" if result.met else "short",
            _cpu(result.ours),
            _cpu(result.ceiling),
        )
        for result in results
    ]


def markdown(results: Sequence[Result]) -> str:
    """The table as it stands in the documents."""
    cells = rows(results)
    widths = [max(len(line[i]) for line in (HEADINGS, *cells)) for i in range(len(HEADINGS))]
    lines = [HEADINGS, tuple("-" * width for width in widths), *cells]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def as_json(results: Sequence[Result], **more: Any) -> dict[str, Any]:
    """Everything that was measured, sample by sample, with the machine."""
    return {
        "machine": machine(),
        **more,
        "results": [
            {
                **{name: getattr(result, name) for name in ("number", "of", "unit", "note", "ratio", "ratios", "met")},
                "goal": str(result.goal),
                "ours": [asdict(sample) for sample in result.ours],
                "ceiling": [asdict(sample) for sample in result.ceiling],
            }
            for result in results
        ],
    }


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "system": platform.system(),
        "libraries": {name: version(name) for name in ("aiokafka", "asyncpg", "faststream", "starlette", "aiosmtplib")},
    }


def spread(values: Sequence[float]) -> str:
    """A median with the least and the most."""
    return f"{_short(statistics.median(values))} ({_short(min(values))}–{_short(max(values))})"


def _short(value: float) -> str:
    """Three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _cpu(samples: Sequence[Sample]) -> str:
    known = [sample.cpu_seconds for sample in samples if sample.cpu_seconds is not None]
    return _short(statistics.median(known) * 1e6) if known else "–"
