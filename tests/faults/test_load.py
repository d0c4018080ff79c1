"""The load client writes down what it is about to do, sends again what has no answer, and says what is not settled."""

import asyncio
import datetime as dt
import json
import math
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import typer
from aiohttp import web

from cli.clock import move, move_to
from cli.endpoints import Endpoints
from shared.program import load
from tests.conftest import DatabaseFactory
from tests.faults.journal import Journal, read_journal
from tests.faults.load.crowd import Marks, Planned, arrivals, invented, plan, willing
from tests.faults.load.intake import Intake, Sent, form_fields, hidden_values
from tests.faults.load.run import Run, Settings, latencies, windows
from tests.faults.sinks.smtp import reset_connection
from tests.harness import PROGRAM_2017, PROGRAM_2025

PROGRAM = load(PROGRAM_2025)
MARKS = Marks.of(7, "a")


# ---------------------------------------------------------------- who comes


@pytest.mark.parametrize("path", [PROGRAM_2017, PROGRAM_2025])
def test_crowd_is_the_same_for_a_seed_but_for_its_marks(path: Path) -> None:
    program = load(path)

    def unmarked(planned: list[Planned], marks: Marks) -> str:
        plain = json.dumps([(p.payload, p.via, p.is_mistake, p.twice, p.confirms, p.later) for p in planned])
        return plain.replace(marks.word, "WORD").replace(marks.word.lower(), "word")

    again = Marks.of(7, "b")
    assert MARKS.word != again.word
    first = unmarked(plan(program, 7, 300, MARKS), MARKS)
    assert first == unmarked(plan(program, 7, 300, again), again)
    assert first != unmarked(plan(program, 8, 300, MARKS), MARKS)


def test_every_piece_of_personal_data_is_marked() -> None:
    markers = MARKS.as_list()
    people = [p for p in plan(PROGRAM, 7, 2000, MARKS) if not p.is_mistake]
    for person in people:
        payload = person.payload
        given = [payload["name"], payload["email"], *payload.get("answers", {}).values()]
        given += [payload["phone"]] if "phone" in payload else []
        assert all(any(marker in piece for marker in markers) for piece in given), payload
    assert sum("phone" in p.payload for p in people) > 300


def test_crowd_does_what_crowds_do() -> None:
    people = plan(PROGRAM, 7, 4000, MARKS)
    addresses = Counter(p.email for p in people if not p.is_mistake)
    texters = [p for p in people if any(c["channel"] == "sms" for c in p.payload["consents"])]
    assert {p.via for p in people} == {"json", "page"}
    assert {what for p in people for what in p.later} == {"unsubscribe", "choose", "stop"}
    assert len({p.intent_id for p in people}) == len(people)
    assert all("phone" in p.payload for p in texters)
    for found, share in (
        (sum(p.via == "page" for p in people), 0.09),
        (sum(p.is_mistake for p in people), 0.02),
        (sum(p.twice for p in people), 0.025),
        (sum(p.confirms for p in people), 0.29),
        (len(texters), 0.25),
        (sum(count - 1 for count in addresses.values()), 0.05),
    ):
        assert share / 2 < found / len(people) < share * 2


def test_walkers_are_of_an_age_that_is_endorsed_and_do_everything() -> None:
    for person in invented(PROGRAM, 7, "run", 60, MARKS):
        walker = willing(person, texts="+12025550100")
        assert 1990 <= walker.signup["birth_year"] <= 2001
        assert (walker.confirms, walker.attends, walker.accepts, walker.files) == (True, True, True, True)
        assert [consent["channel"] for consent in walker.signup["consents"]] == ["email", "sms"]


def test_arrivals_are_a_poisson_process_of_the_seed() -> None:
    moments = arrivals(7, 5000, 50)
    gaps = [b - a for a, b in zip([0.0, *moments], moments, strict=False)]
    mean = sum(gaps) / len(gaps)
    deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert moments == arrivals(7, 5000, 50)
    assert moments != arrivals(8, 5000, 50)
    assert mean == pytest.approx(1 / 50, rel=0.1)
    assert deviation == pytest.approx(mean, rel=0.1), "exponential gaps deviate by their mean"
    assert arrivals(7, 3, 0) == [0.0, 0.0, 0.0]


# ---------------------------------------------------------------- a service that fails on purpose

FORM_PAGE = """<form><input type="hidden" name="intent_id" value="from-the-page">
<input type="hidden" name="rendered" value="1.&quot;x"><input name="name"></form>"""


@dataclass
class Service:
    """Answers sign-ups as its script says, then well; remembers what came."""

    journal: Path
    script: list[str] = field(default_factory=list)
    got: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    signups: dict[str, str] = field(default_factory=dict)
    at_once: int = 0
    most_at_once: int = 0
    delay_seconds: float = 0.0
    port: int = 0

    def known_intents(self) -> set[str]:
        return {line["intent"] for line in read_journal(self.journal) if line["kind"] == "intent"}

    async def sign_up(self, request: web.Request) -> web.StreamResponse:
        intent, body = request.headers["Idempotency-Key"], json.loads(await request.read())
        assert intent in self.known_intents(), "an intent is on disk before it is sent"
        self.got.append((intent, body))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.delay_seconds)
        self.at_once -= 1
        what = self.script.pop(0) if self.script else "202"
        if what == "lost":
            # Stored, and the answer never arrives.
            self.signups.setdefault(intent, str(uuid4()))
            assert request.transport is not None
            reset_connection(request.transport)
        if what == "other id":
            return web.json_response({"signup_id": str(uuid4()), "intent_id": intent}, status=202)
        if what == "202":
            signup_id = self.signups.setdefault(intent, str(uuid4()))
            return web.json_response({"signup_id": signup_id, "intent_id": intent}, status=202)
        headers = {"Retry-After": "1"} if what in ("429", "503") else {}
        return web.json_response({"code": f"code_{what}"}, status=500 if what == "lost" else int(what), headers=headers)

    async def show_form(self, _request: web.Request) -> web.StreamResponse:
        if self.script and self.script[0] == "no form":
            self.script.pop(0)
            return web.Response(status=503)
        return web.Response(text=FORM_PAGE, content_type="text/html")

    async def take_form(self, request: web.Request) -> web.StreamResponse:
        sent = await request.post()
        assert sent["intent_id"] in self.known_intents()
        assert request.headers["Origin"] == f"http://127.0.0.1:{self.port}"
        self.got.append((str(sent["intent_id"]), dict(sent)))
        what = self.script.pop(0) if self.script else "303"
        location = {"Location": "/f/run/thank-you?lang=en"} if what == "303" else {}
        return web.Response(status=int(what), headers=location)


@asynccontextmanager
async def serving(service: Service, port: int = 0) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_post("/v1/signups", service.sign_up)
    app.router.add_get("/f/run", service.show_form)
    app.router.add_post("/f/run", service.take_form)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    service.port = runner.addresses[0][1]
    try:
        yield
    finally:
        await runner.cleanup()


@dataclass
class Bench:
    """The client and the service that it sends to."""

    service: Service
    intake: Intake
    journal: Path

    def answers(self) -> list[tuple[str, int | None]]:
        return [(line["outcome"], line["status"]) for line in read_journal(self.journal) if line["kind"] == "answer"]


@asynccontextmanager
async def bench(
    directory: Path, *script: str, patience_seconds: float = 20, delay_seconds: float = 0
) -> AsyncIterator[Bench]:
    path = directory / "load.jsonl"
    service = Service(path, list(script), delay_seconds=delay_seconds)
    async with Journal(path) as journal, serving(service):
        intake = Intake(f"http://127.0.0.1:{service.port}", PROGRAM, journal, patience_seconds=patience_seconds, seed=1)
        try:
            yield Bench(service, intake, path)
        finally:
            await intake.close()


def somebody(*, number: int = 0, **changes: Any) -> Planned:
    people = [p for p in plan(PROGRAM, 7, 40, MARKS) if not p.is_mistake and p.via == "json" and not p.twice]
    return replace(people[number], **changes)


@pytest.mark.parametrize(
    ("script", "journaled"),
    [
        ((), [("ack", 202)]),
        (("503", "429"), [("unknown", 503), ("unknown", 429), ("ack", 202)]),
        (("lost",), [("unknown", None), ("ack", 202)]),
        (("500", "lost", "503"), [("unknown", 500), ("unknown", None), ("unknown", 503), ("ack", 202)]),
    ],
)
async def test_unknown_intent_is_sent_again_until_it_is_acknowledged(
    tmp_path: Path, script: tuple[str, ...], journaled: list[tuple[str, int | None]]
) -> None:
    async with bench(tmp_path, *script) as b:
        sent = await b.intake.submit(somebody())
        assert b.answers() == journaled
        assert (sent.outcome, sent.signup_id) == ("ack", b.service.signups[sent.intent])
        assert {(intent, json.dumps(body)) for intent, body in b.service.got} == {
            (sent.intent, json.dumps(sent.planned.payload))
        }
        assert [line["kind"] for line in read_journal(b.journal)].count("intent") == 1
        assert b.intake.tally.wrong == []


async def test_service_that_is_away_is_waited_for(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    path = tmp_path / "load.jsonl"
    service = Service(path)
    async with Journal(path) as journal:
        intake = Intake(f"http://127.0.0.1:{port}", PROGRAM, journal, patience_seconds=30, seed=1)
        sending = asyncio.create_task(intake.submit(somebody()))
        async with asyncio.timeout(20):
            while not intake.tally.answers:
                await asyncio.sleep(0.01)
        async with serving(service, port):
            assert (await sending).outcome == "ack"
        await intake.close()


async def test_patience_ends_and_the_intent_stays_unknown(tmp_path: Path) -> None:
    async with bench(tmp_path, *["503"] * 50, patience_seconds=1) as b:
        sent = await b.intake.submit(somebody())
        assert sent.outcome == "unknown"
        assert set(b.answers()) == {("unknown", 503)}


async def test_refusal_is_final_and_wrong_only_where_it_was_not_meant(tmp_path: Path) -> None:
    async with bench(tmp_path, "422", "422", "202") as b:
        for mistaken in (True, False, True):
            await b.intake.submit(somebody(is_mistake=mistaken, intent_id=uuid4()))
        assert [outcome for outcome, _status in b.answers()] == ["nack", "nack", "ack"]
        assert [sentence.partition(": ")[2] for sentence in b.intake.tally.wrong] == [
            "nack code_422, though it was filled in well",
            "ack , though it was meant to be refused",
        ]


@pytest.mark.parametrize(("second", "flagged"), [("202", 0), ("other id", 1)])
async def test_double_click_has_to_get_one_sign_up(tmp_path: Path, second: str, flagged: int) -> None:
    async with bench(tmp_path, "202", second) as b:
        await b.intake.submit(somebody(twice=True))
        assert len(b.service.got) == 2
        assert len(b.intake.tally.wrong) == flagged
        assert len(b.intake.tally.sent) == 1


async def test_form_is_opened_and_sent_as_a_browser_does(tmp_path: Path) -> None:
    async with bench(tmp_path, "no form", "503", "303") as b:
        planned = somebody(via="page")
        sent = await b.intake.submit(planned)
        assert (sent.outcome, sent.intent, b.answers()) == ("ack", "from-the-page", [("unknown", 503), ("ack", 303)])
        assert [fields["rendered"] for _intent, fields in b.service.got] == ['1."x'] * 2
        assert b.service.got[0][1]["email"] == planned.email


async def test_arrivals_do_not_wait_for_answers(tmp_path: Path) -> None:
    async with bench(tmp_path, delay_seconds=1.5) as b:
        people = [somebody(intent_id=uuid4()) for _ in range(60)]
        await asyncio.gather(*(b.intake.submit(person) for person in people))
        assert b.service.most_at_once == 60
        assert b.intake.tally.count("ack") == 60


def test_form_holds_what_the_payload_says() -> None:
    fields = form_fields(
        {
            "form": "run",
            "name": "Ana",
            "tracks": ["rural", "women"],
            "language": "en",
            "availability": [{"dow": 1, "start": "18:00", "end": "20:30"}],
            "consents": [{"channel": "sms"}],
            "answers": {"why": "Because."},
            "source": {"ref": "x"},
        },
        PROGRAM,
    )
    assert fields == [
        ("name", "Ana"),
        ("tracks", "rural"),
        ("tracks", "women"),
        ("availability-tue-1-start", "18:00"),
        ("availability-tue-1-end", "20:30"),
        ("consent_text_reminders", "yes"),
        ("q_why", "Because."),
    ]
    assert hidden_values('<input type=hidden name=a value="1 &amp; 2"><input name=b value=3>') == {"a": "1 & 2"}


# ---------------------------------------------------------------- the end of a run


async def test_summary_counts_and_names_what_is_not_settled(tmp_path: Path) -> None:
    async with (
        bench(tmp_path, "202", *["503"] * 50, patience_seconds=0.6) as b,
        Journal(tmp_path / "j.jsonl") as journal,
    ):
        known = Endpoints({"signup": f"http://127.0.0.1:{b.service.port}"}, "", {}, {}, "http://127.0.0.1:1")
        settings = Settings(tmp_path, tmp_path, 7, 2, 0, patience_seconds=0.6)
        this = Run(settings, known, PROGRAM, journal, MARKS)
        this.intake.tally = b.intake.tally
        for _ in range(2):
            await b.intake.submit(somebody(intent_id=uuid4()))
        summary = this.finish()
        await this.close()
    assert (summary.sent, summary.ack, summary.unknown, summary.ok) == (2, 1, 1, False)
    [sentence] = summary.wrong
    assert sentence.endswith("stayed unknown: 503 code_503")
    assert sum(int(window["sent"]) for window in summary.windows) == 2


def test_latencies_are_ranked_and_grouped_by_arrival() -> None:
    every = [Sent(somebody(), str(n), n / 10, "ack", n / 10 + (n + 1) / 1000) for n in range(100)]
    every.append(Sent(somebody(), "x", 9.5, "unknown"))
    assert latencies(every[:100]) == {"p50": 50.0, "p99": 99.0, "max": 100.0}
    assert latencies([]) == {}
    assert [(w["from_seconds"], w["sent"], w["ack"], w["max"]) for w in windows(every)] == [
        (0.0, 50, 50, 50.0),
        (5.0, 51, 50, 100.0),
    ]


async def test_clock_that_was_cut_off_half_way_is_brought_to_one_time(
    databases: DatabaseFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = await databases("signup"), await databases("matching")
    found = {"signup": first.owner_dsn, "matching": second.owner_dsn}
    names = dict.fromkeys(("signup", "matching", "notifications", "endorsement", "mailbox", "kafka"), "-")
    path = tmp_path / "endpoints.json"
    path.write_text(json.dumps({**names, "postgres": found, "postgres_owner": found}))
    monkeypatch.setenv("HUSTINGS_ENDPOINTS", str(path))
    await first.advance_clock(dt.timedelta(hours=2))

    async def off_loop(action: Callable[..., dt.timedelta], span: dt.timedelta) -> dt.timedelta:
        return await asyncio.to_thread(action, span)

    with pytest.raises(typer.Exit):
        await off_loop(move, dt.timedelta(0))
    assert "hustings clock level" in capsys.readouterr().err
    assert await off_loop(move_to, dt.timedelta(hours=1)) == dt.timedelta(hours=2), "never back"
    assert await off_loop(move, dt.timedelta(0)) == dt.timedelta(hours=2)
    assert await off_loop(move_to, dt.timedelta(hours=3)) == dt.timedelta(hours=3)
    assert os.environ["HUSTINGS_ENDPOINTS"] == str(path)
