"""python -m services.matching.solver INSTANCE.json.gz > answer.jsonl

Answer lines on standard output, one summary line on standard error. Exit code 2 for a file that cannot be read.
"""

import argparse
import gzip
import json
import sys
import zlib
from math import floor
from pathlib import Path
from typing import Any

from services.matching.solver.batch import Options
from services.matching.solver.child import solve_in_child
from services.matching.solver.instance import InstanceError, answer_line, load_instance


def read_instance(path: Path) -> Any:
    """The parsed JSON of a plain or gzipped file. Raises InstanceError."""
    try:
        data = path.read_bytes()
        return json.loads(gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data)
    except OSError as error:
        raise InstanceError(f"Cannot read {path}: {error.strerror or error}; check the path.") from error
    except (ValueError, EOFError, zlib.error) as error:
        raise InstanceError(f"{path} is not JSON, plain or gzipped ({error}).") from error


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m services.matching.solver", description="Solve one instance.")
    parser.add_argument("instance", type=Path, help="a hustings-match/1 file, plain or gzipped")
    parser.add_argument("--no-floors", action="store_true", help="maximize utility alone, without group prices")
    parser.add_argument("--deadline", type=float, default=None, metavar="SECONDS", help="20; 45 above 10,000 people")
    parser.add_argument("--seed", type=int, default=0, help="settles ties (default 0)")
    given = parser.parse_args(arguments)
    if given.seed < 0 or (given.deadline is not None and given.deadline <= 0):
        parser.error("--seed must be 0 or more and --deadline more than 0.")
    try:
        problem = load_instance(read_instance(given.instance))
    except InstanceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    deadline = given.deadline or (45.0 if len(problem.candidates) > 10_000 else 20.0)
    solution = solve_in_child(problem, deadline, Options(floors=not given.no_floors, seed=given.seed))
    for match in solution.assignments:
        print(answer_line(match))
    share = floor(10_000 * solution.utility / solution.bound) / 100 if solution.bound else 100
    bound = "" if solution.bound is None else f", at least {share:.2f}% of the optimum"
    prices = "".join(f", {name} +{price}" for name, price in sorted(solution.group_prices.items()))
    times = "".join(f", {name} {value:.1f} s" for name, value in solution.seconds.items())
    print(
        f"{len(solution.assignments)} of {len(problem.candidates)} candidates matched by {solution.method},"
        f" utility {solution.utility}{bound}; {solution.edges} edges, {solution.rounds} rounds{times}{prices}",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
