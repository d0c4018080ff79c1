"""One batch, from problem to solution.

1. Shortlist edges, solve the flow with the volunteers' load evened, recover prices.
2. Price out every possible call, which bounds the optimum. Mostly the first flow is within `Options.at_once` of it.
3. If not: add the calls that would gain and solve for utility alone, until `Options.close_enough`; then even the load
   once more, on the edges near the optimum.
4. With floors on: raise the prices of groups that are served too rarely, solve again, until they are or can't be.

`publish` hears the edges and each improved choice, so that a child process that is stopped has left its best.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np

from services.matching.domain import scoring
from services.matching.domain.model import Assignment, Method, PersonId, Problem, Reason, Solution, Unmatched
from services.matching.solver import edges as edging
from services.matching.solver import floors, flow, greedy
from services.matching.solver.edges import Edges
from services.matching.solver.tables import Bools, Int32s, Ints, Tables


@dataclass(frozen=True, slots=True)
class Options:
    """How to solve. `seed` settles ties; `load_step` points per call already taken even the volunteers' load;
    `at_once` is the share of the bound at which the first flow will do, whose load is even already, `close_enough` that
    at which pricing stops; `floor` is the share of the whole batch's served rate that each group should reach.
    """

    floors: bool = True
    floor: float = 0.9
    seed: int = 0
    load_step: int = 10
    best: int = edging.BEST
    extra: int = edging.RANDOM
    pricing_rounds: int = 12
    floor_rounds: int = 8
    at_once: float = 0.996
    close_enough: float = 0.998


@dataclass(frozen=True)
class Choice:
    """Chosen calls as numbers in Tables, all [N], and what is known about them so far.

    `price` is None when no flow priced the slots; `bound` is that of Solution.
    """

    candidate: Int32s
    slot: Int32s
    price: Ints | None
    method: Method
    edges: int
    rounds: int
    bound: int | None = None
    group_prices: dict[str, int] = field(default_factory=dict)


Publish = Callable[[Edges | Choice], None]


def starting_edges(tables: Tables, options: Options) -> Edges:
    """The shortlist: the same for the same problem and seed, in whichever process."""
    return edging.shortlist(tables, np.random.default_rng([options.seed, 1]), options.best, options.extra)


def fallback(tables: Tables, edges: Edges, options: Options) -> Choice:
    """The greedy choice on these edges."""
    own = tables.weights.base + tables.wait
    value = own[edges.candidate] + edges.points
    chosen = greedy.best_first(tables, edges, value, np.random.default_rng([options.seed, 3]))
    return Choice(edges.candidate[chosen], edges.slot[chosen], None, "greedy", len(edges), 0)


def optimize(tables: Tables, edges: Edges, options: Options, publish: Publish, seconds: dict[str, float]) -> Choice:
    """Flow, pricing and floors. Raises flow.FlowError when the solver fails."""
    rng = np.random.default_rng([options.seed, 2])
    nothing = np.zeros(tables.candidates, dtype=np.int64)
    best = _Round(tables, edges, nothing, options.load_step, seconds)
    total, limit, gaining = best.priced_out(rng, seconds)
    publish(best.choice(1, limit, {}))
    count, evened = 1, bool(options.load_step)
    enough = options.at_once if evened else options.close_enough
    while total < enough * limit and (evened or len(gaining)) and count < options.pricing_rounds:
        best = _Round(tables, best.near(NEAR).joined(gaining, tables.slots), nothing, 0, seconds)
        total, upper, gaining = best.priced_out(rng, seconds)
        limit = min(limit, upper)
        count, evened, enough = count + 1, False, options.close_enough
        publish(best.choice(count, limit, {}))

    near = best.near(NEAR)
    prices: dict[str, int] = {}
    if options.load_step and not evened:
        best = _Round(tables, near, nothing, options.load_step, seconds)
        count += 1
        publish(best.choice(count, limit, prices))
    if not options.floors:
        return best.choice(count, limit, prices)
    groups = floors.watched(tables.problem)
    for _ in range(options.floor_rounds):
        higher = floors.raised(
            groups, prices, best.matched, best.net, best.reachable, floor=options.floor, ceiling=floors.ceiling(tables)
        )
        if higher == prices:
            break
        prices = higher
        best = _Round(tables, near, groups.bonus(prices), options.load_step, seconds)
        count += 1
        publish(best.choice(count, limit, prices))
    return best.choice(count, limit, prices)


NEAR = 250
"""Points: edges further than this from being chosen are left out after the first flow; pricing finds any that was
needed after all."""


class _Round:
    """One flow on these edges with these bonuses, and its prices."""

    def __init__(self, tables: Tables, edges: Edges, bonus: Ints, load_step: int, seconds: dict[str, float]) -> None:
        self.tables, self.edges = tables, edges
        self.own = tables.weights.base + tables.wait + bonus
        self.value = self.own[edges.candidate] + edges.points
        clock = perf_counter()
        self.chosen = flow.optimum(tables, edges, self.value, load_step)
        seconds["flow"] = seconds.get("flow", 0.0) + perf_counter() - clock
        clock = perf_counter()
        self.found = flow.prices(tables, edges, self.value, self.chosen, load_step)
        self.matched = np.zeros(tables.candidates, dtype=np.bool_)
        self.matched[edges.candidate[self.chosen]] = True
        # What each candidate nets; for those left out how far their best call is from being worth its price.
        self.net = self._net(self.found.slot)
        seconds["prices"] = seconds.get("prices", 0.0) + perf_counter() - clock

    def _net(self, price: Ints) -> Ints:
        """[C]: what the best of these edges leaves each candidate at these prices of slots."""
        net = np.full(self.tables.candidates, _UNREACHABLE, dtype=np.int64)
        np.maximum.at(net, self.edges.candidate, self.value - price[self.edges.slot])
        return net

    @property
    def reachable(self) -> Bools:
        return self.net > _UNREACHABLE

    def priced_out(self, rng: np.random.Generator, seconds: dict[str, float]) -> tuple[int, int, Edges]:
        """The utility, a bound of it over every possible call, and calls that would gain.

        At the prices without the load, which is no part of the utility.
        """
        clock = perf_counter()
        scarcity = flow.unloaded(self.tables, self.found)
        net = self._net(scarcity.slot)
        worth = np.where(self.matched, net, np.maximum(0, net)) - self.own
        most, gaining = edging.price_out(self.tables, scarcity.slot, worth, rng)
        upper = flow.bound(self.tables, scarcity, most + self.own)
        seconds["pricing"] = seconds.get("pricing", 0.0) + perf_counter() - clock
        return int(self.value[self.chosen].sum()), upper, gaining

    def near(self, points: int) -> Edges:
        """The edges that a change of prices by `points` could bring into use, and those in use."""
        short = np.maximum(0, self.net[self.edges.candidate]) - self.value + self.found.slot[self.edges.slot]
        return self.edges.kept(short <= points)

    def choice(self, rounds: int, limit: int | None, prices: dict[str, int]) -> Choice:
        candidate, slot = self.edges.candidate[self.chosen], self.edges.slot[self.chosen]
        paid = {name: price for name, price in prices.items() if price}
        return Choice(
            candidate,
            slot,
            flow.unloaded(self.tables, self.found).slot[slot],
            "flow",
            len(self.edges),
            rounds,
            limit,
            paid,
        )


_UNREACHABLE = np.iinfo(np.int32).min


def solve(problem: Problem, options: Options | None = None, publish: Publish = lambda _: None) -> Solution:
    """Solve in this process, for as long as it takes; `solve_in_child` is the one with a deadline."""
    options = options or Options()
    seconds: dict[str, float] = {}
    clock = perf_counter()
    tables = Tables(problem)
    edges = starting_edges(tables, options)
    seconds["score"] = perf_counter() - clock
    publish(edges)
    last: list[Choice] = []

    def keep(message: Edges | Choice) -> None:
        if isinstance(message, Choice):
            last[:] = [message]
        publish(message)

    try:
        choice = optimize(tables, edges, options, keep, seconds)
    except flow.FlowError:
        choice = replace(last[0], method="flow_interrupted") if last else fallback(tables, edges, options)
    clock = perf_counter()
    solution = finish(tables, choice, seconds)
    seconds["explain"] = perf_counter() - clock
    return solution


def placeable(problem: Problem) -> frozenset[PersonId]:
    """Candidates for whom some call is possible at all: cut a long queue only among these."""
    tables = Tables(problem)
    found: set[PersonId] = set()
    for block in tables.blocks():
        rows = np.flatnonzero(block.feasible.any(axis=1))
        found.update(problem.candidates[block.start + row].id for row in rows.tolist())
    return frozenset(found)


def finish(tables: Tables, choice: Choice, seconds: dict[str, float]) -> Solution:
    """The solution with every match's parts and rank, and every unmatched candidate's reason."""
    problem, horizon = tables.problem, tables.horizon
    groups = floors.watched(problem)
    bonus = groups.bonus(choice.group_prices)
    call_of = np.full(tables.candidates, -1, dtype=np.int64)
    call_of[choice.candidate] = np.arange(len(choice.candidate))
    has_room = np.diff(tables.first_slot) > 0
    assignments: list[Assignment] = []
    unmatched: list[Unmatched] = []
    for block in tables.blocks():
        calls = call_of[block.start : block.stop]
        rows = np.flatnonzero(calls >= 0)
        slots = choice.slot[calls[rows]]
        volunteers = tables.slot_volunteer[slots]
        value = tables.reach(block)[rows]
        rank = 1 + (value > value[np.arange(len(rows)), volunteers][:, None]).sum(axis=1)
        feasible = block.feasible.sum(axis=1)
        shared = tables.candidate_free[block.start + rows] & tables.volunteer_free[volunteers]
        earliest = shared.argmax(axis=1) == tables.slot_time[slots]
        for place, row in enumerate(rows.tolist()):
            candidate, volunteer = problem.candidates[block.start + row], problem.volunteers[volunteers[place]]
            number = int(tables.slot_time[slots[place]])
            start = horizon.instant(number)
            price = None if choice.price is None else int(choice.price[calls[row]])
            assignments.append(
                Assignment(
                    candidate_id=candidate.id,
                    volunteer_id=volunteer.id,
                    start=start,
                    end=start + horizon.step,
                    parts=scoring.score(candidate, volunteer, number, horizon, problem.weights),
                    rank=int(rank[place]),
                    feasible_volunteers=int(feasible[row]),
                    slot_price=price,
                    group_price=int(bonus[block.start + row]),
                    earliest_shared=bool(earliest[place]),
                )
            )
        left = np.flatnonzero(calls < 0)
        language = block.language[left] & has_room
        requirement = language & block.requirement[left]
        permitted = requirement & block.permitted[left]
        conditions = (language, requirement, permitted, block.feasible[left])
        with_room = np.full(len(left), has_room.sum())
        counts = np.stack([with_room, *(condition.sum(axis=1) for condition in conditions)], axis=1)
        stated: Bools = np.any(tables.candidate_free[block.start + left], axis=1)
        for row, has_hours, count in zip(left.tolist(), stated.tolist(), counts.tolist(), strict=True):
            candidate = problem.candidates[block.start + row]
            unmatched.append(Unmatched(candidate.id, _reason(has_hours, count), *count))
    matched: Bools = call_of >= 0
    return Solution(
        assignments=tuple(assignments),
        unmatched=tuple(unmatched),
        method=choice.method,
        bound=choice.bound,
        edges=choice.edges,
        rounds=choice.rounds,
        group_prices=choice.group_prices,
        served=groups.served(matched),
        seconds=seconds,
    )


_BY_STEP = (
    Reason.NO_SUPPLY,
    Reason.NO_SHARED_LANGUAGE,
    Reason.GENDER_REQUIREMENT,
    Reason.NOT_PERMITTED,
    Reason.NO_SHARED_HOURS,
)


def _reason(has_hours: bool, counts: list[int]) -> Reason:
    if not has_hours:
        return Reason.NO_HOURS
    return next((reason for reason, n in zip(_BY_STEP, counts, strict=True) if n == 0), Reason.ALL_TAKEN)
