"""The suite that prints the table, and one pair that is really run: nothing here says how fast anything is."""

import json

from tests.bench.__main__ import BENCHES, chosen
from tests.bench.relay import relay
from tests.bench.stage import open_stage
from tests.bench.suite import Goal, Pair, Result, Rounds, Sample, as_json, constant, markdown, run

ORDER: list[str] = []


async def _ours() -> Sample:
    ORDER.append("ours")
    return Sample(30.0, 2e-6)


async def _ceiling() -> Sample:
    ORDER.append("ceiling")
    return Sample(20.0, 1e-6)


async def _measured(pair: Pair, rounds: int) -> Result:
    return [result async for result in run(pair, rounds)][-1]


async def test_run_alternates_and_takes_the_median_of_the_rounds() -> None:
    ORDER.clear()
    result = await _measured(Pair(3, "work", "rows/s", _ours, _ceiling, Goal("at least", 0.7)), 3)
    assert ORDER == ["ceiling", "ours", "ours", "ceiling", "ceiling", "ours"]
    assert (result.ratios, result.ratio, result.met) == ([1.5] * 3, 1.5, True)


async def test_table_shows_medians_spread_ratio_and_goal() -> None:
    result = Result(2, "latency", "ms", Goal("at most", 2.0), "")
    result.ours = [Sample(4.0), Sample(9.0), Sample(1234.0)]
    result.ceiling = [Sample(2.0), Sample(3.0), Sample(1.0)]
    assert markdown([result]).splitlines()[2] == (
        "| 2 | latency | ms   | 9 (4–1,234) | 2 (1–3) | 3 (2–1,234) | ≤ 2  | short | –                   | –       |"
    )
    document = json.loads(json.dumps(as_json([result], took_seconds=1)))
    assert document["results"][0]["ratios"] == [2.0, 3.0, 1234.0]
    assert document["results"][0]["ours"][0] == {"value": 4.0, "cpu_seconds": None}


async def test_rounds_measure_once_for_all_that_ask() -> None:
    measured: list[str] = []

    async def measure(side: str) -> dict[str, Sample]:
        measured.append(side)
        return {"a": Sample(1.0), "b": Sample(2.0)}

    rounds = Rounds(measure)
    one, other = rounds.of("a"), rounds.of("b")
    assert [(await one()).value, (await one()).value, (await other()).value, (await other()).value] == [1, 1, 2, 2]
    assert measured == ["ours", "ours"]
    assert (await constant(5)()).value == 5


def test_every_goal_has_a_bench() -> None:
    assert sorted({number for numbers, _bench in BENCHES.values() for number in numbers}) == list(range(1, 12))
    assert chosen("4,relay") == ["worker", "relay"]


async def test_relay_pair_runs() -> None:
    with open_stage(seconds=0.1, scale=0.01, full=False) as stage:
        async with relay(stage) as pairs:
            result = await _measured(pairs[0], 1)
    assert result.number == 3
    assert min(result.ours[0].value, result.ceiling[0].value) > 0
