"""The mailbox: nothing acknowledged is lost, everything received can be read, nothing received runs."""

import asyncio
import base64
import re
import signal
import smtplib
import sqlite3
import sys
import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.embedded.mail_store import Arrival, MailStore, now, parse_mail, text_message
from deploy.embedded.processes import Process, choose_port


class Mailbox:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.smtp_port = choose_port()
        self.http_port = choose_port(taken=frozenset({self.smtp_port}))
        self.url = f"http://127.0.0.1:{self.http_port}"

    def start(self) -> None:
        ports = ["--smtp-port", str(self.smtp_port), "--http-port", str(self.http_port)]
        argv = [sys.executable, "-m", "deploy.embedded.mailbox", *ports, "--dir", str(self.directory)]
        log = self.directory / "mailbox.log"
        self.process = Process.spawn(argv, log=log, cwd=Path(__file__).parents[2])
        deadline = time.monotonic() + 20
        while True:
            try:
                assert httpx.get(f"{self.url}/readyz").status_code == 200
                break
            except httpx.TransportError:
                assert self.process.running(), log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)

    def send(self, mail: EmailMessage, *recipients: str) -> None:
        with smtplib.SMTP("127.0.0.1", self.smtp_port) as client:
            client.send_message(mail, "bounces@example.org", recipients)

    def get(self, path: str, **query: Any) -> Any:
        return httpx.get(f"{self.url}{path}", params=query).raise_for_status().json()


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[Mailbox]:
    mailbox = Mailbox(tmp_path)
    mailbox.start()
    yield mailbox
    mailbox.process.stop(10)


def invitation() -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = "Campaign School <school@example.org>"
    mail["To"] = "José Niño <jose@example.org>"
    mail["Subject"] = "Tu llamada — mañana"
    mail["Message-ID"] = "<call-1@example.org>"
    mail["List-Unsubscribe"] = "<https://example.org/u/1>"
    mail.set_content("Confirma: https://example.org/c/abc.\nGracias")
    mail.add_alternative(
        '<p>Hola <a href="https://example.org/c/abc?x=1&amp;y=2">sí</a></p><script>alert(1)</script>',
        subtype="html",
    )
    mail.add_attachment("BEGIN:VCALENDAR", subtype="calendar", filename="call.ics")
    mail.add_attachment(b"\x00\xffpdf", maintype="application", subtype="pdf", filename="guide.pdf")
    return mail


def test_mailbox_gives_one_whole_entry_per_recipient(mailbox: Mailbox) -> None:
    mailbox.send(invitation(), "jose@example.org", "Ana@Example.org")
    first, second = mailbox.get("/api/messages")
    assert [first["to"], second["to"]] == ["jose@example.org", "Ana@Example.org"]
    received_at = first.pop("received_at")
    assert received_at.endswith("+00:00")
    headers = first.pop("headers")
    assert headers["List-Unsubscribe"] == "<https://example.org/u/1>"
    calendar = {"filename": "call.ics", "content_type": "text/calendar", "size": 17}
    pdf = {"filename": "guide.pdf", "content_type": "application/pdf", "size": 5}
    assert first == {
        "id": "1",
        "channel": "email",
        "to": "jose@example.org",
        "from": "Campaign School <school@example.org>",
        "subject": "Tu llamada — mañana",
        "text": "Confirma: https://example.org/c/abc.\nGracias\n",
        "html": '<p>Hola <a href="https://example.org/c/abc?x=1&amp;y=2">sí</a></p><script>alert(1)</script>\n',
        "attachments": [
            {**calendar, "content": "BEGIN:VCALENDAR\r\n"},
            {**pdf, "content": base64.b64encode(b"\x00\xffpdf").decode()},
        ],
        "message_id": "<call-1@example.org>",
    }
    assert mailbox.get("/api/messages/1") == {**first, "headers": headers, "received_at": received_at}


def test_mailbox_lists_by_recipient_and_cursor(mailbox: Mailbox) -> None:
    for number in range(5):
        mail = EmailMessage()
        mail["Subject"] = str(number)
        mail.set_content("x")
        mailbox.send(mail, "even@example.org" if number % 2 == 0 else "odd@example.org")

    def subjects(**query: Any) -> list[str]:
        return [message["subject"] for message in mailbox.get("/api/messages", **query)]

    assert subjects() == ["0", "1", "2", "3", "4"]
    assert subjects(to="EVEN@example.org") == ["0", "2", "4"]
    assert subjects(limit=2) == ["3", "4"]
    assert subjects(after=0, limit=2) == ["0", "1"]
    assert subjects(after=2) == ["2", "3", "4"]
    assert subjects(to="odd@example.org", after=2) == ["3"]
    assert subjects(to="nobody@example.org") == []


def test_mailbox_killed_right_after_the_answer_keeps_the_mail(mailbox: Mailbox) -> None:
    mailbox.send(invitation(), "jose@example.org")
    mailbox.process.send(signal.SIGKILL)
    assert mailbox.process.wait(5)
    mailbox.start()
    assert [message["to"] for message in mailbox.get("/api/messages")] == ["jose@example.org"]


def test_mailbox_takes_a_repeated_text_message_once(mailbox: Mailbox) -> None:
    text = {"to": "+15550100", "from": "+15550199", "body": "Reply STOP to stop", "client_reference": "m-1"}
    first = httpx.post(f"{mailbox.url}/sms", json=text)
    again = httpx.post(f"{mailbox.url}/sms", json=text)
    assert (first.status_code, first.json()) == (201, {"id": "1", "status": "accepted"})
    assert (again.status_code, again.json()) == (201, first.json())
    assert mailbox.get("/sms", client_reference="m-1") == first.json()
    assert httpx.get(f"{mailbox.url}/sms", params={"client_reference": "m-2"}).status_code == 404
    (message,) = mailbox.get("/api/messages", to="+15550100")
    assert (message["channel"], message["from"], message["text"]) == ("sms", "+15550199", "Reply STOP to stop")
    assert httpx.post(f"{mailbox.url}/sms", json={"to": "+15550100"}).status_code == 422


def test_mailbox_emptied_still_knows_the_references(mailbox: Mailbox) -> None:
    text = {"to": "+15550100", "from": "+15550199", "body": "one", "client_reference": "m-1"}
    httpx.post(f"{mailbox.url}/sms", json=text)
    assert httpx.delete(f"{mailbox.url}/api/messages").status_code == 204
    assert mailbox.get("/api/messages") == []
    assert httpx.post(f"{mailbox.url}/sms", json=text).json()["id"] == "1"
    assert mailbox.get("/api/messages") == []
    mailbox.send(invitation(), "jose@example.org")
    assert [message["id"] for message in mailbox.get("/api/messages")] == ["2"]


def test_mailbox_page_shows_a_mail_and_runs_none_of_it(mailbox: Mailbox) -> None:
    mailbox.send(invitation(), "jose@example.org")
    page = httpx.get(f"{mailbox.url}/messages/1")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script" not in page.text
    assert re.findall(r'<iframe title="[^"]+" sandbox="" srcdoc="&lt;p&gt;Hola', page.text) != []
    assert re.findall(r'<li><a href="([^"]+)" rel', page.text) == [
        "https://example.org/c/abc",
        "https://example.org/c/abc?x=1&amp;y=2",
    ]
    calendar = httpx.get(f"{mailbox.url}/messages/1/attachments/0")
    assert calendar.headers["content-disposition"] == 'attachment; filename="call.ics"'
    assert calendar.content == b"BEGIN:VCALENDAR\r\n"
    raw = httpx.get(f"{mailbox.url}/messages/1/raw")
    assert parse_mail(raw.content)["message_id"] == "<call-1@example.org>"


def test_mailbox_page_searches_and_turns_pages(mailbox: Mailbox) -> None:
    store = MailStore(mailbox.directory)

    async def fill() -> None:
        await asyncio.gather(*(store.add(sms(f"+1555{number:04}")) for number in range(60)))

    asyncio.run(fill())

    def ids(path: str) -> list[int]:
        return [int(found) for found in re.findall(r'href="/messages/(\d+)"', httpx.get(mailbox.url + path).text)]

    assert ids("/") == list(range(60, 10, -1))
    older = re.search(r'href="(/\?[^"]+before=[^"]+)"', httpx.get(mailbox.url).text)
    assert older is not None
    assert ids(older.group(1).replace("&amp;", "&")) == list(range(10, 0, -1))
    assert len(ids("/?to=%2B1555001")) == 10
    assert "No messages to “&lt;b&gt;”" in httpx.get(f"{mailbox.url}/?to=<b>").text


def sms(to: str, reference: str | None = None) -> Arrival:
    return Arrival("sms", "+1", (to,), text_message("+1", "hello"), now(), client_reference=reference)


async def test_mail_store_shares_one_commit_among_those_who_wait(tmp_path: Path) -> None:
    store = MailStore(tmp_path)
    commits = 0
    write = store._write

    def counted(arrivals: list[Arrival]) -> list[list[int]]:
        nonlocal commits
        commits += 1
        return write(arrivals)

    store._write = counted  # type: ignore[method-assign]
    ids = await asyncio.gather(*(store.add(sms("+1", f"r-{number % 50}")) for number in range(100)))
    assert ids[:50] == ids[50:]
    assert store.count() == 50
    assert commits <= 2


async def test_mail_store_passes_on_that_the_disk_refused(tmp_path: Path) -> None:
    store = MailStore(tmp_path)
    with sqlite3.connect(tmp_path / "mailbox.sqlite3") as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON messages BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    connection.close()
    with pytest.raises(sqlite3.Error, match="disk full"):
        await store.add(sms("+1"))
    assert store.count() == 0


def test_parse_mail_keeps_what_no_parser_understands() -> None:
    parsed = parse_mail(b"Content-Type: text/plain; charset=no-such\r\nSubject: =?broken?=\r\n\r\nhi \xff\r\n")
    assert (parsed["subject"], parsed["text"]) == ("=?broken?=", "hi �\n")


def test_parse_mail_reads_raw_utf8_and_folded_headers() -> None:
    parsed = parse_mail("From: José <j@example.org>\r\nSubject: one\r\n two\r\n\r\nx".encode())
    assert (parsed["from"], parsed["subject"]) == ("José <j@example.org>", "one two")
