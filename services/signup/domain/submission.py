"""One sign-up as it was sent: checked against the program, never against what we know of the address."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson

from services.signup.domain import email_address, source
from services.signup.domain.email_address import EmailAddress
from services.signup.domain.facts import READERS, Asked, Facts, Invalid, read_answer
from services.signup.domain.source import Source
from shared.errors import Rejected
from shared.program import Form, Program, UnknownId, Wording
from shared.web.text import Message, _

FIELDS = frozenset(READERS) | {"form", "email", "consents", "source", "answers", "intent_id"}
ALWAYS = frozenset({"name", "email", "language"})
"""Fields that every form takes."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Consent for one channel, in the words that the form showed."""

    channel: str
    wording_id: str
    wording_version: str
    legal_body: str


@dataclass(frozen=True, slots=True)
class Submission:
    """A sign-up that may be stored. `payload_hash` tells a repeat from another payload under the same intent."""

    intent_id: UUID
    payload_hash: bytes
    form: str
    role: str
    legal_body: str
    email: EmailAddress
    facts: Facts
    grants: tuple[Grant, ...]
    source: Source


def hash_of(payload: Mapping[str, object]) -> bytes:
    """SHA-256 of the payload as canonical JSON, without the intent id itself."""
    content = {name: value for name, value in payload.items() if name != "intent_id"}
    return sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest()


def read_intent_id(text: object) -> UUID:
    """The intent id; `Rejected` when it is missing or not a UUID."""
    try:
        return UUID(str(text)) if text else _no_intent()
    except ValueError:
        message = _("The Idempotency-Key is not a UUID. Make a new UUID for each sign-up and send it again.")
        raise Rejected("bad_intent", message, status=422, fields={"intent_id": message}) from None


def _no_intent() -> UUID:
    message = _("Send the header Idempotency-Key with a UUID made for this sign-up, so that a repeat adds nothing.")
    raise Rejected("missing_intent", message, status=422, fields={"intent_id": message})


def read(payload: Mapping[str, object], intent_id: UUID, program: Program, now: datetime) -> Submission:
    """The submission in a payload of JSON values; `Rejected` names every field that needs another look."""
    errors: dict[str, Message] = {}
    for name in payload:
        if name not in FIELDS:
            errors[name[:80]] = _("This field is not known; leave it out")
    form = _form(payload.get("form"), program)
    asked = Asked(program, form, now)
    values = _facts(payload, asked, errors)
    values["answers"] = _answers(payload.get("answers"), form, errors)
    email = _email(payload.get("email"), errors)
    grants = _grants(payload.get("consents"), asked, errors)
    if any(grant.channel == "sms" for grant in grants) and not values["phone"] and "phone" not in errors:
        errors["phone"] = _("Enter a mobile number, or leave the box for texts empty")
    origin = _source(payload.get("source"), errors)
    if errors or email is None:
        message = _("Some fields need another look; each is listed with what is expected.")
        raise Rejected("invalid", message, status=422, fields=errors)
    return Submission(
        intent_id=intent_id,
        payload_hash=hash_of(payload),
        form=form.id,
        role=form.role,
        legal_body=form.body,
        email=email,
        facts=Facts(**values),
        grants=grants,
        source=origin,
    )


def _form(value: object, program: Program) -> Form:
    try:
        return program.form(value if isinstance(value, str) else "")
    except UnknownId:
        known = ", ".join(form.id for form in program.forms)
        message = _("There is no such form. Use one of these: %(known)s.", known=known)
        raise Rejected("unknown_form", message, status=422, fields={"form": message}) from None


def _facts(payload: Mapping[str, object], asked: Asked, errors: dict[str, Message]) -> dict[str, Any]:
    assert asked.form is not None
    values: dict[str, Any] = {}
    on_form: set[str] = {field.field for field in asked.form.fields}
    for name, read_value in READERS.items():
        if name not in on_form and name not in ALWAYS and payload.get(name) not in (None, "", []):
            errors[name] = _("This form does not ask for that; leave it out")
        try:
            values[name] = read_value(payload.get(name), asked)
        except Invalid as invalid:
            errors[name] = invalid.message
            values[name] = None
    values["language"] = values["language"] or asked.program.default_language
    # A form is read in some language; that one at least is spoken.
    values["spoken_languages"] = values["spoken_languages"] or (values["language"],)
    for field in asked.form.fields:
        if field.required and field.field != "email" and not values[field.field]:
            errors.setdefault(field.field, MISSING.get(field.field, _("Fill this in")))
    return values


MISSING: Mapping[str, Message] = {
    "name": _("Enter your name"),
    "phone": _("Enter a phone number with its area code, like 202-555-0143"),
    "state": _("Choose the state you live in"),
    "zip": _("Enter a ZIP code of five digits, like 64110"),
    "birth_year": _("Enter the year you were born in"),
    "office": _("Choose an office"),
    "tracks": _("Choose at least one track"),
    "time_zone": _("Choose your time zone"),
    "availability": _("Enter at least one time when you are free"),
}


def _email(value: object, errors: dict[str, Message]) -> EmailAddress | None:
    if not isinstance(value, str) or not value.strip():
        errors["email"] = _("Enter your e-mail address")
        return None
    try:
        return email_address.read(value)
    except ValueError:
        errors["email"] = _("Enter an e-mail address in the form name@example.com")
        return None


def _answers(value: object, form: Form, errors: dict[str, Message]) -> dict[str, str | bool]:
    if value is not None and not isinstance(value, Mapping):
        errors["answers"] = _("Send the answers as an object, by the question's id")
        return {}
    given: Mapping[str, object] = value or {}
    questions = {question.id: question for question in form.questions}
    answers: dict[str, str | bool] = {}
    for name in given:
        if name not in questions:
            errors[f"answers.{name[:60]}"] = _("This form has no such question; leave it out")
    for name, question in questions.items():
        try:
            answer = read_answer(question, given.get(name))
        except Invalid as invalid:
            errors[f"answers.{name}"] = invalid.message
            continue
        if answer is not None:
            answers[name] = answer
        elif question.required:
            errors[f"answers.{name}"] = _("Answer this question")
    return answers


def _grants(value: object, asked: Asked, errors: dict[str, Message]) -> tuple[Grant, ...]:
    """The consents that were given. One that was not is no record: an empty box takes nothing back."""
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        errors["consents"] = _("Send the consents as a list, each with its channel")
        return ()
    grants: dict[str, Grant] = {}
    for position, entry in enumerate(value):
        place = f"consents.{position}"
        if not isinstance(entry, Mapping) or set(entry) - {"channel", "granted", "wording_version"}:
            errors[place] = _("Send channel, and if need be granted and wording_version")
            continue
        wording = _wording(entry, asked)
        if wording is None:
            errors[place] = _("This form asks for no such consent; check the channel and the wording's version")
        elif not isinstance(entry.get("granted", True), bool):
            errors[place] = _("Send granted as true or false")
        elif entry.get("granted", True):
            grants[wording.id] = Grant(wording.channel, wording.id, wording.version, wording.body)
    return tuple(grants.values())


def _wording(entry: Mapping[str, object], asked: Asked) -> Wording | None:
    """The wording that the consent names: with no version, the one that the form shows now."""
    assert asked.form is not None
    version = entry.get("wording_version")
    shown: Sequence[Wording] = asked.program.wordings_of(asked.form, asked.now)
    if version is not None:
        # A page that was open while the wording changed showed the older one.
        shown = [
            wording
            for wording in asked.program.wordings
            if wording.id in asked.form.consents and wording.effective_from <= asked.now and wording.version == version
        ]
    return next((wording for wording in shown if wording.channel == entry.get("channel")), None)


def _source(value: object, errors: dict[str, Message]) -> Source:
    if value is None:
        return Source()
    if not isinstance(value, Mapping) or set(value) - set(source.PARTS):
        errors["source"] = _("Send the source with these names only: %(known)s", known=", ".join(source.PARTS))
        return Source()
    return source.read(value)
