"""A crowd goes through while every process of the stack is killed, one after another, at seeded moments."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.flow.conftest import LOCAL_WEBHOOKS, System, running_system
from tests.flow.topics import at_rest
from tests.harness import ROOT

VICTIMS = ("signup", "matching", "notifications", "endorsement", "kafka", "mailbox", "postgres")
PROSPECTS, VOLUNTEERS, SEED = 60, 10, 2017
# Two copies at most, where an answer was lost and the class allows one repeat.
MOST_COPIES = {"link": 2, "transactional": 2, "bulk": 1}


@dataclass(frozen=True, slots=True)
class Survived:
    """A stack after the killing: what the demo said, and who was killed while it ran."""

    system: System
    output: str
    exit_code: int
    killed: list[str]


def processes_of(home: Path) -> dict[str, dict[str, Any]]:
    """The stack's processes as its supervisor records them."""
    found: dict[str, dict[str, Any]] = json.loads((home / "state.json").read_text())["processes"]
    return found


def kill(home: Path, name: str) -> None:
    """`kill -9` the stack's own process of that name, if it is still the recorded one."""
    recorded = processes_of(home)[name]
    process = psutil.Process(recorded["pid"])
    assert process.is_running()
    os.kill(process.pid, signal.SIGKILL)


def wait_for_restart(home: Path, name: str, deadline: float) -> None:
    """Poll the supervisor's record until the process runs again and is ready."""
    while True:
        now = processes_of(home)[name]
        if now["restarts"] > 0 and now["state"] == "ready":
            return
        assert time.monotonic() < deadline, f"{name} did not come back: {now}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def survived(new_home: Callable[[str], Path]) -> Iterator[Survived]:
    """The demo on a stack of its own, with the killing."""
    rng = random.Random(SEED)
    # A shuffled round over all of them; Kafka and PostgreSQL take longest to come back.
    victims = rng.sample(VICTIMS, len(VICTIMS))
    with running_system(new_home("killed"), **LOCAL_WEBHOOKS) as system:
        deadline = time.monotonic() + 300
        log = system.home / "demo.log"
        with log.open("w") as output:
            demo = subprocess.Popen(
                [
                    *(sys.executable, "-m", "deploy.demo", "--seed", str(SEED)),
                    *("--prospects", str(PROSPECTS), "--volunteers", str(VOLUNTEERS)),
                ],
                cwd=ROOT,
                env={**os.environ, "HUSTINGS_HOME": str(system.home)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        killed = []
        try:
            # Before the first sign-up there is nothing to lose, and staff's accounts are made by a command.
            while demo.poll() is None and not asyncio.run(system.fetch("signup", "SELECT 1 FROM signups LIMIT 1")):
                time.sleep(0.1)
            for name in victims:
                try:
                    demo.wait(rng.uniform(1, 3))
                    break
                except subprocess.TimeoutExpired:
                    kill(system.home, name)
                    killed.append(name)
            exit_code = demo.wait(max(1.0, deadline - time.monotonic()))
            for name in killed:
                wait_for_restart(system.home, name, deadline)
        finally:
            if demo.poll() is None:
                demo.kill()
                demo.wait()
        yield Survived(system, log.read_text(), exit_code, killed)


async def test_demo_survives_the_death_of_every_process(survived: Survived) -> None:
    assert survived.exit_code == 0, survived.output
    assert sorted(survived.killed) == sorted(VICTIMS), "the crowd was through before everybody was killed"
    assert "endorsement.endorsed.v1" in survived.output


async def test_nothing_is_left_behind(survived: Survived) -> None:
    # What was under way when its sender died is settled within the hour; texts wait for the morning.
    await survived.system.command("clock", "advance", "24h")
    await at_rest(survived.system, seconds=120)


async def test_every_acknowledged_signup_is_stored(survived: Survived) -> None:
    """The demo goes on only when each of its sign-ups was acknowledged."""
    rows = await survived.system.fetch(
        "signup", "SELECT form, count(*), count(DISTINCT intent_id), count(DISTINCT person_id) FROM signups GROUP BY 1"
    )
    assert sorted(rows) == [("run", PROSPECTS, PROSPECTS, PROSPECTS), ("volunteer", VOLUNTEERS, VOLUNTEERS, VOLUNTEERS)]


async def test_nobody_gets_more_copies_than_the_class_allows(survived: Survived) -> None:
    await at_rest(survived.system, seconds=120)
    planned = {
        str(message_id): (template, delivery)
        for message_id, template, delivery in await survived.system.fetch(
            "notifications", "SELECT id, template, delivery FROM messages WHERE channel = 'email'"
        )
    }
    mails = [mail for mail in survived.system.mailbox.messages() if mail["channel"] == "email"]
    copies = Counter(mail["message_id"].strip("<>").partition("@")[0] for mail in mails)
    assert set(copies) <= set(planned)
    too_many = {
        planned[message_id]: count
        for message_id, count in copies.items()
        if count > MOST_COPIES[planned[message_id][1]]
    }
    assert too_many == {}
    repeated = sum(count - 1 for count in copies.values())
    assert repeated < len(copies) / 10, "copies are for lost answers, and few answers were lost"
    accepted = {
        str(row[0])
        for row in await survived.system.fetch(
            "notifications", "SELECT id FROM messages WHERE channel = 'email' AND state = 'accepted'"
        )
    }
    assert accepted <= set(copies)
