"""The supervisor and its command line, with real Kafka, PostgreSQL and mailbox, and stand-ins for services."""

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from deploy.embedded.stack import CALLERS
from shared.settings import SERVICES

ROOT = Path(__file__).parents[2]
NAMES = ["postgres", "mailbox", "kafka", *SERVICES]


class Installation:
    """A home of its own and code whose services are stand-ins."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.code = directory / "code"
        for name in SERVICES:
            package = self.code / "services" / name
            package.mkdir(parents=True)
            (package / "__init__.py").touch()
            shutil.copy(Path(__file__).with_name("embedded_fake_service.py"), package / "__main__.py")
        (self.code / "services" / "__init__.py").touch()

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "deploy.embedded", *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                # The kernel's own code is the real one.
                "PYTHONPATH": str(ROOT),
                "HUSTINGS_HOME": str(self.home),
                "HUSTINGS_CODE": str(self.code),
                "HUSTINGS_PROGRAM": str(ROOT / "programs" / "org_2025.toml"),
                "COLUMNS": "200",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )

    def up(self) -> None:
        started = self.run("up")
        assert (started.returncode, started.stderr) == (0, "")

    def read(self, name: str) -> Any:
        return json.loads((self.home / name).read_text())

    def pids(self) -> dict[str, int | None]:
        return {name: child["pid"] for name, child in self.read("state.json")["processes"].items()}

    def processes(self) -> list[psutil.Process]:
        """All that belongs to this home: found by command line or environment, not by the stack's records."""
        found = []
        for process in psutil.process_iter():
            try:
                told = [*process.cmdline(), process.environ().get("HUSTINGS_HOME", "")]
            except psutil.Error:
                continue
            if process.pid != os.getpid() and any(str(self.home) in part for part in told):
                found.append(process)
        return found


@pytest.fixture(scope="module")
def installation(new_home: Callable[[str], Path]) -> Iterator[Installation]:
    installation = Installation(new_home("stack"))
    yield installation
    installation.run("down")


def eventually(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.1)


def test_up_prints_addresses_that_answer(installation: Installation) -> None:
    started = installation.run("up")
    assert (started.returncode, started.stderr) == (0, "")
    endpoints = installation.read("endpoints.json")
    assert sorted(endpoints) == sorted([*SERVICES, "mailbox", "smtp", "sms", "kafka", "postgres", "postgres_owner"])
    for name in (*SERVICES, "mailbox"):
        assert re.search(rf"^{name} +{re.escape(endpoints[name])} *$", started.stdout, re.MULTILINE)
        assert httpx.get(f"{endpoints[name]}/readyz").status_code == 200
    assert sorted(endpoints["postgres"]) == sorted(endpoints["postgres_owner"]) == sorted(SERVICES)


def test_up_again_changes_nothing(installation: Installation) -> None:
    installation.up()
    before = (installation.pids(), installation.read("endpoints.json"))
    again = installation.run("up")
    assert again.returncode == 0
    assert (installation.pids(), installation.read("endpoints.json")) == before
    assert before[1]["signup"] in again.stdout


def test_status_lists_every_process(installation: Installation) -> None:
    installation.up()
    shown = installation.run("status")
    assert shown.returncode == 0
    rows = [line.split() for line in shown.stdout.splitlines()[1:]]
    assert [row[0] for row in rows] == NAMES
    assert {row[2] for row in rows} == {"ready"}


def test_services_get_their_settings_and_no_open_secret(installation: Installation) -> None:
    installation.up()
    endpoints, secrets = installation.read("endpoints.json"), installation.read("secrets.json")
    environments = {name: httpx.get(endpoints[name]).json() for name in SERVICES}
    given = environments["matching"]
    assert given["MATCHING_SIGNUP_URL"] == endpoints["signup"]
    assert given["MATCHING_KAFKA_BOOTSTRAP"] == endpoints["kafka"]
    assert given["MATCHING_PROGRAM"] == str(ROOT / "programs" / "org_2025.toml")
    assert Path(given["MATCHING_DATABASE_URL_FILE"]).read_text() == endpoints["postgres"]["matching"]
    for name, callers in CALLERS.items():
        told = json.loads(environments[name][f"{name.upper()}_INTERNAL_CALLERS"])
        assert {caller: tuple(grant["scopes"]) for caller, grant in told.items()} == dict(callers)
        for caller, grant in told.items():
            path = environments[caller][f"{caller.upper()}_INTERNAL_TOKEN_FILE"]
            assert grant["token_sha256"] == hashlib.sha256(Path(path).read_bytes()).hexdigest()
    holders = [n for n in SERVICES if f"{n.upper()}_SESSION_PRIVATE_KEY_FILE" in environments[n]]
    assert holders == ["signup"]
    private = [secrets["session_private_key"], *endpoints["postgres"].values()]
    private += [value for own in secrets["services"].values() for value in own.values()]
    open_text = json.dumps(environments)
    assert [secret for secret in private if json.dumps(secret)[1:-1] in open_text] == []
    files = [path for path in (installation.home / "secrets").rglob("*") if path.is_file()]
    files += [installation.home / "secrets.json", installation.home / "endpoints.json"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


@pytest.mark.parametrize("name", ["matching", "mailbox", "kafka", "postgres"])
def test_a_process_that_dies_is_restarted_and_counted(installation: Installation, name: str) -> None:
    installation.up()
    before = installation.read("state.json")["processes"][name]
    os.kill(before["pid"], signal.SIGKILL)

    def restarted() -> bool:
        child = installation.read("state.json")["processes"][name]
        return bool(child["state"] == "ready" and child["restarts"] == before["restarts"] + 1)

    eventually(restarted)
    after = installation.read("state.json")["processes"][name]
    assert (after["pid"] == before["pid"], after["address"]) == (False, before["address"])
    log = (installation.home / "logs" / "supervisor.log").read_text()
    deaths = [json.loads(line) for line in log.splitlines() if '"died"' in line]
    assert (deaths[-1]["name"], deaths[-1]["exit_code"]) == (name, -signal.SIGKILL)


def test_up_after_a_killed_supervisor_finds_what_it_left(installation: Installation) -> None:
    installation.up()
    before = installation.pids()
    os.kill(installation.read("state.json")["supervisor"]["pid"], signal.SIGKILL)
    eventually(lambda: installation.run("status").returncode == 1)
    assert "left behind" in installation.run("status").stdout
    installation.up()
    after = installation.pids()
    assert [name for name in NAMES if before[name] == after[name]] == ["postgres", "kafka"]
    running = sorted(process.pid for process in installation.processes() if process.parent() is not None)
    children = {pid for pid in after.values() if pid}
    assert not {pid for pid in before.values() if pid} - children & set(running)


def test_down_after_a_killed_supervisor_stops_everything(installation: Installation) -> None:
    installation.up()
    os.kill(installation.read("state.json")["supervisor"]["pid"], signal.SIGKILL)
    assert installation.run("down").stdout.strip().endswith("Everything is stopped.")
    assert installation.processes() == []


def test_down_stops_in_order_and_up_keeps_data_and_ports(installation: Installation) -> None:
    installation.up()
    endpoints = installation.read("endpoints.json")
    message = {"to": "+15550100", "from": "+15550199", "body": "kept"}
    kept = httpx.post(endpoints["sms"], json=message).json()["id"]
    assert installation.run("down").returncode == 0
    assert installation.processes() == []
    for name in SERVICES:
        last = (installation.home / "logs" / f"{name}.log").read_text().splitlines()[-1]
        assert json.loads(last) == {"event": "ended in order"}
    assert installation.run("down").stdout == "Nothing was running.\n"
    assert installation.run("status").returncode == 1
    installation.up()
    assert installation.read("endpoints.json") == endpoints
    assert httpx.get(f"{endpoints['mailbox']}/api/messages/{kept}").json()["text"] == "kept"


def test_logs_prints_the_end_of_one_log(installation: Installation) -> None:
    installation.up()
    shown = installation.run("logs", "supervisor", "-n", "1")
    assert json.loads(shown.stdout)["event"] == "Everything is ready."
    refused = installation.run("logs", "nobody")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("There is no process 'nobody': choose one of signup, ")


def test_up_says_which_service_died_at_start_and_leaves_nothing(installation: Installation) -> None:
    installation.run("down")
    failed = installation.run("up", FAKE_DIES="endorsement")
    log = installation.home / "logs" / "endorsement.log"
    assert failed.returncode == 1
    assert failed.stderr.startswith(
        f"endorsement ended with 1 while it started; correct what its log {log} says and start again."
    )
    assert failed.stderr.splitlines()[-1] == "the fake service cannot go on"
    assert installation.processes() == []


def test_up_refuses_a_port_that_another_process_holds(installation: Installation) -> None:
    installation.run("down")
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        failed = installation.run("up", "--port", f"signup={port}")
    name = psutil.Process().name()
    assert (failed.returncode, failed.stderr) == (
        1,
        f"Port {port} for signup is taken by process {os.getpid()} ({name}): stop it, or choose another with --port.\n",
    )
    assert installation.processes() == []


def test_up_refuses_a_broken_program(installation: Installation, tmp_path: Path) -> None:
    installation.run("down")
    broken = tmp_path / "broken.toml"
    broken.write_text("[organization\n")
    failed = installation.run("up", HUSTINGS_PROGRAM=str(broken))
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"The program file cannot be used: {broken}:1")
    assert len(failed.stderr.splitlines()) == 1
    missing = installation.run("up", HUSTINGS_PROGRAM=str(tmp_path / "none.toml"))
    assert missing.returncode == 1
    assert str(tmp_path / "none.toml") in missing.stderr
    assert installation.processes() == []


def test_reset_refuses_a_directory_that_is_no_home(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.home.mkdir()
    (installation.home / "precious.txt").write_text("x")
    refused = installation.run("reset", "--yes")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert (installation.home / "precious.txt").read_text() == "x"


def test_reset_stops_and_deletes_everything(installation: Installation) -> None:
    installation.up()
    assert installation.run("reset").stdout.strip().endswith("is deleted.")
    assert installation.processes() == []
    assert not installation.home.exists()
