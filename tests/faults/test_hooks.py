"""Every kill point has its function, kills once, and is nowhere in the product."""

import importlib
import inspect
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared.settings import SERVICES
from tests.faults.hooks import sitecustomize as hooks
from tests.faults.hooks.sitecustomize import POINTS, Point
from tests.harness import ROOT

HOOKS = ROOT / "tests" / "faults" / "hooks"


def run_python(code: str, faults: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """A Python with the hooks on its path, told by its command line that it is the service signup."""
    return subprocess.run(
        [sys.executable, "-c", code, "-m", "services.signup", "all"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(HOOKS), "HUSTINGS_FAULTS_DIR": str(faults), **changes},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_points_are_at_least_twenty_and_named_once() -> None:
    assert len(POINTS) >= 20
    assert len({point.name for point in POINTS}) == len(POINTS)
    assert {service for point in POINTS for service in point.services} == set(SERVICES)


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_point_has_its_function(point: Point) -> None:
    _owner, _name, function = hooks.find(importlib.import_module(point.module), point)
    assert inspect.iscoroutinefunction(function)


def test_armed_point_kills_the_process_once(tmp_path: Path) -> None:
    code = """
import asyncio
from shared.relay import Relay
asyncio.run(Relay._send(None, None, []))
"""
    (tmp_path / "relay.before_send.signup").touch()
    killed = run_python(code, tmp_path)
    again = run_python(code, tmp_path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert again.returncode == 1, "the product's own complaint about a producer that is none"
    fired = [json.loads(line) for line in (tmp_path / "fired.jsonl").read_text().splitlines()]
    assert [(line["point"], line["service"]) for line in fired] == [("relay.before_send", "signup")]
    assert not (tmp_path / "relay.before_send.signup").exists()


def test_batch_without_events_for_the_service_is_passed(tmp_path: Path) -> None:
    """A process that dies with nothing in its hands proves nothing."""
    code = """
import asyncio
from shared.inbox import Inbox

class Batch(list):
    def __iter__(self):
        return iter(())

asyncio.run(Inbox._handle(None, None, Batch(EVENTS)))
"""
    (tmp_path / "consumer.in_transaction.signup").touch()
    empty = run_python(code.replace("EVENTS", "[]"), tmp_path)
    assert empty.returncode == 0, empty.stderr
    full = run_python(code.replace("EVENTS", "['an event that no handler sees']"), tmp_path)
    assert full.returncode == -signal.SIGKILL, full.stderr


def test_point_armed_for_another_service_is_passed(tmp_path: Path) -> None:
    (tmp_path / "relay.before_send.matching").touch()
    done = run_python(
        "import asyncio\nfrom shared.relay import Relay\nasyncio.run(Relay._send(None, None, []))", tmp_path
    )
    assert done.returncode == 1
    assert (tmp_path / "relay.before_send.matching").exists()


def test_point_whose_function_has_gone_ends_the_process_at_its_start(tmp_path: Path) -> None:
    gone = Point("gone", "shared.relay:Relay._nothing", "before", "", ("signup",))
    with pytest.raises(SystemExit, match=r"gone: shared.relay:Relay._nothing does not exist any more"):
        hooks.find(importlib.import_module("shared.relay"), gone)
    code = f"""
import sitecustomize as hooks
point = hooks.Point("gone", "shared.outbox:nothing", "before", "", ("signup",))
import sys
sys.meta_path.insert(0, hooks._Finder(hooks.Trap({str(tmp_path)!r}, "signup"), [point]))
import shared.outbox
print("went on")
"""
    done = run_python(code, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "shared.outbox:nothing does not exist any more" in done.stderr


def test_without_the_variable_nothing_is_wrapped(tmp_path: Path) -> None:
    code = "from shared.relay import Relay\nprint(hasattr(Relay._send, '__wrapped__'))"
    assert run_python(code, tmp_path).stdout == "True\n"
    assert run_python(code, tmp_path, HUSTINGS_FAULTS_DIR="").stdout == "False\n"


def test_product_does_not_mention_the_hooks() -> None:
    mentions = [
        str(path.relative_to(ROOT))
        for folder in ("shared", "services", "cli", "deploy", "programs")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix in {".py", ".toml", ".sql", ".sh", ".yaml", ".yml", ".txt", ""}
        if any(word in path.read_text(encoding="utf-8", errors="replace") for word in MENTIONS)
    ]
    assert mentions == []


MENTIONS = ("HUSTINGS_FAULTS", "tests.faults", "tests/faults", "sitecustomize")
