"""Which calls the network may choose from.

Among 27,000 × 2,000 people there are about a hundred million possible calls; an optimum uses few of them. Each
candidate starts with the slots shared with the 10 best volunteers and 3 random others. Chance matters: when
sign-ups look alike, their best volunteers are the same few, so equals are ordered at random and some of the rest
are drawn. Afterwards the duals of the flow price *every* possible call: those that would still gain are added, and
the sum of the duals bounds the optimum.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.matching.solver.tables import Block, Floats, Int32s, Ints, Tables

BEST = 10
RANDOM = 3
EARLIEST = 3
OTHER_SLOTS = 1
"""Of the slots a pair shares, the first EARLIEST and about OTHER_SLOTS more: three weeks of evenings are much alike."""
GAINING = 8


@dataclass(frozen=True)
class Edges:
    """Possible calls, sorted by candidate and slot, each once.

    `candidate`, `slot` [E] numbers in Tables; `points` [E] fit and soon, without the candidate's own base and wait.
    """

    candidate: Int32s
    slot: Int32s
    points: Int32s

    def __len__(self) -> int:
        return len(self.candidate)

    def joined(self, other: "Edges", slots: int) -> "Edges":
        """Both sets of edges, each call once."""
        candidate = np.concatenate([self.candidate, other.candidate])
        slot = np.concatenate([self.slot, other.slot])
        points = np.concatenate([self.points, other.points])
        _, first = np.unique(candidate.astype(np.int64) * max(1, slots) + slot, return_index=True)
        return Edges(candidate[first], slot[first], points[first])

    def kept(self, mask: npt.NDArray[np.bool_]) -> "Edges":
        return Edges(self.candidate[mask], self.slot[mask], self.points[mask])


def shortlist(tables: Tables, rng: np.random.Generator, best: int = BEST, extra: int = RANDOM) -> Edges:
    """The starting edges: all free slots shared with `best` volunteers by points and `extra` random others."""
    found: list[Edges] = []
    for block in tables.blocks():
        value = tables.reach(block)
        # Points are whole: a fraction orders equals by chance and nothing else.
        value += rng.random(value.shape, dtype=np.float32) * np.float32(0.5)
        chosen = block.feasible
        if tables.volunteers > best:
            least = tables.volunteers - best
            chosen = chosen & (value >= np.partition(value, least, axis=1)[:, least, None])
        # The others are drawn by their place among the feasible of the row.
        count = block.feasible.sum(axis=1)
        first = np.cumsum(count) - count
        some = np.flatnonzero(count)
        drawn = first[some, None] + (rng.random((len(some), extra)) * count[some, None]).astype(np.int32)
        places = np.cumsum(block.feasible, dtype=np.int32)
        chosen.flat[np.searchsorted(places, drawn.ravel().astype(np.int32), side="right")] = True
        row, volunteer = np.nonzero(chosen)
        found.append(_expand(tables, row + block.start, volunteer, block.fit[row, volunteer], rng))
    return _concatenated(found)


def _expand(tables: Tables, candidate: Ints, volunteer: Ints, fit: Floats, rng: np.random.Generator) -> Edges:
    """Pairs into edges: one for each free slot they share, the earliest and a random few when they are many."""
    count = tables.first_slot[volunteer + 1] - tables.first_slot[volunteer]
    pair = np.repeat(np.arange(len(count)), count)
    begin = np.cumsum(count) - count
    slot = np.arange(len(pair)) - np.repeat(begin, count) + tables.first_slot[volunteer][pair]
    shared = tables.candidate_free[candidate[pair], tables.slot_time[slot]]
    pair, slot = pair[shared], slot[shared]
    many = np.bincount(pair, minlength=len(count))
    nth = np.arange(len(pair)) - (np.cumsum(many) - many)[pair]
    drawn = rng.random(len(pair)) * (many[pair] - EARLIEST) < OTHER_SLOTS
    kept = (nth < EARLIEST) | drawn
    pair, slot = pair[kept], slot[kept]
    points = fit[pair] + tables.slot_soon[slot]
    return Edges(candidate[pair].astype(np.int32), slot.astype(np.int32), points.astype(np.int32))


def _concatenated(parts: list[Edges]) -> Edges:
    if not parts:
        empty = np.zeros(0, dtype=np.int32)
        return Edges(empty, empty, empty)
    return Edges(
        np.concatenate([p.candidate for p in parts]),
        np.concatenate([p.slot for p in parts]),
        np.concatenate([p.points for p in parts]),
    )


def _gaining(
    tables: Tables,
    block: Block,
    candidates: Ints,
    slots: Ints,
    net_of_price: Floats,
    worth: Ints,
    rng: np.random.Generator,
) -> Edges:
    """For candidates of a block, the GAINING best of `slots`, all at one time, that net more than `worth`."""
    volunteers = tables.slot_volunteer[slots]
    at = np.ix_(candidates - block.start, volunteers)
    fit = block.fit[at]
    net = np.where(block.allowed[at], fit + net_of_price[slots], np.float32(-np.inf))
    row, column = np.nonzero(net > worth[candidates, None])
    # A fraction of chance: whole points decide, equals spread over the slots.
    order = np.lexsort((rng.random(len(row)) * 0.5 - net[row, column], row))
    row, column = row[order], column[order]
    nth = np.arange(len(row)) - np.searchsorted(row, row)
    row, column = row[nth < GAINING], column[nth < GAINING]
    points = fit[row, column] + tables.slot_soon[slots[column]]
    return Edges(candidates[row].astype(np.int32), slots[column].astype(np.int32), points.astype(np.int32))


def price_out(tables: Tables, price: Ints, worth: Ints, rng: np.random.Generator) -> tuple[Ints, Edges]:
    """Price every possible call, whether an edge or not.

    `price` [S] what each slot costs; `worth` [C] what each candidate nets now, in points net of base and wait
    (so it may be negative). Returns the most each candidate could net, [C], very negative without any call, and the
    edges that would gain: for each candidate and time the best few.
    """
    order, begins = tables.slots_at
    most = np.full(tables.candidates, np.iinfo(np.int32).min, dtype=np.int64)
    found: list[Edges] = []
    net_of_price = (tables.slot_soon - price).astype(np.float32)
    for block in tables.blocks():
        fit = np.where(block.allowed, block.fit, np.float32(-np.inf))
        free = tables.candidate_free[block.start : block.stop]
        for time in np.flatnonzero(free.any(axis=0)):
            slots = order[begins[time] : begins[time + 1]]
            if not len(slots):
                continue
            rows = np.flatnonzero(free[:, time])
            volunteers = tables.slot_volunteer[slots]
            net = fit[np.ix_(rows, volunteers)]
            net += net_of_price[slots]
            top = net.max(axis=1)
            reachable = np.isfinite(top)
            whole = top[reachable].astype(np.int64)
            candidates = rows[reachable] + block.start
            most[candidates] = np.maximum(most[candidates], whole)
            gains = whole > worth[candidates]
            if gains.any():
                found.append(_gaining(tables, block, candidates[gains], slots, net_of_price, worth, rng))
    return most, _concatenated(found)
