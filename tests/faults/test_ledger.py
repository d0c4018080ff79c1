"""The ledger is itself tested: no alarm on a clean run, and every seeded corruption of it found by the right check.

The clean run is a real one: a stack, the sinks, the load client. Its topics are archived, and its databases stay with
PostgreSQL once everything else is stopped, so that each corruption is made in a copy of its own.
"""

import base64
import datetime as dt
import json
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from standardwebhooks.webhooks import Webhook
from typer.testing import CliRunner

from cli.ledger import judge, watch
from cli.ledger.app import app
from cli.ledger.checks.webhooks import is_signed
from cli.ledger.errors import BadEvidence
from cli.ledger.evidence import Evidence, open_store
from cli.ledger.report import Check
from cli.ledger.topics import read_file, read_kafka
from deploy.embedded.postgres import Postgres
from deploy.embedded.processes import Process
from tests.conftest import DatabaseFactory
from tests.faults.corruptions import ALL, Copy, Corruption
from tests.faults.corruptions.stops import somebody_else_stops_the_number
from tests.faults.sinks.serving import environment
from tests.flow.conftest import System, running_system
from tests.harness import ROOT

INBOUND_TOKEN = "token-of-the-text-provider"
# A time of day at which texts may arrive from New York to Los Angeles.
NOON = dt.timedelta(hours=17, minutes=30)
SECONDS = 240.0


@dataclass(frozen=True)
class Clean:
    """A finished run: its journals, the archive of its topics, its logs, its databases (owners' addresses)."""

    journals: Path
    topics: Path
    logs: Path
    owner_dsns: dict[str, str]
    admin_dsn: str
    report: dict[str, Any]


@contextmanager
def _sinks(journals: Path, ports: Path) -> Iterator[dict[str, str]]:
    arguments = ("--dir", str(journals), "--ports-file", str(ports))
    process = Process.spawn(
        [sys.executable, "-m", "tests.faults.sinks", *arguments], log=ports.with_suffix(".log"), cwd=ROOT
    )
    try:
        _until(ports.exists, "the sinks to listen")
        yield json.loads(ports.read_text())
    finally:
        process.stop(5)


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {SECONDS:.0f} s in vain for {what}"
        time.sleep(0.1)


def _ledger(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", "ledger", "--endpoints", str(home / "endpoints.json"), *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip


def _walk(system: System, sinks: dict[str, str], journals: Path) -> None:
    """Everybody through the system at midday, with subscriptions, stops and a rescission."""
    now = dt.datetime.now(dt.UTC)
    until_noon = (NOON - (now - now.replace(hour=0, minute=0, second=0, microsecond=0))) % dt.timedelta(days=1)
    system.run("cli", "clock", "advance", f"{int(until_noon.total_seconds() // 60) + 1}m")
    system.run("cli", "ledger", "watch-outbox")
    system.run(
        "tests.faults.load",
        *("--endpoints", str(system.home / "endpoints.json"), "--journals", str(journals), "--seed", "17"),
        *("--people", "40", "--walkers", "10", "--rate", "0", "--mailbox", sinks["mailbox"]),
        *("--webhook", sinks["webhook"].replace("NAME", "clean"), "--inbound-token", INBOUND_TOKEN, "--no-rest"),
        timeout_seconds=480,
    )


def _is_at_rest(home: Path) -> bool:
    """Asked of the ledger itself: nothing is left to be done."""
    done = _ledger(home, "--json")
    assert done.returncode in (0, 1), done.stderr
    return not next(c for c in json.loads(done.stdout)["checks"] if c["check"] == "L13")["violations"]


@pytest.fixture(scope="session")
def clean(new_home: Callable[[str], Path]) -> Iterator[Clean]:
    """The run, checked by the command as an operator gives it; then only its PostgreSQL goes on."""
    place = new_home("ledger")
    home, journals, topics = place / "stack", place / "journals", place / "topics.jsonl"
    with _sinks(journals, place / "sinks.json") as sinks:
        variables = {**environment(sinks), "NOTIFICATIONS_SMS_INBOUND_TOKEN": INBOUND_TOKEN}
        with running_system(home, **variables) as system:
            _walk(system, sinks, journals)
            _until(lambda: _is_at_rest(home), "the system to be at rest")
            done = _ledger(home, "--journals", str(journals), "--archive", str(topics), "--require-all", "--json")
            assert done.stdout, done.stderr
            report = json.loads(done.stdout)
            owner_dsns = system.endpoints["postgres_owner"]
            from_kafka = list(read_kafka(system.endpoints["kafka"]))
    # Partitions come as the broker sends them; each is in its own order.
    assert sorted(map(repr, read_file(topics))) == sorted(map(repr, from_kafka))
    postgres = Postgres(home / "postgres").start()
    try:
        netloc = urlsplit(postgres.admin_dsn).netloc.rpartition("@")[2]
        moved = {
            service: urlunsplit(urlsplit(dsn)._replace(netloc=f"{urlsplit(dsn).netloc.rpartition('@')[0]}@{netloc}"))
            for service, dsn in owner_dsns.items()
        }
        yield Clean(journals, topics, home / "logs", moved, postgres.admin_dsn, report)
    finally:
        postgres.stop()


@contextmanager
def _copy(clean: Clean, place: Path) -> Iterator[Copy]:
    journals, logs = place / "journals", place / "logs"
    shutil.copytree(clean.journals, journals)
    shutil.copytree(clean.logs, logs)
    topics = place / "topics.jsonl"
    shutil.copy(clean.topics, topics)
    name = f"copy_{time.monotonic_ns()}"

    with psycopg.connect(clean.admin_dsn, autocommit=True) as admin:

        def clone(service: str) -> str:
            database = f"{service}_{name}"
            admin.execute(f'CREATE DATABASE "{database}" TEMPLATE "{service}" OWNER "{service}_owner"'.encode())
            return urlunsplit(urlsplit(clean.owner_dsns[service])._replace(path=f"/{database}"))

        copy = Copy(clone, dict(clean.owner_dsns), journals, topics, logs)
        try:
            yield copy
        finally:
            for service in copy.cloned:
                admin.execute(f'DROP DATABASE "{service}_{name}" WITH (FORCE)'.encode())


def _judge(copy: Copy, *, at_rest: bool = True, journals: bool = True) -> dict[str, Check]:
    sources = judge.Sources(
        copy.owner_dsns,
        lambda: read_file(copy.topics),
        copy.journals if journals else None,
        sorted(copy.logs.glob("*.log")),
        at_rest,
    )
    evidence = judge.gather(sources, ":memory:", lambda _: None)
    try:
        return {check.name: check for check in judge.judge(evidence, lambda _: None)}
    finally:
        judge.close(evidence)


def test_ledger_raises_no_alarm_on_a_clean_run(clean: Clean) -> None:
    assert {c["check"]: (c["verdict"], c["not_checked"], c["violations"]) for c in clean.report["checks"]} == {
        f"L{number}": ("holds", [], []) for number in range(1, 15)
    }


def test_ledger_compares_something_in_every_check(clean: Clean) -> None:
    idle = [c["check"] for c in clean.report["checks"] if not any(part["number"] for part in c["compared"])]
    assert idle == []


@pytest.mark.parametrize("corruption", ALL, ids=[corruption.name for corruption in ALL])
def test_ledger_finds_the_corruption(clean: Clean, tmp_path: Path, corruption: Corruption) -> None:
    with _copy(clean, tmp_path) as copy:
        offender = corruption.make(copy)
        checks = _judge(copy)
    violated = {name: check.violations for name, check in checks.items() if check.violations}
    assert set(violated) == {corruption.check, *corruption.also}, violated
    said = [f"{violation.id} {violation.what}" for violation in violated[corruption.check]]
    assert any(offender in one for one in said), said


def test_ledger_takes_a_choice_on_a_page_for_one_persons_own(clean: Clean, tmp_path: Path) -> None:
    """Others of the household gave the same number, and still get their texts there."""
    with _copy(clean, tmp_path) as copy:
        somebody_else_stops_the_number(copy, by="choose")
        chose = copy.lines("load.jsonl")[-1]
        copy.run(
            "notifications",
            "INSERT INTO suppressions (channel, scope, reason, person_id, since) "
            f"VALUES ('sms', 'all', 'preference', '{chose['person_id']}', '{chose['at']}')",
        )
        checks = _judge(copy)
    assert {name for name, check in checks.items() if check.violations} == set()


def test_ledger_says_what_it_cannot_check_without_journals(clean: Clean, tmp_path: Path) -> None:
    with _copy(clean, tmp_path) as copy:
        checks = _judge(copy, journals=False)
    assert {name: check.verdict for name, check in checks.items()} == {
        **dict.fromkeys((f"L{number}" for number in range(1, 15)), "holds"),
        **dict.fromkeys(("L1", "L2", "L8", "L9", "L10", "L11", "L14"), "holds in part"),
        "L7": "not checked",
    }


def test_ledger_of_a_running_system_checks_what_holds_at_any_time(clean: Clean, tmp_path: Path) -> None:
    with _copy(clean, tmp_path) as copy:
        checks = _judge(copy, at_rest=False)
    assert {name: check.verdict for name, check in checks.items()} == {
        **dict.fromkeys((f"L{number}" for number in range(1, 15)), "holds in part"),
        **dict.fromkeys(("L2", "L4", "L6", "L8", "L14"), "holds"),
        "L13": "not checked",
    }


def test_ledger_without_watch_goes_by_the_counters(clean: Clean, tmp_path: Path) -> None:
    with _copy(clean, tmp_path) as copy:
        copy.run("matching", "DROP TABLE ledger_outbox, ledger_streams CASCADE")
        checks = _judge(copy)
    assert (checks["L3"].verdict, len(checks["L3"].not_checked)) == ("holds in part", 1)


def _put(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda copy: shutil.rmtree(copy.journals), "There is no directory"),
        (lambda copy: [path.unlink() for path in copy.journals.iterdir()], "holds none of the journals"),
        (lambda copy: _put(copy.journals / "load.jsonl", "{}\nnonsense\n"), "is of kind None"),
        (lambda copy: _put(copy.journals / "sms.jsonl", "nonsense\n"), "line 1 is not a JSON object"),
        (lambda copy: _put(copy.journals / "smtp.jsonl", '{"at": "noon"}\n'), "lacks 'message_id'"),
        (lambda copy: _put(copy.topics, "nonsense\n"), "line 1 is not a line of an archive"),
        (lambda copy: copy.topics.unlink(), "There is no file"),
        (lambda copy: copy.owner_dsns.pop("signup"), "names no database of signup"),
        (lambda copy: copy.run("signup", "ALTER TABLE streams RENAME TO s"), "is not one that the ledger knows"),
        (lambda copy: copy.owner_dsns.update(signup="postgresql://x@127.0.0.1:1/x"), "does not answer"),
    ],
)
def test_ledger_names_bad_evidence(
    clean: Clean, tmp_path: Path, spoil: Callable[[Copy], object], sentence: str
) -> None:
    with _copy(clean, tmp_path) as copy:
        spoil(copy)
        with pytest.raises(BadEvidence, match=sentence):
            _judge(copy)


def test_ledger_leaves_out_a_torn_last_line(clean: Clean, tmp_path: Path) -> None:
    with _copy(clean, tmp_path) as copy:
        with (copy.journals / "load.jsonl").open("a") as journal:
            journal.write('{"kind": "intent", "inte')
        checks = _judge(copy)
    assert {name for name, check in checks.items() if check.violations} == set()


async def test_watch_outbox_copies_what_waits_and_what_the_service_appends(databases: DatabaseFactory) -> None:
    database = await databases("signup")
    row = "INSERT INTO outbox (shard, topic, key, event_id, headers) VALUES (0, 'signup.people', '{}', '{}', '[]')"
    waiting, appended = (str(uuid.uuid4()) for _ in range(2))
    await database.execute(row.format("before", waiting))
    await database.execute("INSERT INTO streams VALUES ('signup.people', 'before', 1)")
    owners = {"signup": database.owner_dsn}
    assert watch.install(owners) == ["signup"]
    assert watch.install(owners) == []
    with psycopg.connect(database.dsn) as service:
        service.execute(row.format("after", appended).encode())
        service.execute("DELETE FROM outbox")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            service.execute("DROP TABLE ledger_outbox")
        service.rollback()
        service.execute(row.format("after", appended).encode())
        service.execute("DELETE FROM outbox")
    copies = await database.fetch("SELECT key, event_id::text FROM ledger_outbox ORDER BY at")
    assert copies == [("before", waiting), ("after", appended)]
    assert await database.fetch("SELECT * FROM ledger_streams") == [("signup.people", "before", 1)]
    assert watch.remove(owners) == ["signup"]
    assert watch.remove(owners) == []
    with psycopg.connect(database.dsn) as service:
        service.execute(row.format("after", appended).encode())


@pytest.mark.parametrize(
    ("at", "skew"),
    [(97.0, 0.0), (100.5, 360.0), (101.9, 360.0), (103.0, 0.0), (461.0, 0.0), (860.5, 40.0), (901.0, 0.0)],
)
def test_clocks_may_differ_by_a_move_that_is_under_way(at: float, skew: float) -> None:
    evidence = Evidence(open_store(":memory:"), at_rest=True)
    try:
        evidence.insert("moves", [(100.0, 0.0), (101.0, 360.0), (500.0, 360.0), (501.0, 400.0)])
        assert evidence.skew(at) == skew
    finally:
        evidence.db.close()


def test_signature_is_judged_as_the_standard_has_it() -> None:
    secret = "whsec_" + base64.b64encode(b"thirty-two bytes of a secret.....").decode()
    at = dt.datetime(2027, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    signed = Webhook(secret).sign("msg_1", at, '{"a": 1}')
    timestamp = str(int(at.timestamp()))
    assert is_signed(secret, "msg_1", timestamp, '{"a": 1}', f"v1,AAAA {signed}")
    assert not is_signed(secret, "msg_2", timestamp, '{"a": 1}', signed)
    assert not is_signed(secret, "msg_1", timestamp, '{"a": 2}', signed)
    assert not is_signed("whsec_???", "msg_1", timestamp, '{"a": 1}', signed)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--endpoints", "{place}/none.json"], "is missing: run `make up` first"),
        (["--endpoints", "{place}/bad.json"], "does not name `kafka` and `postgres_owner`"),
        (["--store", "{place}/bad.json"], "is there already: give --store the name of a new file"),
        (["--topics", "a", "--archive", "b"], "leave out --topics, or --archive"),
        (
            ["--endpoints", "{place}/away.json"],
            "does not answer (",
        ),
        (["--endpoints", "{place}/away.json", "--logs", "{place}/none"], "give --logs one that holds *.log files"),
        (["watch-outbox", "--endpoints", "{place}/none.json"], "is missing: run `make up` first"),
    ],
)
def test_command_ends_with_a_sentence_when_it_cannot_judge(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    (tmp_path / "bad.json").write_text("{}")
    (tmp_path / "away.json").write_text('{"kafka": "127.0.0.1:1", "postgres_owner": {}}')
    done = CliRunner().invoke(app, [argument.format(place=tmp_path) for argument in arguments])
    assert (done.exit_code, sentence in done.stderr, done.stdout) == (2, True, "")
