"""`python -m services.notifications.operator`, as an operator runs it through `hustings messages`."""

import os
import subprocess
import sys
from typing import Any
from uuid import UUID, uuid4

import pytest
from typer.testing import CliRunner

from cli.__main__ import app
from services.notifications.settings import Settings
from tests.component.notifications.conftest import Station
from tests.component.notifications.events import invited, signed_up
from tests.harness import ROOT, deliver, take_outbox
from tests.unit.notifications.samples import contact

WHY = "The provider's log of noon shows it"


def run(station: Station, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = station.service.context.settings
    assert isinstance(settings, Settings)
    environment = {
        "NOTIFICATIONS_DATABASE_URL": settings.database_url.get_secret_value(),
        "NOTIFICATIONS_INTERNAL_TOKEN": settings.internal_token.get_secret_value(),
        "NOTIFICATIONS_LINK_SECRET": settings.link_secret.get_secret_value(),
        "NOTIFICATIONS_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "NOTIFICATIONS_PROGRAM": str(settings.program),
        "NOTIFICATIONS_SESSION_PUBLIC_KEY": settings.session_public_key,
        "NOTIFICATIONS_SMTP_HOST": settings.smtp_host,
        **{
            f"NOTIFICATIONS_{name.upper()}_URL": settings.public_url(name)
            for name in ("signup", "matching", "notifications", "endorsement")
        },
        "PATH": os.environ["PATH"],
    }
    command = [sys.executable, "-m", "services.notifications.operator", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


async def unknown(station: Station, event_of: Any = invited) -> tuple[UUID, UUID]:
    """A person, and the message to them whose hand-over ended unknown."""
    person = station.know()
    station.relay_host.close_after_body = True
    await deliver(station.service, event_of(person))
    await station.send()
    station.relay_host.close_after_body = False
    ((message,),) = await station.database.fetch("SELECT id FROM messages WHERE person_id = $1", person)
    await take_outbox(station.service)
    return person, message


async def test_unknown_are_listed_without_personal_data(station: Station) -> None:
    assert run(station, "unknown").stdout == "No message is unknown.\n"
    person, message = await unknown(station)
    other, link = await unknown(station, signed_up)
    listed = run(station, "unknown")
    assert (listed.returncode, listed.stderr) == (0, "")
    head, first, second = (line.split() for line in listed.stdout.splitlines())
    assert head == ["id", "class", "template", "channel", "since", "ended", "next", "person"]
    assert first[:4] == [str(message), "bulk", "intro_invitation", "email"]
    assert first[-4:] == ["waits", "for", "you", str(person)]
    assert second[:4] == [str(link), "link", "welcome_confirm", "email"]
    assert second[-1] == str(other)
    for private in (contact(person).email, contact(person).name, contact(person).phone):
        assert str(private) not in listed.stdout


@pytest.mark.parametrize(
    ("decision", "kept", "state", "copies", "event"),
    [("accepted", "accepted", "accepted", 1, "MessageSent"), ("send-again", "retry", "accepted", 2, "MessageSent"),
     ("drop", "drop", "dropped", 1, "MessageFailed")],
)  # fmt: skip
async def test_decision_is_carried_out_once_and_audited(
    station: Station, decision: str, kept: str, state: str, copies: int, event: str
) -> None:
    person, message = await unknown(station)
    done = run(station, "settle", str(message), decision, f"--reason={WHY}")
    assert (done.returncode, done.stderr) == (0, "")
    await station.send()
    again = run(station, "settle", str(message), "drop", f"--reason={WHY}")
    assert (again.returncode, again.stderr) == (
        1, "This message is no longer unknown. Open it again to see what became of it.\n",
    )  # fmt: skip
    assert await station.database.fetch("SELECT state FROM messages") == [(state,)]
    assert len(station.relay_host.to(person)) == copies
    assert [type(each).__name__ for each in await take_outbox(station.service)] == [event]
    audited = await station.database.fetch(
        "SELECT actor, action, subject, details->>'decision', details->>'reason' FROM audit_entries"
    )
    assert audited == [(UUID(int=0), "message_settled", str(message), kept, WHY)]


async def test_any_other_state_is_refused_and_left_as_it_is(station: Station) -> None:
    _person, message = await unknown(station)
    for state in ("queued", "handing", "accepted", "dropped"):
        await station.database.execute(
            "UPDATE messages SET state = $1, lease_until = CASE WHEN $1 = 'handing' THEN now() END", state
        )
        refused = run(station, "settle", str(message), "send-again", f"--reason={WHY}")
        assert (refused.returncode, "no longer unknown" in refused.stderr) == (1, True)
        assert await station.database.fetch("SELECT state FROM messages") == [(state,)]
    assert await station.database.fetch("SELECT count(*) FROM audit_entries") == [(0,)]


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [("x", "Give the reason in one line of 3 to 200 characters."),
     ("two\nlines", "Give the reason in one line of 3 to 200 characters."),
     ("ada@example.org says so", "Leave addresses and numbers out of the reason: it is kept for good."),
     ("called (316) 555-0123", "Leave addresses and numbers out of the reason: it is kept for good.")],
)  # fmt: skip
async def test_reason_that_must_not_be_kept_is_refused(station: Station, reason: str, sentence: str) -> None:
    _person, message = await unknown(station)
    refused = run(station, "settle", str(message), "drop", f"--reason={reason}")
    assert (refused.returncode, refused.stderr) == (1, sentence + "\n")
    assert await station.database.fetch("SELECT state FROM messages") == [("unknown",)]


async def test_message_that_does_not_exist_is_told(station: Station) -> None:
    made_up = uuid4()
    refused = run(station, "settle", str(made_up), "drop", f"--reason={WHY}")
    sentence = f"No message has the id {made_up}; list the unknown ones to see theirs.\n"
    assert (refused.returncode, refused.stderr) == (1, sentence)


@pytest.mark.parametrize("chosen", [(), ("--accepted", "--drop")])
def test_exactly_one_decision_is_asked_for(chosen: tuple[str, ...]) -> None:
    answer = CliRunner().invoke(app, ["messages", "settle", str(uuid4()), "--reason", WHY, *chosen])
    assert answer.exit_code == 1
    assert "Say what became of it with one of --accepted, --send-again and --drop." in answer.output
