"""What a form takes, and the sentence for everything that it does not."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services.signup.domain import email_address, source
from services.signup.domain.submission import Submission, hash_of, read
from shared.errors import Rejected
from shared.program import Program, load

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def program() -> Program:
    """The program with two legal bodies."""
    return load(Path(__file__).parents[3] / "programs" / "org_2025.toml")


def submitted(program: Program, **changes: Any) -> Submission:
    body = {"form": "run", "name": "Ana Ortiz", "email": "ana@example.org", "state": "TX", **changes}
    return read({name: value for name, value in body.items() if value is not None}, uuid4(), program, NOW)


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"name": "x" * 300}, "name", "Use at most 200 characters; this has 300"),
    ({"name": ""}, "name", "Enter your name"),
    ({"name": "🎉"}, "name", "Enter your name with at least one letter"),
    ({"name": "Ana\tOrtiz"}, "name", "Remove the characters that can't be seen, such as tabs or line breaks"),
    ({"name": "Ana\u202eOrtiz"}, "name", "Remove the characters that can't be seen, such as tabs or line breaks"),
    ({"name": 5}, "name", "Send text here"),
    ({"email": "ana"}, "email", "Enter an e-mail address in the form name@example.com"),
    ({"email": None}, "email", "Enter your e-mail address"),
    ({"phone": "12"}, "phone", "Enter a phone number with its area code, like 202-555-0143"),
    ({"state": "Mars"}, "state", "Choose a state or territory, as its two letters, like TX"),
    ({"state": None}, "state", "Choose the state you live in"),
    ({"zip": "123"}, "zip", "Enter a ZIP code of five digits, like 64110"),
    ({"birth_year": 1850}, "birth_year", "Enter the year you were born in as four digits, 2013 or earlier"),
    ({"birth_year": True}, "birth_year", "Enter the year you were born in as four digits, 2013 or earlier"),
    ({"office": "us_house"}, "office", "Choose one of the offices on the list"),
    ({"tracks": ["nobody"]}, "tracks", "Choose tracks from the list"),
    ({"tracks": "educators"}, "tracks", "Choose tracks from the list"),
    ({"language": "fr"}, "language", "Choose one of the languages that we write in"),
    ({"spoken_languages": ["xx"]}, "spoken_languages", "Choose languages from the list"),
    ({"time_zone": "Mars/Base"}, "time_zone", "Choose a time zone, like America/Chicago"),
    ({"availability": [{"dow": 1, "start": "18:00", "end": "17:00"}]}, "availability",
     "Enter an end time that is later than the start time"),
    ({"availability": [{"dow": 1, "start": "18:00", "end": "20:00"}, {"dow": 1, "start": "19:00", "end": "21:00"}]},
     "availability", "These times overlap. Change one, or make them one time"),
    ({"availability": [{"dow": 9, "start": "18:00", "end": "20:00"}]}, "availability",
     "Send each time as dow (0 is Monday), start and end, like 18:30"),
    ({"availability": [{"dow": 1, "start": f"{hour}:00", "end": f"{hour + 1}:00"} for hour in (10, 14, 18)]},
     "availability", "State at most two times a day; join those that touch"),
    ({"availability": [{"dow": 1, "start": "18:00", "end": "20:00"}] * 15}, "availability",
     "Send a list of at most 14 times"),
    ({"answers": {"when": "never"}}, "answers.when", "Choose one of the answers on the list"),
    ({"answers": {"color": "red"}}, "answers.color", "This form has no such question; leave it out"),
    ({"consents": [{"channel": "fax"}]}, "consents.0",
     "This form asks for no such consent; check the channel and the wording's version"),
    ({"consents": [{"channel": "email", "wording_version": "1999"}]}, "consents.0",
     "This form asks for no such consent; check the channel and the wording's version"),
    ({"consents": [{"channel": "sms"}]}, "phone", "Enter a mobile number, or leave the box for texts empty"),
    ({"source": {"utm_term": "x"}}, "source",
     "Send the source with these names only: utm_source, utm_medium, utm_campaign, referrer, ref, page"),
    ({"street": "Main St"}, "street", "This field is not known; leave it out"),
    ({"form": "nope"}, "form", "There is no such form. Use one of these: run, volunteer, mentor, staff."),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "field", "sentence"), REFUSED)
def test_bad_field_is_named_with_its_remedy(
    program: Program, changes: dict[str, Any], field: str, sentence: str
) -> None:
    with pytest.raises(Rejected) as refused:
        submitted(program, **changes)
    found = {name: str(message) for name, message in refused.value.fields.items()}
    assert (refused.value.status, found) == (422, {field: sentence})


@pytest.mark.parametrize("name", ["李小龍", "Ngọc Ánh", "O’Neil-Núñez III", "محمد علی\u200cزاده", "Zoë 🎉", "x" * 200])
def test_name_may_be_in_any_script(program: Program, name: str) -> None:
    assert submitted(program, name=name).facts.name == name


def test_field_that_the_form_does_not_ask_for_is_refused(program: Program) -> None:
    with pytest.raises(Rejected) as refused:
        submitted(program, form="staff", birth_year=1990, answers={"campaign_job": "field"})
    assert list(refused.value.fields) == ["birth_year"]


def test_spoken_languages_default_to_the_form_s_language(program: Program) -> None:
    assert submitted(program, language="es").facts.spoken_languages == ("es",)


def test_payload_hash_ignores_order_and_the_intent() -> None:
    assert hash_of({"a": 1, "b": [2], "intent_id": "x"}) == hash_of({"b": [2], "a": 1})
    assert hash_of({"a": 1}) != hash_of({"a": 2})


def test_consent_that_was_not_given_is_no_record(program: Program) -> None:
    sent = submitted(program, consents=[{"channel": "email", "granted": False}, {"channel": "email"}])
    assert [(grant.channel, grant.wording_version, grant.legal_body) for grant in sent.grants] == [
        ("email", "2025.1", "education")
    ]


@pytest.mark.parametrize(
    ("one", "other"), [("Ana@Example.ORG", "ana@example.org"), ("a@exämple.de", "A@XN--EXMPLE-CUA.de")]
)
def test_email_key_is_the_same_for_spellings_of_one_address(one: str, other: str) -> None:
    assert email_address.read(one).key == email_address.read(other).key


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("a@gmial.com", "gmail.com"), ("a@gmail.com", None), ("a@hotmial.com", "hotmail.com"), ("a@school.edu", None)],
)
def test_mistyped_domain_is_recognized(typed: str, meant: str | None) -> None:
    assert email_address.suggestion(typed) == meant


def test_source_keeps_no_query_and_no_control_characters() -> None:
    found = source.read(
        {"page": "https://u:p@x.org/a?email=ana", "referrer": "javascript:alert(1)", "ref": "a\x00b", "utm_source": 5}
    )
    assert found == source.Source(page="https://x.org/a", ref="ab")
