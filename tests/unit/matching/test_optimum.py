"""The solver against everything-tried, against the full network, and against the fallback."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.matching.domain.model import Solution
from services.matching.leader import options_of
from services.matching.solver.batch import Options, fallback, finish, placeable, solve, starting_edges
from services.matching.solver.instance import answer_line, load_instance
from services.matching.solver.tables import Tables
from tests.unit.matching import full_network, instances, oracle
from tests.unit.program.files import shipped

PURE = Options(floors=False, load_step=0)


def answer(solution: Solution) -> list[dict[str, str]]:
    return [json.loads(answer_line(match)) for match in solution.assignments]


def judged(raw: dict[str, Any], solution: Solution) -> int:
    """The oracle's utility of a legal answer that names every candidate once."""
    broken, points = oracle.judge(raw, answer(solution))
    assert broken == set()
    named = [m.candidate_id for m in solution.assignments] + [u.candidate_id for u in solution.unmatched]
    assert sorted(map(str, named)) == sorted(c["id"] for c in raw["candidates"])
    assert points == solution.utility
    return points


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), candidates=st.integers(1, 5), volunteers=st.integers(1, 3))
def test_solve_finds_the_optimum_of_small_instances(seed: int, candidates: int, volunteers: int) -> None:
    raw = instances.instance(seed, candidates, volunteers)
    for person in raw["candidates"] + raw["volunteers"]:
        person |= {"tz": "America/New_York", "langs": ["en"]}
        person["avail"] = [{"dow": 2, "start": "18:00", "end": "19:30"}]
    solution = solve(load_instance(raw), PURE)
    assert judged(raw, solution) == oracle.best_utility(raw) == solution.bound


@pytest.mark.parametrize("family", instances.FAMILIES)
@pytest.mark.parametrize("seed", [1, 2])
def test_solve_reaches_the_full_network(family: str, seed: int) -> None:
    raw = instances.FAMILIES[family](seed)
    best = full_network.optimum(raw)
    # Ten of a hundred volunteers are shortlisted: pricing has to bring in the rest.
    problem, short = load_instance(raw), Options(floors=False, best=7, extra=3)
    solution, thorough = solve(problem, short), solve(problem, replace(short, at_once=1.0, close_enough=1.0))
    assert solution.bound is not None
    assert thorough.bound is not None
    assert best <= solution.bound <= best / short.at_once
    assert best <= thorough.bound <= best * 1.001
    assert best * 0.998 <= judged(raw, solution) <= best
    assert best * 0.999 <= judged(raw, thorough) <= best


@pytest.mark.parametrize("family", ["surge", "greedy_trap", "ties"])
def test_pricing_recovers_what_a_poor_shortlist_lost(family: str) -> None:
    raw = instances.FAMILIES[family](3)
    problem, best = load_instance(raw), full_network.optimum(raw)
    poor = Options(floors=False, load_step=0, best=1, extra=0, pricing_rounds=1)
    assert solve(problem, poor).utility < best * 0.98
    assert (
        solve(problem, Options(floors=False, load_step=0, best=1, extra=0, pricing_rounds=40)).utility >= best * 0.999
    )


def test_flow_beats_greedy_in_the_trap() -> None:
    raw = instances.greedy_trap(5)
    problem = load_instance(raw)
    tables = Tables(problem)
    every = replace(PURE, best=80)
    greedy = finish(tables, fallback(tables, starting_edges(tables, every), every), {})
    solution = solve(problem, PURE)
    assert len(solution.assignments) == 80
    assert len(greedy.assignments) == 40
    assert judged(raw, solution) == full_network.optimum(raw)
    assert judged(raw, greedy) < 0.6 * solution.utility


@pytest.mark.parametrize("family", instances.FAMILIES)
def test_greedy_keeps_every_rule(family: str) -> None:
    raw = instances.FAMILIES[family](4)
    problem = load_instance(raw)
    tables = Tables(problem)
    solution = finish(tables, fallback(tables, starting_edges(tables, PURE), PURE), {})
    assert solution.method == "greedy"
    assert {m.slot_price for m in solution.assignments} <= {None}
    assert judged(raw, solution) >= 0.4 * full_network.optimum(raw)


def test_solve_repeats_itself_by_seed() -> None:
    problem = load_instance(instances.surge(6))
    first, again, other = (solve(problem, Options(seed=seed)) for seed in (1, 1, 2))
    assert first.assignments == again.assignments
    assert first.unmatched == again.unmatched
    assert first.assignments != other.assignments
    assert abs(first.utility - other.utility) <= 0.002 * first.utility


def test_load_step_evens_the_load_for_little_utility() -> None:
    raw = instances.ties(7, candidates=60, volunteers=60)
    for number, person in enumerate(raw["volunteers"]):
        person["weekly_cap"] = 4
        person["state"] = "GA" if number < 20 else "PA"
    problem = load_instance(raw)

    def loads(step: int) -> list[int]:
        calls = [m.volunteer_id for m in solve(problem, Options(floors=False, load_step=step)).assignments]
        return sorted(calls.count(v.id) for v in problem.volunteers)

    assert max(loads(1000)) == 1
    assert np.std(loads(1000)) < np.std(loads(0))


def neglecting() -> dict[str, Any]:
    """An instance whose optimum serves speakers of Spanish too rarely."""
    raw = instances.scarce_language(8, candidates=600, volunteers=60)
    for person in raw["volunteers"]:
        person["langs"] = ["en", "es"]
        person["tracks"] = ["union"]
    for person in raw["candidates"]:
        person["tracks"] = [] if person["langs"] == ["es"] else ["union"]
    return raw


def test_floors_lift_a_neglected_language() -> None:
    raw = neglecting()
    problem = load_instance(raw)
    without, floored = solve(problem, Options(floors=False)), solve(problem, Options())
    assert without.served["language:other"] < 0.7
    assert without.group_prices == {}
    assert floored.served["language:other"] >= 0.85
    assert floored.group_prices["language:other"] > 0
    assert judged(raw, floored) >= 0.97 * judged(raw, without)
    paid = {m.group_price for m in floored.assignments}
    assert max(paid) >= floored.group_prices["language:other"]


def test_lower_floor_of_the_program_lifts_less() -> None:
    problem = load_instance(neglecting())
    without, low, high = (
        solve(problem, options) for options in (Options(floors=False), Options(floor=0.75), Options(floor=0.95))
    )
    served = [solution.served["language:other"] for solution in (without, low, high)]
    assert served == sorted(served)
    assert served[0] < 0.7 <= served[1] < 0.85 <= served[2]
    assert low.group_prices["language:other"] < high.group_prices["language:other"]
    program = shipped(2025)
    fairness = program.one_on_one.fairness.model_copy(update={"floor_percent": 75})
    changed = program.one_on_one.model_copy(update={"fairness": fairness})
    assert options_of(program).floor == 0.9
    assert options_of(program.model_copy(update={"one_on_one": changed})).floor == 0.75


def test_slot_price_is_the_gain_from_one_more_slot() -> None:
    raw = instances.ties(9, candidates=5, volunteers=1)
    hour = [{"dow": 2, "start": "18:00", "end": "19:00"}]
    for number, person in enumerate(raw["candidates"]):
        person |= {"avail": hour, "signed_up_utc": instances.zulu(instances.WINTER - timedelta(days=number))}
    raw["volunteers"][0] |= {"avail": hour, "weekly_cap": 4}
    solution = solve(load_instance(raw), PURE)
    # Two slots for five: the two who waited longest; one more slot would serve the third.
    assert sorted(str(m.candidate_id) for m in solution.assignments) == ["c00003", "c00004"]
    served = {m.candidate_id: m for m in solution.assignments}
    third = served["c00003"].utility - raw["weights"]["wait_per_day"]
    assert {m.slot_price for m in solution.assignments} == {third}


def test_placeable_names_whoever_some_call_is_possible_for() -> None:
    raw = instances.dense(10)
    room = oracle.room(raw)
    expected = {candidate for candidate, volunteer, _, _ in oracle.possible_calls(raw) if room[volunteer]}
    assert placeable(load_instance(raw)) == expected
    assert len(expected) < len(raw["candidates"])
