"""A person's own page, and the same as JSON: where they stand, what is next, what we know, what they agreed to."""

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import FormData

from services.signup.actions import overview
from services.signup.actions import people as actions
from services.signup.actions.overview import Overview
from services.signup.domain.facts import READERS, Asked, Invalid
from services.signup.domain.places import FORM_LANGUAGES, SPOKEN_LANGUAGES, STATES, US_TIME_ZONES
from services.signup.web import formpage
from services.signup.web.requests import (
    correlation_of,
    form_body,
    json_body,
    pages_of,
    program_of,
    settings_of,
    workshop_of,
)
from services.signup.web.signups import refs
from shared.errors import Rejected
from shared.program import Program
from shared.web.fields import Field as FormField
from shared.web.fields import FieldErrors, Option
from shared.web.pages import local_date
from shared.web.sessions import Principal, signed_in
from shared.web.text import Message, Text, _
from shared.web.zones import zone_name
from shared.work import Work

router = APIRouter(tags=["me"])

SignedIn = Annotated[Principal, Depends(signed_in)]
EDITABLE = (
    "name", "phone", "state", "zip", "birth_year", "office", "tracks", "language", "spoken_languages", "time_zone",
)  # fmt: skip
NEEDED = ("name", "language", "spoken_languages")
ROLE_LABELS: dict[str, Message] = {
    "prospect": _("Thinking about running"),
    "volunteer": _("Volunteer"),
    "mentor": _("Mentor"),
    "campaign_staff": _("Campaign work"),
}
CHANNEL_LABELS: dict[str, Message] = {"email": _("E-mail"), "sms": _("Text messages")}
CHECK = _("Some fields need another look; each is listed with what is expected.")


class Changes(BaseModel):
    """What to change; null empties a fact that may be empty."""

    model_config = ConfigDict(extra="forbid")
    name: str | None = Field(None, max_length=200)
    phone: str | None = None
    state: str | None = None
    zip: str | None = None
    birth_year: int | None = None
    office: str | None = None
    tracks: list[str] | None = None
    language: str | None = None
    spoken_languages: list[str] | None = None
    time_zone: str | None = None


class ConsentChange(BaseModel):
    """Whether to receive one kind of message."""

    model_config = ConfigDict(extra="forbid")
    channel: Literal["email", "sms"]
    granted: bool


def language_of(request: Request, principal: Principal) -> str:
    """The query's language, else the person's."""
    return pages_of(request).page_language(request, principal.language)


async def _mine(request: Request, principal: Principal) -> Overview:
    async with workshop_of(request).begin() as work:
        return await overview.of_person(work, principal.person_id, confidential=True)


def urls_of(request: Request) -> dict[str, str]:
    """The public base URL of each service."""
    return {
        name: settings_of(request).public_url(name) for name in ("signup", "matching", "notifications", "endorsement")
    }


def json_answer(value: Any, **headers: str) -> Response:
    """Personal data as JSON, kept by nobody."""
    return Response(
        orjson.dumps(value, default=str),
        media_type="application/json",
        headers={"Cache-Control": "no-store", **headers},
    )


@router.get("/v1/me", summary="Who I am, where I stand, what is next", response_model=None)
async def me_json(request: Request, principal: SignedIn) -> Response:
    """Facts, roles, consents, stages and the next step."""
    found = await _mine(request, principal)
    pages, language = pages_of(request), language_of(request, principal)
    return json_answer(
        overview.as_json(found, program_of(request), urls_of(request), lambda text: pages.translate(text, language))
    )


@router.patch("/v1/me", summary="Change what you know of me", response_model=None, openapi_extra=refs(Changes))
async def change_me(request: Request, principal: SignedIn) -> Response:
    """Fields that are left out stay as they are."""
    body = await json_body(request)
    async with workshop_of(request).begin(correlation_of(request)) as work:
        await actions.change_facts(work, principal.person_id, read_changes(body, work))
    return await me_json(request, principal)


@router.post("/v1/me/consents", summary="Allow or stop one kind of message", response_model=None)
async def change_consent_json(request: Request, principal: SignedIn, body: ConsentChange) -> Response:
    """A grant is recorded in the words in force."""
    await _change_consent(request, principal, body.channel, body.granted)
    return await me_json(request, principal)


@router.get("/v1/me/export", summary="My data", response_model=None)
async def export(request: Request, principal: SignedIn) -> Response:
    """Everything that this service holds about the person, as a file."""
    found = await _mine(request, principal)
    return json_answer(overview.export_json(found), **{"Content-Disposition": 'attachment; filename="my-data.json"'})


@router.get("/me", summary="My page")
async def page(request: Request, principal: SignedIn) -> Response:
    """Where the person stands, the next step, and what we know of them."""
    found = await _mine(request, principal)
    program, language = program_of(request), language_of(request, principal)
    step = found.next_step
    states = {row["channel"]: row["granted"] for row in found.consent_states if row["granted"]}
    stopped = {row["channel"] for row in found.consent_states if not row["granted"] and row["reason"] == "stop"}
    zone = found.person["time_zone"] or program.organization.time_zone
    return pages_of(request).response(
        request,
        "me.html",
        language=language,
        title=_("Hello, %(name)s", name=found.person["name"].split()[0]),
        roles=[ROLE_LABELS[role] for role in found.roles],
        steps=_stages(found, zone, language) if "prospect" in found.roles else [],
        step=step,
        step_href=f"{urls_of(request)[step.service]}{step.path}" if step else None,
        helpers=found.helpers,
        facts=_rows(found, program, language),
        emails=[row["email"] for row in found.emails],
        channels=[
            {
                "channel": channel,
                "label": label,
                "granted": states.get(channel, False),
                "stopped_by_text": channel in stopped,
                "text": _wording(program, found.person["legal_body"], channel),
            }
            for channel, label in CHANNEL_LABELS.items()
        ],
    )


def _stages(found: Overview, zone: str, language: str) -> list[dict[str, Any]]:
    return [
        {
            "label": place.stage.label,
            "state": place.state,
            "note": local_date(place.reached_at, zone, language=language) if place.reached_at else None,
        }
        for place in found.places
    ]


def _wording(program: Program, body: str, channel: str) -> Text | None:
    matching = [w for w in program.wordings if w.channel == channel and w.body == body]
    return max(matching, key=lambda w: w.effective_from).text if matching else None


@router.get("/me/profile", summary="Change my details")
async def profile_page(request: Request, principal: SignedIn) -> Response:
    """The form, filled in."""
    found = await _mine(request, principal)
    values: dict[str, object] = {name: found.person[name] for name in EDITABLE}
    return _profile_page(request, principal, values, FieldErrors())


@router.post("/me/profile", summary="Save my details", status_code=303)
async def save_profile(request: Request, principal: SignedIn) -> Response:
    """Save and go back to the page; with something to correct, the form again."""
    sent = await form_body(request)
    try:
        async with workshop_of(request).begin(correlation_of(request)) as work:
            await actions.change_facts(work, principal.person_id, read_changes(_sent_facts(sent), work))
    except Rejected as refusal:
        if refusal.code != "invalid":
            raise
        return _profile_page(request, principal, _sent_facts(sent), FieldErrors(refusal.fields), status=422)
    return RedirectResponse("/me", status_code=303)


@router.post("/me/consents", summary="Allow or stop one kind of message", status_code=303)
async def change_consent(request: Request, principal: SignedIn) -> Response:
    """The buttons of the page."""
    sent = await form_body(request)
    channel, granted = sent.get("channel"), sent.get("granted")
    if channel not in ("email", "sms") or granted not in ("yes", "no"):
        raise Rejected("invalid", _("Go back and press one of the buttons on the page."), status=422)
    try:
        await _change_consent(request, principal, "email" if channel == "email" else "sms", granted == "yes")
    except Rejected as refusal:
        if refusal.code != "no_phone":
            raise
        found = await _mine(request, principal)
        values: dict[str, object] = {name: found.person[name] for name in EDITABLE}
        return _profile_page(request, principal, values, FieldErrors(refusal.fields), status=422)
    return RedirectResponse("/me", status_code=303)


async def _change_consent(
    request: Request, principal: Principal, channel: Literal["email", "sms"], granted: bool
) -> None:
    async with workshop_of(request).begin(correlation_of(request)) as work:
        await actions.change_consent(
            work, principal.person_id, channel, granted=granted, page=f"{urls_of(request)['signup']}/me"
        )


def read_changes(body: dict[str, Any], work: Work) -> dict[str, Any]:
    """Clean values for the facts that were sent; `Rejected` names every field that needs another look."""
    asked = Asked(work.program, None, work.now)
    errors: dict[str, Message] = {}
    changes: dict[str, Any] = {}
    for name, value in body.items():
        if name not in EDITABLE:
            errors[name[:80]] = _("This field is not known; leave it out")
            continue
        try:
            changes[name] = READERS[name](value, asked)
        except Invalid as invalid:
            errors[name] = invalid.message
            continue
        if name in NEEDED and not changes[name]:
            errors[name] = _("Fill this in")
    if errors:
        raise Rejected("invalid", CHECK, status=422, fields=errors)
    return changes


def _sent_facts(sent: FormData) -> dict[str, Any]:
    """What the form sent; a group of boxes sends nothing when all are empty."""
    facts: dict[str, Any] = {name: str(sent[name]) for name in dict.fromkeys(sent) if name != formpage.HONEYPOT}
    return facts | {name: [str(v) for v in sent.getlist(name)] for name in ("tracks", "spoken_languages")}


def profile_fields(program: Program, language: str, spoken: list[str], zone: str) -> list[FormField]:
    """The facts that a person may change."""
    zones = [*US_TIME_ZONES, *([zone] if zone and zone not in US_TIME_ZONES else [])]
    languages = [
        *FORM_LANGUAGES,
        *(c for c in spoken if c in SPOKEN_LANGUAGES and c not in FORM_LANGUAGES),
    ]
    label = formpage.LABELS
    fields = [
        FormField(name="name", kind="text", label=label["name"], autocomplete="name", max_length=200),
        FormField(name="phone", kind="tel", label=label["phone"], autocomplete="tel", width=20, required=False),
        FormField(name="state", kind="select", label=label["state"], required=False,
                  options=[Option(code, text) for code, text in STATES.items()]),
        FormField(name="zip", kind="text", label=label["zip"], inputmode="numeric", width=5, required=False),
        FormField(name="birth_year", kind="number", label=label["birth_year"], width=4, required=False),
        FormField(name="office", kind="select", label=label["office"], required=False,
                  options=[Option(office.id, office.label) for office in program.offices]),
        FormField(name="language", kind="select", label=_("Language that we write to you in"),
                  options=[Option(code, formpage.language_name(code, code)) for code in program.languages]),
        FormField(name="spoken_languages", kind="checkboxes", label=label["spoken_languages"],
                  options=[Option(code, formpage.language_name(code, language)) for code in languages]),
        FormField(name="time_zone", kind="select", label=label["time_zone"], required=False,
                  options=[Option(name, zone_name(name)) for name in zones]),
    ]  # fmt: skip
    if program.tracks:
        tracks = [Option(track.id, track.label, track.description) for track in program.tracks]
        fields.insert(
            6, FormField(name="tracks", kind="checkboxes", label=label["tracks"], required=False, options=tracks)
        )
    return fields


def _profile_page(
    request: Request, principal: Principal, values: dict[str, Any], errors: FieldErrors, status: int = 200
) -> Response:
    language = language_of(request, principal)
    spoken = list(values.get("spoken_languages") or [])
    shown = {name: "" if value is None else value for name, value in values.items()}
    return pages_of(request).response(
        request,
        "form.html",
        status=status,
        language=language,
        title=_("Your details"),
        back="/me",
        action="/me/profile",
        form_fields=profile_fields(program_of(request), language, spoken, str(values.get("time_zone") or "")),
        values=shown,
        errors=errors,
        hidden_values={},
        submit_label=_("Save"),
    )


def _rows(found: Overview, program: Program, language: str) -> list[dict[str, Any]]:
    person = found.person
    tracks = [program.text(t.label, language) for t in program.tracks if t.id in person["tracks"]]
    office = next((o.label for o in program.offices if o.id == person["office"]), "")
    rows: list[tuple[Text, Text]] = [
        (formpage.LABELS["name"], person["name"]),
        (formpage.LABELS["email"], ", ".join(row["email"] for row in found.emails)),
        (formpage.LABELS["phone"], person["phone"] or ""),
        (formpage.LABELS["state"], STATES.get(person["state"] or "", "")),
        (formpage.LABELS["zip"], person["zip"] or ""),
        (formpage.LABELS["office"], office),
        (formpage.LABELS["tracks"], ", ".join(tracks)),
        (formpage.LABELS["spoken_languages"],
         ", ".join(formpage.language_name(c, language) for c in person["spoken_languages"])),
        (formpage.LABELS["time_zone"], zone_name(person["time_zone"] or "")),
    ]  # fmt: skip
    return [{"label": label, "value": value or "–"} for label, value in rows]
