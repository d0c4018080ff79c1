"""The system by compose as text: what is given reaches its containers, is remembered, and outlives a rotation."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from deploy.compose.system import COMPOSE_FILE, GIVEN_SECRETS, KEPT_SECRETS, PASSED, System
from deploy.embedded.processes import StackError, write_atomically
from deploy.embedded.stack import PORT_NAMES
from services.endorsement.settings import Settings as Endorsement
from services.matching.settings import Settings as Matching
from services.notifications.settings import Settings as Notifications
from services.signup.settings import Settings as Signup
from shared.settings import SERVICES, ServiceSettings

SETTINGS: Mapping[str, type[ServiceSettings]] = {
    "signup": Signup,
    "matching": Matching,
    "notifications": Notifications,
    "endorsement": Endorsement,
}
FILE: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))
ROLES = ("migrate", "web", "worker", "relay")
LIVE = {
    "HUSTINGS_ENVIRONMENT": "production",
    **{f"{service.upper()}_URL": f"https://{service}.example.org" for service in SERVICES},
    "NOTIFICATIONS_SMTP_HOST": "relay.example.org",
}


def system(home: Path, **given: str) -> System:
    """As a command sees it that is called with these variables."""
    return System.from_environment({"HUSTINGS_HOME": str(home), **given})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A system's directory, with ports."""
    ports = {name: 4000 + number for number, name in enumerate(PORT_NAMES)}
    write_atomically(tmp_path / "docker" / "ports.json", json.dumps(ports))
    return tmp_path


def up(home: Path, **given: str) -> System:
    """What `up` writes down before it starts anything."""
    made = system(home, **given)
    made.remember()
    made.make_secrets()
    return made


def secret(made: System, name: str) -> str:
    """What a container reads."""
    return (made.folder / "secrets" / name).read_text()


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_reaches_the_containers_of_its_service(service: str, role: str) -> None:
    container = FILE["services"][f"{service}-{role}"]
    told = container["environment"]
    for name, field in SETTINGS[service].model_fields.items():
        variable = f"{service}_{name}".upper()
        if name == "owner_database_url" and role != "migrate":
            assert {variable, f"{variable}_FILE"} & set(told) == set()
            continue
        [form] = {variable, f"{variable}_FILE"} & set(told)
        is_secret = field.annotation in {SecretStr, SecretStr | None}
        assert (variable, is_secret) == (variable, form.endswith("_FILE") and name not in UNSECRET_FILES)
        # Without a value it is passed on only where it is set: nothing empty hides a default.
        assert (told[form] is None) == (variable in PASSED)
    wanted = {f"{service}_{name}".upper() for name in SETTINGS[service].model_fields}
    assert {name.removesuffix("_FILE") for name in told} <= wanted


# Files because they are long, or made beside secrets.
UNSECRET_FILES = {"internal_callers", "session_public_key"}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("service", SERVICES)
def test_every_file_that_a_container_reads_is_mounted_and_made(home: Path, service: str, role: str) -> None:
    container = FILE["services"][f"{service}-{role}"]
    read = {Path(value).name for name, value in container["environment"].items() if name.endswith("_FILE")}
    assert read == set(container["secrets"])
    made = up(home)
    for name in read:
        assert FILE["secrets"][name]["file"].endswith(f"/{name}")
        assert (made.folder / "secrets" / name).exists()


def test_what_is_given_is_passed_on_and_what_is_not_is_not(home: Path) -> None:
    given = dict.fromkeys(PASSED, "17")
    told = system(home, **given).variables({"PATH": "/bin", **given})
    assert {name: told[name] for name in PASSED} == given
    bare = system(home, **LIVE).variables({"PATH": "/bin", **LIVE})
    assert [name for name in PASSED if name in bare] == ["NOTIFICATIONS_SMTP_HOST"]
    assert bare["PATH"] == "/bin"


def test_development_writes_into_the_mailbox_unless_told_otherwise(home: Path) -> None:
    names = ("NOTIFICATIONS_SMTP_HOST", "NOTIFICATIONS_SMTP_PORT", "NOTIFICATIONS_SMS_URL")
    told = system(home).variables({})
    assert [told[name] for name in names] == ["mailbox", "2525", "http://mailbox:8000/sms"]
    told = system(home, NOTIFICATIONS_SMTP_HOST="relay.example.org").variables({})
    assert [told.get(name) for name in names] == ["relay.example.org", None, "http://mailbox:8000/sms"]


def test_setting_may_be_given_as_a_file(home: Path, tmp_path: Path) -> None:
    (tmp_path / "host").write_text("relay.example.org\n")
    (tmp_path / "token").write_text("very secret\n")
    made = up(
        home,
        NOTIFICATIONS_SMTP_HOST_FILE=str(tmp_path / "host"),
        NOTIFICATIONS_SMS_TOKEN_FILE=str(tmp_path / "token"),
    )
    assert made.variables({})["NOTIFICATIONS_SMTP_HOST"] == "relay.example.org"
    assert secret(made, "notifications_sms_token") == "very secret"
    (tmp_path / "token").unlink()
    with pytest.raises(StackError, match=r"^NOTIFICATIONS_SMS_TOKEN_FILE names .*/token, which can't be read"):
        system(home).make_secrets()


def test_secrets_that_are_given_are_files_and_no_variables(home: Path) -> None:
    given = {name: f"secret {name}" for name in (*GIVEN_SECRETS, *KEPT_SECRETS)}
    made = up(home, **given)
    assert {name: secret(made, name.lower()) for name in given} == given
    assert [value for value in made.variables({**given}).values() if "secret N" in value or "secret E" in value] == []
    assert (made.folder.stat().st_mode & 0o777, (made.folder / "variables.json").stat().st_mode & 0o777) == (
        0o700,
        0o600,
    )
    assert {secret(up(home, **{name: ""}), name.lower()) for name in GIVEN_SECRETS} == {""}


def test_files_that_say_something_else_are_named_so_that_services_read_them_again(home: Path) -> None:
    made = system(home)
    made.remember()
    assert (made.make_secrets(), made.make_secrets()) == (set(), set())
    later = system(home, NOTIFICATIONS_SMTP_PASSWORD="new")
    assert (later.make_secrets(), later.make_secrets()) == ({"notifications_smtp_password"}, set())


def test_key_that_was_brought_along_stays_when_it_is_no_longer_given(home: Path) -> None:
    names = {name: f"brought for {name}" for name in KEPT_SECRETS}
    up(home, **names)
    later = up(home, **dict.fromkeys(names, ""))
    assert {name: secret(later, name.lower()) for name in names} == names
    later.forget("links")
    later.make_secrets()
    assert {name: secret(later, name.lower()) for name in names} == names


def test_later_commands_know_what_up_was_given(home: Path) -> None:
    given = {**LIVE, "NOTIFICATIONS_SMS_TOKEN": "token", "HUSTINGS_TAG": "7", "SIGNUP_TRUSTED_PROXIES": "1"}
    up(home, **given)
    later = system(home)
    later.make_secrets()
    told = later.variables({})
    assert {name: told.get(name) for name in given} == {**given, "NOTIFICATIONS_SMS_TOKEN": None}
    assert secret(later, "notifications_sms_token") == "token"
    assert told["SIGNUP_PUBLISHED"] == "4000"


def test_public_addresses_are_loopback_ones_until_they_are_given_and_once_they_are_forgotten(home: Path) -> None:
    assert up(home).variables({})["SIGNUP_URL"] == "http://127.0.0.1:4000"
    up(home, SIGNUP_URL="https://signup.example.org")
    told = system(home).variables({})
    assert (told["SIGNUP_URL"], told["MATCHING_URL"]) == ("https://signup.example.org", "http://127.0.0.1:4001")
    up(home, SIGNUP_URL="")
    assert system(home).variables({})["SIGNUP_URL"] == "http://127.0.0.1:4000"


def test_given_now_wins_over_given_before_in_either_form(home: Path, tmp_path: Path) -> None:
    (tmp_path / "level").write_text("ERROR")
    up(home, SIGNUP_LOG_LEVEL="DEBUG")
    up(home, SIGNUP_LOG_LEVEL_FILE=str(tmp_path / "level"))
    assert system(home).variables({})["SIGNUP_LOG_LEVEL"] == "ERROR"
    # What a later command is given is for that command.
    assert system(home, SIGNUP_LOG_LEVEL="INFO").variables({})["SIGNUP_LOG_LEVEL"] == "INFO"
    assert system(home).variables({})["SIGNUP_LOG_LEVEL"] == "ERROR"


def test_production_is_not_started_with_addresses_of_a_development_system(home: Path) -> None:
    with pytest.raises(StackError, match=r"^Production needs SIGNUP_URL, NOTIFICATIONS_SMTP_HOST: set them"):
        up(home, **{**LIVE, "SIGNUP_URL": "", "NOTIFICATIONS_SMTP_HOST": ""})
    assert not (home / "docker" / "variables.json").exists()
    told = up(home, **LIVE).variables({})
    assert "SIGNUP_LIMIT_ADDRESS_BURST" not in told
    assert told["HUSTINGS_ENVIRONMENT"] == "production"


@pytest.mark.parametrize("what", ["passwords", "internal", "sessions", "links"])
def test_rotation_renews_what_it_names_and_nothing_else(home: Path, what: str) -> None:
    made = up(home)
    before = {path.name: path.read_text() for path in (made.folder / "secrets").iterdir()}
    made.forget(what)
    made.make_secrets()
    changed = {name for name, text in before.items() if text != secret(made, name)}
    roles = [role for service in SERVICES for role in (service, f"{service}_owner")]
    assert (
        changed
        == {
            "passwords": {f"{role}_{kind}" for role in roles for kind in ("password", "database_url")},
            "internal": {
                *(f"{service}_internal_token" for service in SERVICES),
                # Nobody calls notifications.
                *(f"{service}_internal_callers" for service in SERVICES if service != "notifications"),
            },
            "sessions": {"session_private_key", "session_public_key"},
            "links": {f"{service}_link_secret" for service in SERVICES},
        }[what]
    )


@pytest.mark.parametrize("rotated_first", [False, True])
def test_directory_of_an_earlier_version_goes_on_with_its_link_secrets_as_keys(home: Path, rotated_first: bool) -> None:
    made = up(home)
    path = made.folder / "secrets.json"
    known = json.loads(path.read_text())
    del known["services"]["notifications"]["contact_hash_key"]
    del known["services"]["endorsement"]["webhook_key"]
    path.write_text(json.dumps(known))
    made = system(home)
    if rotated_first:
        made.forget("links")
    made.make_secrets()
    for service, key in (("notifications", "contact_hash_key"), ("endorsement", "webhook_key")):
        former = known["services"][service]["link_secret"]
        assert secret(made, f"{service}_{key}") == former
        assert (secret(made, f"{service}_link_secret") == former) == (not rotated_first)


def test_new_directory_has_keys_of_their_own(home: Path) -> None:
    made = up(home)
    texts = [secret(made, f"{service}_link_secret") for service in SERVICES]
    texts += [secret(made, "notifications_contact_hash_key"), secret(made, "endorsement_webhook_key")]
    assert (len(set(texts)), {len(text) for text in texts}) == (len(texts), {64})
