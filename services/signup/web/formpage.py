"""The public form as a page: which fields it shows, how its answers become a sign-up's payload, and its two guards.

The guards are a field that people don't see and a signed time of showing. Neither throws anything away: a form that
trips one is shown again with everything that was typed, and asks to be sent once more. A form that was pasted into
another site's page carries no time, and is taken as it is; the rate limits hold for it too.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from starlette.datastructures import FormData

from services.signup.domain.facts import offices_of, tracks_of
from services.signup.domain.places import FORM_LANGUAGES, SIGN_LANGUAGE, STATES, US_TIME_ZONES
from services.signup.domain.source import PARTS
from shared.program import Form, FormField, Program, Question
from shared.web.fields import Field, FieldErrors, Option, read_availability
from shared.web.i18n import locale_of
from shared.web.text import Message, Text, _
from shared.web.zones import zone_name

HONEYPOT = "website"
HIDDEN = ("intent_id", "rendered", "language", *PARTS)
LABELS: Mapping[str, Message] = {
    "name": _("Your name"),
    "email": _("E-mail address"),
    "phone": _("Mobile phone"),
    "state": _("State or territory"),
    "zip": _("ZIP code"),
    "birth_year": _("Year you were born"),
    "office": _("Office you think about"),
    "tracks": _("Groups you belong to"),
    "spoken_languages": _("Languages you can talk in"),
    "time_zone": _("Time zone"),
    "availability": _("When are you usually free for a call?"),
}


def fields_of(program: Program, form: Form, language: str, hint: str | None = None) -> list[Field]:
    """The form's fields and questions in the program's order; `hint` is a likelier e-mail domain."""
    shown = [field for field in form.fields if field.field != "tracks" or program.tracks]
    built_in = [_built_in(program, form, field, language, hint) for field in shown]
    return [*built_in, *(_question(question) for question in form.questions)]


def consent_fields(program: Program, form: Form, now: datetime) -> list[Field]:
    """One box for each wording, which starts empty; the hint names who asks."""
    return [
        Field(
            name=f"consent_{wording.id}",
            kind="checkbox",
            label=wording.text,
            hint=_("Asked by %(body)s, wording %(version)s", body=program.legal_body(wording.body).name,
                   version=wording.version),
        )
        for wording in program.wordings_of(form, now)
    ]  # fmt: skip


def consent_versions(program: Program, form: Form, now: datetime) -> dict[str, str]:
    """Hidden values that say which wording each box showed."""
    return {f"consent_version_{w.id}": w.version for w in program.wordings_of(form, now)}


def _built_in(program: Program, form: Form, field: FormField, language: str, hint: str | None) -> Field:
    name = field.field
    shared: dict[str, Any] = {
        "name": name,
        "label": field.label or LABELS[name],
        "hint": field.help,
        "required": field.required,
    }
    if name == "email":
        if hint:
            shared["hint"] = _("Did you mean an address at %(domain)s? If not, leave it.", domain=hint)
        return Field(kind="email", autocomplete="email", max_length=254, **shared)
    if name == "name":
        return Field(kind="text", autocomplete="name", max_length=200, **shared)
    if name == "phone":
        return Field(kind="tel", autocomplete="tel", width=20, **shared)
    if name == "zip":
        return Field(kind="text", autocomplete="postal-code", inputmode="numeric", width=5, **shared)
    if name == "birth_year":
        return Field(kind="number", autocomplete="bday-year", width=4, **shared)
    if name == "availability":
        return Field(kind="availability", **shared)
    kind, options = _choices(program, form, name, language)
    return Field(kind=kind, options=options, **shared)  # type: ignore[arg-type]


def _choices(program: Program, form: Form, name: str, language: str) -> tuple[str, list[Option]]:
    if name == "state":
        return "select", [Option(code, label) for code, label in STATES.items()]
    if name == "office":
        return "select", [Option(i, program.office(i).label) for i in offices_of(program, form)]
    if name == "tracks":
        tracks = [program.track(i) for i in tracks_of(program, form)]
        return "checkboxes", [Option(track.id, track.label, track.description) for track in tracks]
    if name == "spoken_languages":
        return "checkboxes", [Option(code, language_name(code, language)) for code in FORM_LANGUAGES]
    return "select", [Option(zone, zone_name(zone)) for zone in US_TIME_ZONES]


def language_name(code: str, language: str) -> str:
    """A language's name in another language."""
    if code == "ase" and language in SIGN_LANGUAGE:
        return SIGN_LANGUAGE[language]
    name = locale_of(language).languages.get(code) or code
    return name[0].upper() + name[1:]


def _question(question: Question) -> Field:
    shared: dict[str, Any] = {
        "name": f"q_{question.id}",
        "label": question.label,
        "hint": question.help,
        "required": question.required,
    }
    if question.kind == "choice":
        return Field(kind="radios", options=[Option(o.id, o.label) for o in question.options], **shared)
    if question.kind == "yes_no":
        return Field(kind="radios", options=[Option("yes", _("Yes")), Option("no", _("No"))], **shared)
    if question.kind == "long_text":
        return Field(kind="textarea", max_length=question.limit, **shared)
    return Field(kind="text", max_length=question.limit, **shared)


def prefill(form: Form, query: Mapping[str, str], many: Mapping[str, list[str]], language: str) -> dict[str, object]:
    """Values that a link may bring: shown for the person to check, never sent by themselves."""
    values: dict[str, object] = {"spoken_languages": [language]}
    for field in form.fields:
        name = field.field
        if name == "tracks":
            values[name] = [*many.get("track", []), *many.get("tracks", [])]
        elif name == "spoken_languages":
            values[name] = many.get(name) or [language]
        elif name != "availability" and query.get(name):
            values[name] = query[name][:254]
    return values


def payload_of(program: Program, form: Form, sent: FormData) -> tuple[dict[str, Any], FieldErrors]:
    """The JSON payload that a sent form stands for, with what is wrong with its hours. Unknown fields are kept, so
    that they are refused by name."""
    errors = FieldErrors()
    payload: dict[str, Any] = {"form": form.id}
    names = {field.field for field in form.fields}
    consents: list[dict[str, Any]] = []
    answers: dict[str, str] = {}
    origin: dict[str, str] = {}
    for name in dict.fromkeys(sent):
        value = str(sent[name])
        if name in (HONEYPOT, "intent_id", "rendered") or name.startswith(("availability-", "consent_version_")):
            continue
        if name in PARTS:
            origin[name] = value
        elif name.startswith("q_"):
            answers[name.removeprefix("q_")] = value
        elif name.startswith("consent_"):
            consents += _consent(program, form, name.removeprefix("consent_"), value, sent)
        elif name in ("tracks", "spoken_languages"):
            payload[name] = [str(item) for item in sent.getlist(name)]
        else:
            payload[name] = value
    if "availability" in names:
        windows = read_availability(sent, "availability", errors, required=False)
        payload["availability"] = [
            {"dow": w.weekday, "start": w.start.strftime("%H:%M"), "end": w.end.strftime("%H:%M")} for w in windows
        ]
    payload |= {"answers": answers, "consents": consents, "source": origin}
    return payload, errors


def _consent(program: Program, form: Form, wording_id: str, value: str, sent: FormData) -> Iterable[dict[str, Any]]:
    channels = {wording.id: wording.channel for wording in program.wordings if wording.id in form.consents}
    if value != "yes":
        return
    consent: dict[str, Any] = {"channel": channels.get(wording_id, wording_id)}
    if version := sent.get(f"consent_version_{wording_id}"):
        consent["wording_version"] = str(version)
    yield consent


def page_errors(form: Form, fields: Mapping[str, Text]) -> FieldErrors:
    """Errors of a payload under the names that the page's controls have, in the order of the page."""
    errors = FieldErrors()
    order = [*(field.field for field in form.fields), "answers", "consents"]

    def place(name: str) -> int:
        first = name.partition(".")[0].partition("-")[0]
        return order.index(first) if first in order else len(order)

    for name in sorted(fields, key=place):
        sentence = fields[name]
        first, _dot, rest = name.partition(".")
        if first == "answers" and rest:
            errors.add(f"q_{rest}", sentence)
        elif first == "consents" and form.consents:
            errors.add(f"consent_{form.consents[0]}", sentence)
        else:
            errors.add(name, sentence)
    return errors


def stamp(secret: str, shown_at: datetime) -> str:
    """The signed time of showing."""
    seconds = str(int(shown_at.timestamp() * 1000))
    return f"{seconds}.{_signature(secret, seconds)}"


def is_timely(secret: str, text: str, now: datetime, shortest: timedelta, longest: timedelta) -> bool:
    """Whether a form with that stamp was shown neither too short nor too long ago."""
    milliseconds, _dot, signature = text.partition(".")
    if not hmac.compare_digest(signature.encode(), _signature(secret, milliseconds).encode()):
        return False
    age = now - datetime.fromtimestamp(int(milliseconds) / 1000, now.tzinfo)
    return shortest <= age <= longest


def _signature(secret: str, milliseconds: str) -> str:
    return hmac.digest(secret.encode(), f"shown\x00{milliseconds}".encode(), hashlib.sha256)[:12].hex()
