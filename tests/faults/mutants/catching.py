"""Running a catcher, and judging what it said: a catch is a test that failed, or a check of the ledger that did."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import psutil

from tests.faults.mutants.mutant import Catcher, Rows, Suite

PATIENCE_SECONDS = 60.0
SAID_LENGTH = 240


@dataclass(frozen=True, slots=True)
class Ran:
    """How a catcher's process ended: its code (None: it had to be stopped), what failed in words, all it printed."""

    code: int | None
    failures: tuple[str, ...]
    errors: tuple[str, ...]
    output: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """`caught`, `survived`, or `unclear` (it ended in another way than by seeing it), and what it said."""

    outcome: str
    said: str
    seconds: float


def run(catcher: Catcher, tree: Path) -> Ran:
    """Run a catcher in the tree, bounded in time."""
    if isinstance(catcher, Suite):
        return run_tests(catcher.ids, tree, seconds=catcher.seconds)
    return run_rows(catcher.rows, tree, seconds=catcher.seconds, brief=catcher.brief)


def run_tests(ids: Sequence[str], tree: Path, *, seconds: float) -> Ran:
    """Tests by id, whole files or parametrized functions too."""
    report = tree.parent / "report.xml"
    report.unlink(missing_ok=True)
    options = ("-q", "-p", "no:cacheprovider", "--tb=short", "--show-capture=no", f"--junitxml={report}")
    code, output, took = _execute(["pytest", *options, *ids], tree, seconds)
    failures, errors = _read(report) if report.exists() else ((), ())
    return Ran(code, failures, errors, output, took)


def run_rows(rows: Sequence[str], tree: Path, *, seconds: float, brief: bool) -> Ran:
    """Rows of the fault table with a small crowd, and the ledger after them."""
    arguments = ["tests.faults", "run", "--fault", ",".join(rows), "--people", "40", "--walkers", "6"]
    code, output, took = _execute([*arguments, "--brief"] if brief else arguments, tree, seconds)
    return Ran(code, (output,) if code == 1 else (), (), output, took)


def judge(catcher: Catcher, ran: Ran) -> Verdict:
    """What a run on a broken tree means."""
    if ran.code is None:
        return Verdict("unclear", f"not over after {ran.seconds:.0f} s", ran.seconds)
    if ran.code == 0:
        return Verdict("survived", "passed", ran.seconds)
    if ran.code != 1 or ran.errors or not ran.failures:
        said = ran.errors[0] if ran.errors else ran.output.strip()[-SAID_LENGTH:]
        return Verdict("unclear", f"exit {ran.code}: {_short(said)}", ran.seconds)
    for failure in ran.failures:
        if found := re.search(catcher.says, failure):
            said = found[0] if isinstance(catcher, Rows) else failure
            return Verdict("caught", _short(said), ran.seconds)
    said = ran.failures[0] if isinstance(catcher, Suite) else ran.output[-SAID_LENGTH:]
    return Verdict("unclear", f"failed, but not with {catcher.says!r}: {_short(said)}", ran.seconds)


def _short(text: str) -> str:
    line = " ".join(text.replace("Use -v to get more diff", "").split())
    return line if len(line) <= SAID_LENGTH else line[: SAID_LENGTH - 1] + "…"


def _read(report: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Failures and errors of a JUnit report, each as its first line."""
    cases = list(ElementTree.parse(report).iter("testcase"))
    found: dict[str, list[str]] = {"failure": [], "error": []}
    for case in cases:
        for kind, told in found.items():
            told += [node.get("message", "") for node in case.iter(kind)]
    return tuple(found["failure"]), tuple(found["error"])


def _execute(arguments: list[str], tree: Path, seconds: float) -> tuple[int | None, str, float]:
    """`python -m …` in the tree; the code is None if time ran out, and then nothing of it is left."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HUSTINGS_")}
    environment |= {"HUSTINGS_HOME": str(tree / ".hustings"), "PYTHONUNBUFFERED": "1"}
    log = tree.parent / "output.log"
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], cwd=tree, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
        try:
            code: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _stop(process)
    return code, log.read_text(encoding="utf-8", errors="replace"), time.monotonic() - began


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Ask it to end, which takes down what it started; then kill what is left of its tree, each by its id."""
    if process.poll() is not None:
        return
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE_SECONDS)
    if process.poll() is None:
        process.kill()
        process.wait()
    for child in family:
        with suppress(psutil.NoSuchProcess):
            if child.is_running():
                child.kill()
