"""The sinks keep what they accept before they answer, and misbehave as their plan says."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiosmtplib
import httpx
import pytest

from deploy.demo.mailbox import Mailbox, Watch
from services.notifications.sending.mime import Mail
from services.notifications.sending.sms import SmsGateway
from services.notifications.sending.smtp import Relay, SmtpPool
from tests.faults.journal import Journal, read_journal
from tests.faults.sinks import Plan, Plans, Rule, Sinks, open_sinks
from tests.harness import ROOT

PATIENT_SECONDS = 30.0
"""A busy machine is slow; only who waits for an answer that never comes gives up early."""
HASTY_SECONDS = 3.0


@pytest.fixture
async def sinks(tmp_path: Path) -> AsyncIterator[Sinks]:
    async with open_sinks(tmp_path) as running:
        yield running


def plan(*rules: dict[str, Any], seed: int = 1) -> Plan:
    return Plan.model_validate({"seed": seed, "rules": [{"name": f"rule{n}", **rule} for n, rule in enumerate(rules)]})


def mail_to(recipient: str, number: int = 0) -> Mail:
    message = EmailMessage()
    message["From"] = "hello@mail.openporch.example"
    message["To"] = recipient
    message["Subject"] = "Ya está: confirmada"
    message["Message-ID"] = f"<{number}@mail.openporch.example>"
    message["List-Unsubscribe"] = "<http://127.0.0.1/unsubscribe/x>"
    message.set_content(f"Press https://example.org/confirm/t{number}\n.\nThank you.\n")
    message.add_attachment("BEGIN:VCALENDAR\n", subtype="calendar", filename="call.ics")
    content = message.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return Mail("hello@mail.openporch.example", recipient, content, needs_utf8=False)


def pool(sinks: Sinks, timeout_seconds: float = PATIENT_SECONDS) -> SmtpPool:
    return SmtpPool(Relay("127.0.0.1", sinks.smtp_port, "none", None, None, timeout_seconds))


def timeout_of(rule: dict[str, Any]) -> float:
    return HASTY_SECONDS if rule["act"] == "hang" or rule.get("delay_seconds", 0) > HASTY_SECONDS else PATIENT_SECONDS


async def hand_over(
    sinks: Sinks, recipient: str = "ana@m1.example.org", timeout_seconds: float = PATIENT_SECONDS
) -> Any:
    sender = pool(sinks, timeout_seconds)
    try:
        return await sender.hand_over(mail_to(recipient))
    finally:
        await sender.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def lines(sinks: Sinks, name: str) -> list[dict[str, Any]]:
    return read_journal(sinks.directory / f"{name}.jsonl")


# ---------------------------------------------------------------- journal


async def test_writers_at_the_same_time_share_an_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fdatasync

    def counted(descriptor: int) -> None:
        synced.append(descriptor)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", counted)
    async with Journal(tmp_path / "j.jsonl") as journal:
        await asyncio.gather(*(journal.write(number=n) for n in range(500)))
        assert sorted(line["number"] for line in read_journal(journal.path)) == list(range(500))
    assert len(synced) < 10


async def test_line_is_there_before_its_writer_goes_on(tmp_path: Path) -> None:
    async with Journal(tmp_path / "j.jsonl") as journal:

        async def write(number: int) -> None:
            await journal.write(number=number)
            assert number in [line["number"] for line in read_journal(journal.path)]

        await asyncio.gather(*(write(n) for n in range(40)))


async def test_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"number":1}\n{"numb')
    assert read_journal(path) == [{"number": 1}]
    async with Journal(path) as journal:
        await journal.write(number=2)
    assert [line["number"] for line in read_journal(path)] == [1, 2]


async def test_disk_that_refuses_is_told_to_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    async with Journal(tmp_path / "j.jsonl") as journal:
        monkeypatch.setattr(os, "fdatasync", full)
        with pytest.raises(OSError, match="No space left"):
            await journal.write(number=1)


# ---------------------------------------------------------------- plan


def test_draws_do_not_depend_on_the_order_of_arrival() -> None:
    people = [f"p{n}@example.org" for n in range(400)]

    def taken(order: list[str], seed: int) -> set[str]:
        plans = Plans()
        plans.load(plan({"sink": "smtp", "probability": 0.3, "act": "hang"}, seed=seed))
        return {person for person in order if plans.decide("smtp", "data", person)}

    first = taken(people, 1)
    assert first == taken(people[::-1], 1)
    assert first != taken(people, 2)
    assert 80 < len(first) < 160


def test_rule_takes_the_nth_and_stops_after_its_times() -> None:
    plans = Plans()
    plans.load(plan({"sink": "sms", "after": 2, "every": 3, "times": 2, "act": "close"}))
    assert [plans.decide("sms", "send", "+12025550100") is not None for _ in range(12)] == [
        number in (2, 5) for number in range(12)
    ]


def test_rule_acts_within_its_window_only() -> None:
    now = 100.0
    plans = Plans(clock=lambda: now)
    plans.load(plan({"sink": "webhook", "from_seconds": 10, "until_seconds": 20, "act": "hang"}))
    found = []
    for moment in (105.0, 110.0, 119.9, 120.0):
        now = moment
        found.append(plans.decide("webhook", "send", "/hooks/a") is not None)
    assert found == [False, True, True, False]


def test_rule_may_look_at_the_head_of_a_mail() -> None:
    plans = Plans()
    plans.load(Plan(rules=(Rule(name="bulk", sink="smtp", head="(?mi)^List-Unsubscribe:", stage="data", act="hang"),)))
    heads = ("Subject: a\r\nlist-unsubscribe: <b>", "Subject: List-Unsubscribe: c", "")
    assert [plans.decide("smtp", "data", "ana@example.org", head) is not None for head in heads] == [True, False, False]


def test_first_rule_that_matches_decides() -> None:
    plans = Plans()
    plans.load(
        plan(
            {"sink": "smtp", "to": "ana", "times": 1, "act": "close"},
            {"sink": "smtp", "to": "@example", "act": "hang"},
        )
    )
    acts = [plans.decide("smtp", "data", person) for person in ("ana@example.org", "ana@example.org", "bo@elsewhere")]
    assert [rule and rule.act for rule in acts] == ["close", "hang", None]
    assert [(rule["seen"], rule["used"]) for rule in plans.as_json()["rules"]] == [(2, 1), (1, 1)]


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"sink": "sms", "stage": "rcpt", "act": "hang"}, "the stage of sms is one of send, lookup"),
        ({"sink": "smtp", "act": "answer"}, "give a code with the act"),
        ({"sink": "smtp", "act": "hang", "code": 451}, "give a code with the act"),
        ({"sink": "smtp", "act": "late"}, "give delay_seconds"),
        ({"sink": "smtp", "act": "hang", "to": "("}, "no regular expression"),
    ],
)
def test_bad_rule_gets_one_sentence(rule: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Rule.model_validate({"name": "bad", **rule})


# ---------------------------------------------------------------- SMTP


async def test_mail_is_journaled_whole_before_the_answer(sinks: Sinks) -> None:
    assert (await hand_over(sinks)).outcome == "accepted"
    [line] = lines(sinks, "smtp")
    assert line.pop("at").endswith("+00:00")
    headers = line.pop("headers")
    assert headers["list-unsubscribe"] == "<http://127.0.0.1/unsubscribe/x>"
    assert headers["subject"] == "Ya está: confirmada"
    assert line == {
        "answer": "250",
        "stored": True,
        "message_id": "0@mail.openporch.example",
        "sender": "hello@mail.openporch.example",
        "to": ["ana@m1.example.org"],
        "subject": "Ya está: confirmada",
        "text": "Press https://example.org/confirm/t0\n.\nThank you.\n",
        "attachments": [{"filename": "call.ics", "content_type": "text/calendar", "text": "BEGIN:VCALENDAR\r\n"}],
    }


@pytest.mark.parametrize(
    ("rule", "outcome", "reason", "journaled"),
    [
        ({"stage": "connect", "act": "answer", "code": 421}, "temporary", "smtp_421", None),
        ({"stage": "connect", "act": "close"}, "temporary", None, None),
        ({"stage": "connect", "act": "hang"}, "temporary", "timeout", None),
        ({"stage": "mail", "act": "answer", "code": 451}, "temporary", "smtp_451", None),
        ({"stage": "mail", "act": "close"}, "temporary", None, None),
        ({"stage": "rcpt", "act": "answer", "code": 550}, "rejected", "bounced", None),
        ({"stage": "rcpt", "act": "hang"}, "temporary", "timeout", None),
        ({"stage": "body", "act": "answer", "code": 451}, "temporary", "smtp_451", ("451", False)),
        ({"stage": "body", "act": "close"}, "unknown", None, ("closed", False)),
        ({"stage": "body", "act": "hang"}, "unknown", "timeout", ("none", False)),
        ({"act": "answer", "code": 451}, "temporary", "smtp_451", ("451", False)),
        ({"act": "answer", "code": 552}, "rejected", "smtp_552", ("552", False)),
        ({"act": "hang"}, "unknown", "timeout", ("none", True)),
        ({"act": "close"}, "unknown", None, ("closed", True)),
        ({"act": "late", "delay_seconds": 0.05}, "accepted", None, ("250", True)),
        ({"act": "late", "delay_seconds": 60}, "unknown", "timeout", ("250", True)),
    ],
)
async def test_product_sees_what_the_plan_wants(
    sinks: Sinks, rule: dict[str, Any], outcome: str, reason: str | None, journaled: tuple[str, bool] | None
) -> None:
    sinks.plans.load(plan({"sink": "smtp", **rule}))
    answer = await hand_over(sinks, timeout_seconds=timeout_of(rule))
    assert answer.outcome == outcome, answer
    if reason is not None:
        assert answer.reason == reason
    found = lines(sinks, "smtp")
    assert [(line["answer"], line["stored"]) for line in found] == ([journaled] if journaled else [])
    assert len(sinks.stored) == sum(line["stored"] for line in found)
    if journaled and rule != {"stage": "body", "act": "answer", "code": 451}:
        assert found[0]["message_id"] == "0@mail.openporch.example"


async def test_many_connections_are_served_at_once(sinks: Sinks) -> None:
    sender = pool(sinks)
    gate = asyncio.Semaphore(25)

    async def one(number: int) -> str:
        async with gate:
            return str((await sender.hand_over(mail_to(f"p{number}@m1.example.org", number))).outcome)

    outcomes = await asyncio.gather(*(one(number) for number in range(300)))
    await sender.close()
    assert outcomes == ["accepted"] * 300
    found = lines(sinks, "smtp")
    assert {line["to"][0]: line["message_id"] for line in found} == {
        f"p{n}@m1.example.org": f"{n}@mail.openporch.example" for n in range(300)
    }
    assert sinks.counters() == {"smtp": {"250": 300}, "sms": {}, "webhook": {}, "hanging": 0, "stored": 300}


async def test_whoever_hangs_is_let_go_with_the_plan(sinks: Sinks) -> None:
    sinks.plans.load(plan({"sink": "smtp", "act": "hang"}, {"sink": "sms", "act": "hang"}))
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=sinks.smtp_port, start_tls=False)
    await client.connect()
    sending = asyncio.create_task(client.sendmail("a@example.org", ["b@example.org"], b"Subject: x\r\n\r\ny\r\n"))
    async with httpx.AsyncClient(timeout=20) as http:
        texting = asyncio.create_task(http.post(f"{sinks.url}/sms", json=TEXT))
        await until(lambda: sinks.counts.hanging == 2)
        assert (await http.delete(f"{sinks.url}/plan")).status_code == 204
        with pytest.raises(aiosmtplib.SMTPException):
            await sending
        with pytest.raises(httpx.TransportError):
            await texting
    client.close()
    await until(lambda: sinks.counts.hanging == 0)
    assert [line["answer"] for line in lines(sinks, "smtp")] == ["none"]


# ---------------------------------------------------------------- texts and webhooks

TEXT = {"to": "+12025550100", "from": "+15555550100", "body": "Tomorrow at 18:30", "client_reference": "r1"}


@pytest.mark.parametrize(
    ("rule", "outcome", "reason", "journaled", "looked_up"),
    [
        (None, "accepted", None, ("201", True), "taken"),
        ({"act": "answer", "code": 429, "retry_after_seconds": 7}, "temporary", "http_429", ("429", False), "absent"),
        ({"act": "answer", "code": 503}, "unknown", "http_503", ("503", False), "absent"),
        ({"act": "answer", "code": 500, "stored": True}, "unknown", "http_500", ("500", True), "taken"),
        ({"act": "answer", "code": 400}, "rejected", "http_400", ("400", False), "absent"),
        ({"act": "hang"}, "unknown", "timeout", ("none", True), "taken"),
        ({"act": "close"}, "unknown", None, ("closed", True), "taken"),
        ({"act": "close", "stored": False}, "unknown", None, ("closed", False), "absent"),
        ({"act": "late", "delay_seconds": 0.05}, "accepted", None, ("201", True), "taken"),
    ],
)
async def test_text_provider_does_what_the_plan_wants(
    sinks: Sinks, rule: dict[str, Any] | None, outcome: str, reason: str | None, journaled: tuple[str, bool],
    looked_up: str,
) -> None:  # fmt: skip
    sinks.plans.load(plan({"sink": "sms", **rule}) if rule else Plan())
    seconds = timeout_of(rule) if rule else PATIENT_SECONDS
    sender = SmsGateway(f"{sinks.url}/sms", "+15555550100", None, timeout_seconds=seconds)
    gateway = SmsGateway(f"{sinks.url}/sms", "+15555550100", None, timeout_seconds=PATIENT_SECONDS)
    try:
        answer = await sender.hand_over(TEXT["to"], TEXT["body"], "r1")
        assert (answer.outcome, reason or answer.reason) == (outcome, answer.reason)
        assert answer.retry_after_seconds == (rule or {}).get("retry_after_seconds")
        assert (await gateway.look_up("r1"))[0] == looked_up
        sinks.plans.load(plan({"sink": "sms", "stage": "lookup", "act": "answer", "code": 503}))
        assert (await gateway.look_up("r1"))[0] == "no_answer"
    finally:
        await sender.close()
        await gateway.close()
    [line] = lines(sinks, "sms")
    assert (line["answer"], line["stored"], line["reference"], line["to"], line["body"]) == (
        *journaled, "r1", TEXT["to"], TEXT["body"]
    )  # fmt: skip


async def test_repeated_text_is_stored_twice(sinks: Sinks) -> None:
    async with httpx.AsyncClient() as http:
        for _ in range(2):
            assert (await http.post(f"{sinks.url}/sms", json=TEXT)).status_code == 201
        refused = await http.post(f"{sinks.url}/sms", json={"to": "+12025550100"})
    assert (refused.status_code, "body: Field required" in refused.json()["detail"]) == (422, True)
    assert [line["stored"] for line in lines(sinks, "sms")] == [True, True]


@pytest.mark.parametrize(
    ("rule", "status", "header"),
    [
        (None, 204, None),
        ({"act": "answer", "code": 410}, 410, None),
        ({"act": "answer", "code": 302, "location": "http://127.0.0.1:1/"}, 302, ("Location", "http://127.0.0.1:1/")),
        ({"act": "answer", "code": 429, "retry_after_seconds": 3}, 429, ("Retry-After", "3")),
        ({"act": "close"}, None, None),
        ({"act": "hang"}, None, None),
    ],
)
async def test_webhook_receiver_does_what_the_plan_wants(
    sinks: Sinks, rule: dict[str, Any] | None, status: int | None, header: tuple[str, str] | None
) -> None:
    sinks.plans.load(plan({"sink": "webhook", "to": "/press$", **rule}) if rule else Plan())
    signed = {"webhook-id": "w1", "webhook-timestamp": "1700000000", "webhook-signature": "v1,c2ln"}
    answers: list[int | None] = []
    async with httpx.AsyncClient(timeout=PATIENT_SECONDS) as http:
        for name in ("press", "other"):
            seconds = timeout_of(rule) if rule and name == "press" else PATIENT_SECONDS
            try:
                answer = await http.post(
                    f"{sinks.url}/hooks/{name}", content='{"é":1}'.encode(), headers=signed, timeout=seconds
                )
            except httpx.TransportError:
                answers.append(None)
                continue
            answers.append(answer.status_code)
            if name == "press" and header:
                assert answer.headers[header[0]] == header[1]
    assert answers == [status, 204]
    found = lines(sinks, "webhook")
    assert [
        (line["path"], line["webhook_id"], line["timestamp"], line["signature"], line["body"]) for line in found
    ] == [(f"/hooks/{name}", "w1", "1700000000", "v1,c2ln", '{"é":1}') for name in ("press", "other")]
    kind = {"close": "closed", "hang": "none"}.get((rule or {}).get("act", ""), str(status))
    assert [line["answer"] for line in found] == [kind, "204"]


# ---------------------------------------------------------------- control and reading


async def test_plan_is_given_read_and_refused_over_http(sinks: Sinks) -> None:
    async with httpx.AsyncClient(base_url=sinks.url) as http:
        rule = {"name": "slow", "sink": "smtp", "act": "answer", "code": 451}
        assert (await http.post("/plan", json={"seed": 3, "rules": [rule]})).status_code == 200
        await hand_over(sinks)
        told = (await http.get("/plan")).json()
        assert (told["seed"], told["rules"]) == (3, [{**rule, "seen": 1, "used": 1}])
        refused = await http.post("/plan", json={"rules": [{**rule, "act": "explode"}]})
        assert refused.status_code == 422
        assert refused.json()["detail"].startswith("Correct the plan and send it again: rules.0.act:")
        assert (await http.get("/plan")).json()["seed"] == 3
        assert (await http.get("/counters")).json() == {
            "smtp": {"451": 1}, "sms": {}, "webhook": {}, "hanging": 0, "stored": 0
        }  # fmt: skip


async def test_watch_reads_the_sink_as_it_reads_the_mailbox(sinks: Sinks) -> None:
    sinks.plans.load(plan({"sink": "smtp", "to": "lost", "act": "answer", "code": 451}))
    for recipient in ("Ana@m1.example.org", "lost@m1.example.org"):
        await hand_over(sinks, recipient)
    mailbox = Mailbox(sinks.url)
    watch = Watch(mailbox)
    reading = asyncio.create_task(watch.run())
    try:
        await until(lambda: watch.newest_link("Ana@m1.example.org", "/confirm/") is not None)
        await hand_over(sinks, "bo@m1.example.org")
        await until(lambda: watch.newest_link("bo@m1.example.org", "/confirm/") is not None)
    finally:
        reading.cancel()
    found = await asyncio.to_thread(mailbox.messages)
    assert [(mail["id"], mail["to"], mail["channel"], mail["message_id"]) for mail in found] == [
        ("1", "Ana@m1.example.org", "email", "<0@mail.openporch.example>"),
        ("2", "bo@m1.example.org", "email", "<0@mail.openporch.example>"),
    ]
    assert [mail["id"] for mail in await asyncio.to_thread(mailbox.messages, "ana@M1.example.org")] == ["1"]
    mailbox.close()


def test_process_goes_on_in_its_journals_and_ends_when_told(tmp_path: Path) -> None:
    counts = []
    for _ in range(2):
        ports = tmp_path / "ports.json"
        ports.unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.sinks", "--dir", str(tmp_path), "--ports-file", str(ports)], cwd=ROOT
        )
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            while not ports.exists():
                assert process.poll() is None, "the sinks did not start"
            addresses = json.loads(ports.read_text())
            assert addresses["pid"] == process.pid
            assert httpx.post(addresses["sms"], json=TEXT).status_code == 201
            counts.append(len(httpx.get(f"{addresses['mailbox']}/api/messages").json()))
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            watchdog.cancel()
            if process.poll() is None:
                process.kill()
            process.wait()
    assert counts == [1, 2]
    assert len(read_journal(tmp_path / "sms.jsonl")) == 2
