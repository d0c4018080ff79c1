"""The child process: what is used when it is late, dies or talks nonsense, and that it never stays behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from services.matching.domain.model import Problem, Solution
from services.matching.solver.batch import Options, fallback, finish, solve, starting_edges
from services.matching.solver.child import end, solve_in_child, start
from services.matching.solver.instance import load_instance
from services.matching.solver.tables import Tables
from tests.unit.matching import instances

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def problem() -> Problem:
    return load_instance(instances.surge(1))


@pytest.fixture(scope="module")
def greedy(problem: Problem) -> Solution:
    tables = Tables(problem)
    return finish(tables, fallback(tables, starting_edges(tables, Options()), Options()), {})


def program(text: str) -> tuple[str, str, str]:
    return sys.executable, "-c", textwrap.dedent(text)


CHILD = "from services.matching.solver import batch, child"
DYING = f"import os\n{CHILD}\ndef die(*_):\n    os._exit(9)\n"


def test_child_answers_like_the_same_process(problem: Problem) -> None:
    here, there = solve(problem, Options(seed=5)), solve_in_child(problem, 60, Options(seed=5))
    assert there.method == "flow"
    assert there.assignments == here.assignments
    assert there.unmatched == here.unmatched
    assert there.bound == here.bound


def test_child_that_says_nothing_is_replaced_by_greedy_at_the_deadline(problem: Problem, greedy: Solution) -> None:
    began = time.monotonic()
    solution = solve_in_child(problem, 0.3, child=start(program("import time; time.sleep(600)")))
    assert time.monotonic() - began < 20
    assert solution.method == "greedy"
    assert solution.assignments == greedy.assignments


@pytest.mark.parametrize(
    "crash",
    [
        "raise SystemExit(3)",
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        "import sys; sys.stdin.buffer.read(); sys.stdout.buffer.write(bytes(7) + b'\\x02no'); sys.stdout.flush()",
        "import sys; sys.stdin.buffer.read(); print('a warning nobody expected on this pipe')",
    ],
)
def test_child_that_crashes_is_replaced_by_greedy(problem: Problem, greedy: Solution, crash: str) -> None:
    began = time.monotonic()
    solution = solve_in_child(problem, 60, child=start(program(crash)))
    assert time.monotonic() - began < 30
    assert solution.method == "greedy"
    assert solution.assignments == greedy.assignments


def test_child_that_dies_after_its_edges_is_replaced_by_greedy_on_them(
    problem: Problem, greedy: Solution, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The parent must not need to score again.
    monkeypatch.setattr("services.matching.solver.child.starting_edges", None)
    solution = solve_in_child(problem, 60, child=start(program(f"{DYING}batch.optimize = die\nchild.main()")))
    assert solution.method == "greedy"
    assert solution.assignments == greedy.assignments


def test_child_that_dies_after_a_flow_leaves_its_best_choice(problem: Problem) -> None:
    solution = solve_in_child(problem, 60, child=start(program(f"{DYING}batch.floors.watched = die\nchild.main()")))
    assert solution.method == "flow_interrupted"
    expected = solve(problem, Options(floors=False))
    assert solution.assignments == expected.assignments
    assert solution.bound == expected.bound


def test_child_without_a_problem_ends_by_itself() -> None:
    child = start()
    try:
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(timeout=60) == 0
    finally:
        end(child)


def test_child_that_is_not_needed_is_ended() -> None:
    child = start(program("import time; time.sleep(600)"))
    end(child)
    assert child.returncode == -signal.SIGKILL


def test_child_dies_with_its_parent(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    child = program(f"""
        import os, pathlib, time
        {CHILD}
        def solve(*_):
            path = pathlib.Path({str(note)!r})
            path.with_suffix('.part').write_text(str(os.getpid()))
            path.with_suffix('.part').rename(path)
            time.sleep(600)
        child.solve = solve
        child.main()
    """)
    parent = subprocess.Popen(
        program(f"""
            from services.matching.solver.child import solve_in_child, start
            from services.matching.solver.instance import load_instance
            from tests.unit.matching import instances
            solve_in_child(load_instance(instances.surge(1)), 300, child=start({child!r}))
        """),
        cwd=ROOT,
    )
    try:
        deadline = time.monotonic() + 30
        while not note.exists():
            assert time.monotonic() < deadline
            assert parent.poll() is None
            time.sleep(0.02)
        process = psutil.Process(int(note.read_text()))
        assert process.ppid() == parent.pid
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        parent.kill()
        parent.wait()
