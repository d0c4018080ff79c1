"""The fallback: the best call first, over the same edges. Always ends, needs no library, keeps every rule."""

import numpy as np

from services.matching.solver.edges import Edges
from services.matching.solver.tables import Ints, Tables


def best_first(tables: Tables, edges: Edges, value: Ints, rng: np.random.Generator) -> Ints:
    """Numbers of the chosen edges, by falling `value`; equals in random order."""
    order = np.lexsort((rng.random(len(edges)), -value))
    met = np.zeros(tables.candidates, dtype=np.bool_).tolist()
    taken = np.zeros(tables.slots, dtype=np.bool_).tolist()
    room = tables.bucket_room.tolist()
    bucket = tables.slot_bucket.tolist()
    chosen: list[int] = []
    ordered = zip(order.tolist(), edges.candidate[order].tolist(), edges.slot[order].tolist(), strict=True)
    for edge, candidate, slot in ordered:
        if not met[candidate] and not taken[slot] and room[bucket[slot]] > 0:
            met[candidate] = taken[slot] = True
            room[bucket[slot]] -= 1
            chosen.append(edge)
    return np.array(chosen, dtype=np.int64)
