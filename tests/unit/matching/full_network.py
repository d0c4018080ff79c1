"""The optimum over every possible call, as the oracle lists them: no shortlist, no scoring tables, no pricing."""

from typing import Any

from ortools.graph.python import min_cost_flow

from tests.unit.matching import oracle


def optimum(instance: dict[str, Any]) -> int:
    network = min_cost_flow.SimpleMinCostFlow()
    nodes: dict[object, int] = {"sink": 0}

    def node(name: object) -> int:
        return nodes.setdefault(name, len(nodes))

    candidates: set[int] = set()
    slots: dict[int, str] = {}
    for candidate, volunteer, start, points in oracle.possible_calls(instance):
        tail, head = node(candidate), node((volunteer, start))
        network.add_arc_with_capacity_and_unit_cost(tail, head, 1, -points)
        candidates.add(tail)
        slots[head] = volunteer
    room = oracle.room(instance)
    for slot, volunteer in slots.items():
        network.add_arc_with_capacity_and_unit_cost(slot, node(("volunteer", volunteer)), 1, 0)
    for volunteer in set(slots.values()):
        network.add_arc_with_capacity_and_unit_cost(node(("volunteer", volunteer)), 0, room[volunteer], 0)
    for tail in candidates:
        network.add_arc_with_capacity_and_unit_cost(tail, 0, 1, 0)
        network.set_node_supply(tail, 1)
    network.set_node_supply(0, -len(candidates))
    assert network.solve() == network.OPTIMAL
    return -int(network.optimal_cost())
