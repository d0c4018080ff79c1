"""`python -m tests.bench`: run the benchmarks, print the table."""

import argparse
import asyncio
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog
import uvloop

from shared.service import rest_garbage_collector
from tests.bench.intake import intake
from tests.bench.mail import mail
from tests.bench.matching import matching
from tests.bench.memory import memory
from tests.bench.relay import relay
from tests.bench.stage import Stage, open_stage
from tests.bench.steady import steady
from tests.bench.stored import stored
from tests.bench.suite import LEAST_ROUNDS, Bench, Result, as_json, markdown, run, spread
from tests.bench.surge import surge
from tests.bench.worker import worker
from tests.bench.workers import workers

BENCHES: Mapping[str, tuple[tuple[int, ...], Bench]] = {
    "intake": ((1, 2), intake),
    "relay": ((3,), relay),
    "worker": ((4,), worker),
    "mail": ((5,), mail),
    "surge": ((6,), surge),
    "steady": ((7,), steady),
    "stored": ((8,), stored),
    "memory": ((9,), memory),
    "matching": ((10,), matching),
    "workers": ((11,), workers),
}
"""Name, the numbers of the goals it measures, and how."""


def say(text: str) -> None:
    """Progress, beside the table."""
    print(text, file=sys.stderr, flush=True)


def chosen(only: str | None) -> list[str]:
    """The benches to run, by name or by a goal's number, separated by commas; exits when there is none such."""
    if not only:
        return list(BENCHES)
    wanted = [word.strip() for word in only.split(",") if word.strip()]
    names = []
    for word in wanted:
        found = [name for name, (numbers, _bench) in BENCHES.items() if word in (name, *map(str, numbers))]
        if not found:
            known = ", ".join(f"{name} ({'+'.join(map(str, numbers))})" for name, (numbers, _b) in BENCHES.items())
            sys.exit(f"There is no benchmark {word}; choose from: {known}.")
        names += [name for name in found if name not in names]
    return names


async def measure(stage: Stage, names: Sequence[str], rounds: int) -> list[Result]:
    """Run these benches one after another."""
    results: list[Result] = []
    for name in names:
        say(f"{name}: preparing")
        began = time.monotonic()
        async with BENCHES[name][1](stage) as pairs:
            for pair in pairs:
                last: Result | None = None
                async for result in run(pair, rounds):
                    last = result
                    say(
                        f"  {pair.number} {pair.of}, round {len(result.ours)} of {rounds}:"
                        f" ours {result.ours[-1].value:,.4g}, ceiling {result.ceiling[-1].value:,.4g} {pair.unit},"
                        f" ratio {result.ratios[-1]:.3g}"
                    )
                assert last is not None
                say(f"  {pair.number} {pair.of}: ratio {spread(last.ratios)}, goal {pair.goal}")
                results.append(last)
        say(f"{name}: {time.monotonic() - began:.0f} s")
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", help="names or goal numbers, separated by commas; all of them if left out")
    parser.add_argument("--rounds", type=int, default=LEAST_ROUNDS, help="rounds of each pair (%(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a timed measurement (%(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the counts of the others (%(default)s)")
    parser.add_argument("--full", action="store_true", help="1,000,000 people stored instead of 100,000")
    parser.add_argument("--json", type=Path, help="write every sample to this file as well (- for the output)")
    given = parser.parse_args(arguments)
    if given.rounds < 1 or given.seconds <= 0 or given.scale <= 0:
        parser.error("rounds, seconds and scale are more than nothing.")
    names = chosen(given.only)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    began = time.monotonic()
    # As in every process of a service; the ceilings have the good of it too.
    rest_garbage_collector()
    with (
        open_stage(seconds=given.seconds, scale=given.scale, full=given.full) as stage,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        results = runner.run(measure(stage, names, given.rounds))
    took = time.monotonic() - began
    say(f"took {took:.0f} s")
    document = json.dumps(as_json(results, took_seconds=round(took)), indent=1)
    if given.json == Path("-"):
        print(document)
        return
    if given.json is not None:
        given.json.write_text(document + "\n", encoding="utf-8")
    print(markdown(results))


if __name__ == "__main__":
    main()
