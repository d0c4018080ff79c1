"""The problem as arrays.

Candidates C and volunteers V keep the problem's order. The free slots of volunteers are numbered 0..S-1, by
volunteer and time; each belongs to a cap period ("bucket") with the calls it may still take. Slots of a volunteer
without room are left out, so that whoever is left has room.

Scores of a block of candidates against all volunteers are sums of rows: each part of the score is tabulated
once over the values that occur ([values, V]), and a candidate picks one row of each. Points are whole, and far below
what a 32-bit float holds exactly. Hours are bitsets, one or more 64-bit words per day, so that the earliest shared day
falls out of the AND; they repeat by the week, so a later week is asked only for what an earlier one lacked.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from services.matching.domain import scoring
from services.matching.domain.model import Candidate, Problem, Volunteer, cap_label
from services.matching.solver import feasibility

K = TypeVar("K", bound=Hashable)
Ints = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Words = npt.NDArray[np.uint64]

BLOCK = 512
"""Candidates scored at a time: keeps the working set of 2,000 volunteers inside the processor's cache."""
WEEK = 7


@dataclass(frozen=True)
class Block:
    """Candidates `start`..`stop`-1 against all volunteers.

    `fit` [B, V] points without base, soon and wait; `language`, `requirement`, `permitted` [B, V] the hard rules
    one by one; `day` [B, V] the earliest day with a shared free slot, or the number of days when there is none.
    """

    start: int
    stop: int
    fit: Floats
    language: Bools
    requirement: Bools
    permitted: Bools
    day: npt.NDArray[np.int8]
    days: int

    @cached_property
    def allowed(self) -> Bools:
        """Every pair rule holds; hours aside."""
        return self.language & self.requirement & self.permitted

    @cached_property
    def feasible(self) -> Bools:
        return self.allowed & (self.day < self.days)


class Tables:
    """See the module. Memory is about C × slots + V × slots + C × V bytes, and the tabulated parts."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.horizon, self.weights = problem.horizon, problem.weights
        self.candidates, self.volunteers = len(problem.candidates), len(problem.volunteers)
        self.days, self.per_day = self.horizon.days, self.horizon.slots_per_day

        self.candidate_free = feasibility.candidate_free(problem)
        free = feasibility.volunteer_free(problem)
        self._number_slots(free)
        self._days: dict[int, npt.NDArray[np.int8]] = {}
        self.candidate_words = self._pack(self.candidate_free)
        self.volunteer_words = self._pack(self.volunteer_free)
        self._candidate_fresh, self._volunteer_fresh = _fresh(self.candidate_words), _fresh(self.volunteer_words)

        self.soon = np.array([scoring.soon(day, self.weights) for day in range(self.days)], dtype=np.int64)
        self.wait = np.array(
            [scoring.wait(c, self.horizon, self.weights) for c in problem.candidates], dtype=np.int64
        ).reshape(self.candidates)
        self._tabulate()
        self.forbidden_row, self.forbidden_column = feasibility.forbidden(problem)

    def _number_slots(self, free: Bools) -> None:
        booked = feasibility.booked_calls(self.problem)
        buckets: dict[tuple[int, str], int] = {}
        room: list[int] = []
        used: list[int] = []
        slot_bucket: list[int] = []
        kept = np.zeros_like(free)
        columns, times = np.nonzero(free)
        label_of: dict[tuple[str, int], str] = {}
        none: Counter[str] = Counter()
        for column, time in zip(columns.tolist(), times.tolist(), strict=True):
            volunteer = self.problem.volunteers[column]
            at = (volunteer.zone.key, time)
            label = label_of.get(at)
            if label is None:
                label = cap_label(self.problem.cap_period, self.horizon.instant(time), volunteer.zone)
                label_of[at] = label
            bucket = buckets.get((column, label))
            if bucket is None:
                bucket = buckets[column, label] = len(room)
                left = feasibility.room_left(volunteer, booked.get(volunteer.id, none)[label], label)
                room.append(left)
                used.append(max(0, volunteer.weekly_cap - left))
            if room[bucket] > 0:
                kept[column, time] = True
                slot_bucket.append(bucket)
        self.volunteer_free = kept
        columns, times = np.nonzero(kept)
        self.slot_volunteer = columns.astype(np.int32)
        self.slot_time = times.astype(np.int32)
        self.slot_bucket = np.array(slot_bucket, dtype=np.int32)
        self.bucket_room = np.array(room, dtype=np.int64)
        self.bucket_used = np.array(used, dtype=np.int64)
        self.first_slot = np.searchsorted(self.slot_volunteer, np.arange(self.volunteers + 1))

    @property
    def slots(self) -> int:
        return len(self.slot_time)

    @cached_property
    def slot_soon(self) -> Ints:
        return self.soon[self.slot_time // self.per_day]

    @cached_property
    def slots_at(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Slot numbers ordered by time, and where each time's begin in that order."""
        order = np.argsort(self.slot_time, kind="stable")
        return order, np.searchsorted(self.slot_time[order], np.arange(self.horizon.slots + 1))

    def _pack(self, free: Bools) -> Words:
        """[people, days, words]: bit per slot, padded so that a day begins a word."""
        words = -(-self.per_day // 64)
        padded = np.zeros((len(free), self.days, words * 64), dtype=np.bool_)
        padded[:, :, : self.per_day] = free.reshape(len(free), self.days, self.per_day)
        packed = np.packbits(padded, axis=2, bitorder="little")
        return packed.view(np.uint64).reshape(len(free), self.days, words)

    def _tabulate(self) -> None:
        people, givers, w = self.problem.candidates, self.problem.volunteers, self.weights

        def table(key: Callable[[Candidate], Hashable], points: Callable[[Candidate, Volunteer], int]) -> None:
            numbers: dict[Hashable, int] = {}
            examples: list[Candidate] = []
            row = np.empty(len(people), dtype=np.int32)
            for place, candidate in enumerate(people):
                number = numbers.setdefault(key(candidate), len(numbers))
                if number == len(examples):
                    examples.append(candidate)
                row[place] = number
            values = np.array([[points(c, v) for v in givers] for c in examples], dtype=np.float32)
            parts.append((row, values.reshape(len(examples), len(givers))))

        parts: list[tuple[Int32s, Floats]] = []
        location: dict[tuple[str | None, str | None], int] = {}

        def place_points(c: Candidate, v: Volunteer) -> int:
            key = (c.state, v.state)
            if key not in location:
                location[key] = scoring.location(c.state, v.state, w)
            return location[key]

        table(lambda c: c.state, place_points)
        table(lambda c: c.office, lambda c, v: scoring.office(c.office, v.offices, w))
        table(lambda c: c.tracks, lambda c, v: scoring.track(c.tracks, v.tracks, w))
        table(lambda c: c.wants_lived, lambda c, v: scoring.lived(c.wants_lived, v.lived, w))
        table(
            lambda c: (c.urbanicity, c.needs_experience),
            lambda c, v: (
                scoring.place(c.urbanicity, v.urbanicity, w) + scoring.experience(c.needs_experience, v.experience, w)
            ),
        )
        self.parts = _joined(parts)
        self.language = _rule_rows((c.languages for c in people), self._languages)
        self.requirement = _rule_rows((c.requires_gender for c in people), self._requirements)

    def _languages(self, languages: frozenset[str]) -> Bools:
        return feasibility.share_language(languages, self.problem.volunteers)

    def _requirements(self, required: str | None) -> Bools:
        return feasibility.meet_requirement(required, self.problem.volunteers)

    def block(self, start: int, stop: int) -> Block:
        """Score candidates `start`..`stop`-1 against every volunteer."""
        rows = slice(start, stop)
        shape = (stop - start, self.volunteers)
        fit = np.zeros(shape, dtype=np.float32)
        for row, values in self.parts:
            fit += values[row[rows]]
        if start not in self._days:
            # Half the work of a block, and an eighth of its memory: kept, since each block is looked at three times.
            self._days[start] = self._earliest_day(rows, shape)
        permitted = np.ones(shape, dtype=np.bool_)
        low, high = np.searchsorted(self.forbidden_row, [start, stop])
        permitted[self.forbidden_row[low:high] - start, self.forbidden_column[low:high]] = False
        language_row, language = self.language
        requirement_row, requirement = self.requirement
        return Block(
            start=start,
            stop=stop,
            fit=fit,
            language=language[language_row[rows]],
            requirement=requirement[requirement_row[rows]],
            permitted=permitted,
            day=self._days[start],
            days=self.days,
        )

    def _earliest_day(self, rows: slice, shape: tuple[int, int]) -> npt.NDArray[np.int8]:
        day = np.full(shape, self.days, dtype=np.int8)
        for number in reversed(range(self.days)):
            for word in range(self.candidate_words.shape[2]):
                at = (number, word)
                mine, theirs = self.candidate_words[rows, *at], self.volunteer_words[:, *at]
                fresh, theirs_fresh = self._candidate_fresh[rows, *at], self._volunteer_fresh[:, *at]
                for busy, given in ((fresh, theirs != 0), ((mine != 0) & ~fresh, theirs_fresh)):
                    some, others = np.flatnonzero(busy), np.flatnonzero(given)
                    if len(some) and len(others):
                        pairs = np.ix_(some, others)
                        shared = (mine[some, None] & theirs[None, others]) != 0
                        day[pairs] = np.where(shared, np.int8(number), day[pairs])
        return day

    def blocks(self) -> Iterator[Block]:
        """All candidates, BLOCK at a time."""
        for start in range(0, self.candidates, BLOCK):
            yield self.block(start, min(self.candidates, start + BLOCK))

    def reach(self, block: Block) -> Floats:
        """[B, V]: fit plus the points of the earliest shared day, -inf where a pair is infeasible."""
        value = np.append(self.soon, -np.inf).astype(np.float32)[block.day]
        value += block.fit
        return np.where(block.allowed, value, np.float32(-np.inf))


def _fresh(words: Words) -> Bools:
    """[people, days, words]: whether there is a slot that the same day of the week before has not."""
    before = np.zeros_like(words)
    before[:, WEEK:] = words[:, :-WEEK]
    fresh: Bools = (words & ~before) != 0
    return fresh


def _joined(parts: list[tuple[Int32s, Floats]]) -> list[tuple[Int32s, Floats]]:
    """The same sums from fewer tables: two become one where no more combinations occur than a block has rows."""
    joined = parts[:1]
    for row, values in parts[1:]:
        before, sums = joined[-1]
        pairs, both = np.unique(before.astype(np.int64) * len(values) + row, return_inverse=True)
        if len(pairs) <= BLOCK:
            joined[-1] = both.astype(np.int32), sums[pairs // len(values)] + values[pairs % len(values)]
        else:
            joined.append((row, values))
    return joined


def _rule_rows(keys: Iterable[K], row_of: Callable[[K], Bools]) -> tuple[Int32s, Bools]:
    """A rule's row [V] for each distinct value, and each candidate's row number."""
    numbers: dict[K, int] = {}
    row = np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), np.int32)
    return row, np.array([row_of(key) for key in numbers], dtype=np.bool_)
