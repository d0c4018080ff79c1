"""What the embedded stack tells a service: its own values, and what the operator gave explicitly instead."""

import json
from pathlib import Path

import pytest

from deploy.embedded.postgres import ServiceDatabase
from deploy.embedded.processes import write_atomically
from deploy.embedded.stack import CHOSEN_PORTS, Home, Stack

ROOT = Path(__file__).parents[2]
DATABASE = ServiceDatabase(dsn="postgresql://run@127.0.0.1:5/x", owner_dsn="postgresql://owner@127.0.0.1:5/x")


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """A stack that was never started."""
    made = Stack(Home(tmp_path), ROOT, ROOT / "programs" / "org_2025.toml")
    made.make_secrets()
    write_atomically(made.home.ports, json.dumps({name: 4000 + n for n, name in enumerate(CHOSEN_PORTS)}))
    return made


def told(stack: Stack, service: str) -> dict[str, str]:
    return dict(stack.service(service, "127.0.0.1:9", DATABASE).env)


def test_service_is_told_the_stacks_own_addresses(stack: Stack) -> None:
    env = told(stack, "notifications")
    assert (env["NOTIFICATIONS_SMTP_HOST"], env["NOTIFICATIONS_SMTP_PORT"], env["NOTIFICATIONS_SMS_URL"]) == (
        "127.0.0.1", str(stack.ports["smtp"]), f"{stack.url('mailbox')}/sms"
    )  # fmt: skip
    assert env["NOTIFICATIONS_KAFKA_BOOTSTRAP"] == "127.0.0.1:9"


def test_explicitly_given_variable_wins(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "NOTIFICATIONS_SMTP_HOST": "127.0.0.2",
        "NOTIFICATIONS_SMTP_PORT": "2525",
        "NOTIFICATIONS_SMS_URL": "http://127.0.0.1:1/sms",
        "NOTIFICATIONS_KAFKA_BOOTSTRAP": "127.0.0.1:19092",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    env = told(stack, "notifications")
    assert {name: env[name] for name in given} == given
    assert told(stack, "matching")["MATCHING_KAFKA_BOOTSTRAP"] == "127.0.0.1:9"


def test_what_the_processes_have_to_agree_on_is_not_overridden(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    before = told(stack, "signup")
    names = ("SIGNUP_HOST", "SIGNUP_PORT", "SIGNUP_INTERNAL_CALLERS", "SIGNUP_SESSION_PUBLIC_KEY",
             "SIGNUP_MATCHING_URL")  # fmt: skip
    for name in names:
        monkeypatch.setenv(name, "elsewhere")
    after = told(stack, "signup")
    assert {name: after[name] for name in names} == {name: before[name] for name in names}


KEYS = {"notifications": "NOTIFICATIONS_CONTACT_HASH_KEY", "endorsement": "ENDORSEMENT_WEBHOOK_KEY"}


def key_of(stack: Stack, service: str) -> str:
    return Path(told(stack, service)[f"{KEYS[service]}_FILE"]).read_text()


@pytest.mark.parametrize("service", KEYS)
def test_service_has_a_key_of_its_own_for_what_outlives_links(stack: Stack, service: str) -> None:
    key, link_secret = key_of(stack, service), Path(told(stack, service)[f"{service.upper()}_LINK_SECRET_FILE"])
    assert (len(key), key == link_secret.read_text()) == (64, False)
    stack.make_secrets()
    assert key_of(stack, service) == key


@pytest.mark.parametrize("service", KEYS)
def test_stack_of_an_earlier_version_goes_on_with_its_link_secret(stack: Stack, service: str) -> None:
    known = stack.credentials
    known["services"][service].pop(KEYS[service].split("_", 1)[1].lower())
    write_atomically(stack.home.secrets, json.dumps(known))
    stack.make_secrets()
    assert key_of(stack, service) == known["services"][service]["link_secret"]


@pytest.mark.parametrize("form", ["", "_FILE"])
@pytest.mark.parametrize("service", KEYS)
def test_explicitly_given_key_wins(stack: Stack, monkeypatch: pytest.MonkeyPatch, service: str, form: str) -> None:
    monkeypatch.setenv(f"{KEYS[service]}{form}", "given")
    env = told(stack, service)
    assert {name: value for name, value in env.items() if name.startswith(KEYS[service])} == {
        f"{KEYS[service]}{form}": "given"
    }
