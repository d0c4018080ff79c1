"""The batch as a transportation network, solved exactly by minimum-cost flow.

    source -> candidate (1) -> slot (1) -> bucket (room) -> sink,    candidate -> sink (opt out, cost 0)

Costs are negative points. Capacities are whole, so the linear program's optimum is whole as well: no rounding, no
double booking. A bucket's room leaves by unit arcs whose cost grows by `load_step` a call, which evens the
volunteers' load when candidates could go either way.

Prices: OR-Tools does not hand out the duals, so the smallest ones are recovered from the optimal flow as the least
fixed point of the complementary-slackness conditions (longest paths in the residual network).
"""

from dataclasses import dataclass

import numpy as np
from ortools.graph.python import min_cost_flow

from services.matching.solver.edges import Edges
from services.matching.solver.tables import Ints, Tables

CALLS_PER_CANDIDATE = 1
CALLS_PER_SLOT = 1


class FlowError(RuntimeError):
    """The network has no optimal flow: the solver failed, since opting out is always possible."""


@dataclass(frozen=True)
class Prices:
    """Duals: `slot` [S] the price of each slot, its bucket's included; `bucket` [B] that of each bucket alone, of
    which `load` is for evening the load, not for scarcity."""

    slot: Ints
    bucket: Ints
    load: Ints


def optimum(tables: Tables, edges: Edges, value: Ints, load_step: int) -> Ints:
    """Numbers of the edges an optimal flow uses. `value` [E] points of each edge. Raises FlowError."""
    if not len(edges):
        return np.zeros(0, dtype=np.int64)
    people, person = np.unique(edges.candidate, return_inverse=True)
    slots, slot = np.unique(edges.slot, return_inverse=True)
    buckets, bucket = np.unique(tables.slot_bucket[slots], return_inverse=True)
    first_slot = len(people)
    first_bucket = first_slot + len(slots)
    sink = first_bucket + len(buckets)

    room = np.minimum(tables.bucket_room[buckets], np.bincount(bucket, minlength=len(buckets)))
    call_bucket = np.repeat(np.arange(len(buckets)), room)
    nth = np.arange(len(call_bucket)) - np.repeat(np.cumsum(room) - room, room)
    load = (nth + np.repeat(tables.bucket_used[buckets], room)) * load_step

    tail = np.concatenate(
        [person, np.arange(len(people)), first_slot + np.arange(len(slots)), first_bucket + call_bucket]
    )
    head = np.concatenate(
        [first_slot + slot, np.full(len(people), sink), first_bucket + bucket, np.full(len(call_bucket), sink)]
    )
    capacity = np.concatenate(
        [
            np.ones(len(edges), dtype=np.int64),
            np.full(len(people), CALLS_PER_CANDIDATE),
            np.full(len(slots), CALLS_PER_SLOT),
            np.ones(len(call_bucket), dtype=np.int64),
        ]
    )
    cost = np.concatenate([-value, np.zeros(len(people) + len(slots), dtype=np.int64), load])

    network = min_cost_flow.SimpleMinCostFlow()
    arcs = network.add_arcs_with_capacity_and_unit_cost(
        tail.astype(np.int32), head.astype(np.int32), capacity.astype(np.int64), cost.astype(np.int64)
    )
    supply = np.zeros(sink + 1, dtype=np.int64)
    supply[: len(people)] = CALLS_PER_CANDIDATE
    supply[sink] = -CALLS_PER_CANDIDATE * len(people)
    network.set_nodes_supplies(np.arange(sink + 1, dtype=np.int32), supply)
    status = network.solve()
    if status != network.OPTIMAL:
        raise FlowError(f"The flow solver ended with {status}, not with an optimum; use the fallback.")
    return np.flatnonzero(network.flows(arcs[: len(edges)]) > 0)


def prices(tables: Tables, edges: Edges, value: Ints, chosen: Ints, load_step: int) -> Prices:
    """The smallest prices under which the optimal flow `chosen` is everybody's best choice.

    A candidate nets value less price; nobody prefers another slot or, unmatched, any slot; what is not used up
    costs nothing but the load of the next call.
    """
    price = np.zeros(tables.slots, dtype=np.int64)
    bucket_price = np.zeros(len(tables.bucket_room), dtype=np.int64)
    if not len(edges):
        return Prices(price, bucket_price, bucket_price)
    mine = np.full(tables.candidates, -1, dtype=np.int64)
    mine[edges.candidate[chosen]] = chosen
    matched = mine >= 0
    my_slot = np.where(matched, edges.slot[mine], 0)
    my_value = np.where(matched, value[mine], 0)
    used = np.zeros(tables.slots, dtype=np.bool_)
    used[edges.slot[chosen]] = True

    order = np.argsort(edges.slot, kind="stable")
    candidate, worth = edges.candidate[order], value[order]
    slots, begins = np.unique(edges.slot[order], return_index=True)
    bucket = tables.slot_bucket[slots]
    slot_used = used[slots]

    calls = np.bincount(tables.slot_bucket[edges.slot[chosen]], minlength=len(bucket_price))
    load = np.where(calls > 0, (calls - 1 + tables.bucket_used) * load_step, 0)
    bucket_price = load
    for _ in range(len(slots) + 1):
        net = np.where(matched, my_value - price[my_slot], 0)
        asked = np.maximum(price[slots], np.maximum.reduceat(worth - net[candidate], begins))
        now = bucket_price.copy()
        np.maximum.at(now, bucket[~slot_used], asked[~slot_used])
        asked = np.where(slot_used, np.maximum(asked, now[bucket]), asked)
        if np.array_equal(asked, price[slots]) and np.array_equal(now, bucket_price):
            break
        price[slots], bucket_price = asked, now
    return Prices(np.maximum(price, bucket_price[tables.slot_bucket]), bucket_price, load)


def unloaded(tables: Tables, found: Prices) -> Prices:
    """The prices of scarcity alone."""
    return Prices(found.slot - found.load[tables.slot_bucket], found.bucket - found.load, np.zeros_like(found.load))


def bound(tables: Tables, found: Prices, most: Ints) -> int:
    """An upper limit of the utility over every possible call, by weak duality.

    `most` [C] the most each candidate can net at these prices over *all* calls, base and wait included.
    """
    own = np.maximum(0, found.slot - found.bucket[tables.slot_bucket]) if tables.slots else found.slot
    return int(np.maximum(0, most).sum() + own.sum() + (found.bucket * tables.bucket_room).sum())
