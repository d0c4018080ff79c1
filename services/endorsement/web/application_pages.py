"""The application form with save and return, and the page that tells how an application stands."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.endorsement.actions import applying
from services.endorsement.actions.actor import actor_of, local_day
from services.endorsement.actions.applying import Typed
from services.endorsement.domain.answers import read_answers
from services.endorsement.store import applications as store
from services.endorsement.store import decisions
from services.endorsement.store.applications import Application
from services.endorsement.store.candidacies import Candidacy
from services.endorsement.web.applications import check_class, profile_of
from services.endorsement.web.requests import SignedIn, begin, field_errors, form_of, page, program_of, see_other
from services.endorsement.web.views import verdict_json
from shared.errors import Rejected
from shared.program import AgeAtMost, ApplicationField, BornInOrAfter, Eligibility, Program, YoungerThan
from shared.web.fields import Field, FieldErrors, Option, chosen, read_date
from shared.web.sessions import Principal
from shared.web.text import Message, _
from shared.work import Work

router = APIRouter(include_in_schema=False)


@router.post("/applications")
async def start_post(request: Request, principal: SignedIn) -> Response:
    form = await form_of(request)
    try:
        candidacy_id = UUID(str(form.get("candidacy_id", "")))
    except ValueError:
        return see_other("/candidacy")
    async with begin(request) as work:
        application_id = await applying.start(work, principal, candidacy_id)
    return see_other(f"/applications/{application_id}")


@router.get("/applications/{application_id}")
async def application_page(request: Request, principal: SignedIn, application_id: UUID) -> Response:
    async with begin(request) as work:
        actor = await actor_of(work, principal)
        candidacy, application = await applying.own_application(work, actor, application_id)
        if application.status != "draft":
            context = await _standing(work, candidacy, application)
        else:
            form = _draft_form(work, application)
    if application.status != "draft":
        return page(request, "application_status.html", principal, **context, values={}, errors={})
    saved = request.query_params.get("saved") == "1"
    return _form(request, principal, application_id, form, _stored(program_of(request), application), {}, saved=saved)


@router.post("/applications/{application_id}")
async def application_post(request: Request, principal: SignedIn, application_id: UUID) -> Response:
    """Save what was typed, always; then hand it in if that was the button."""
    form = await form_of(request)
    program = program_of(request)
    typed, errors = _read(program, form)
    async with begin(request) as work:
        await applying.save(work, principal, application_id, typed)
        application = await store.get_application(work.connection, application_id)
        shape = _draft_form(work, application)
    if form.get("act") != "submit":
        if errors:
            return _form(request, principal, application_id, shape, form, errors, saved=True, status=422)
        return see_other(f"/applications/{application_id}?saved=1")
    if errors:
        return _form(request, principal, application_id, shape, form, errors, status=422)
    profile = await profile_of(request, principal)
    try:
        async with begin(request) as work:
            await applying.submit(work, principal, application_id, profile)
    except Rejected as no:
        return _form(request, principal, application_id, shape, form, field_errors(no), status=422)
    return see_other(f"/applications/{application_id}")


@router.post("/applications/{application_id}/facts")
async def facts_post(request: Request, principal: SignedIn, application_id: UUID) -> Response:
    form = await form_of(request)
    found = FieldErrors()
    year = _year(form, found)
    born = read_date(form, "birth_date", found, required=False)
    profile = await profile_of(request, principal)
    try:
        _raise_found(found)
        async with begin(request) as work:
            await applying.supply_facts(work, principal, application_id, profile, year, born)
    except Rejected as no:
        errors = field_errors(no)
        async with begin(request) as work:
            actor = await actor_of(work, principal)
            context = await _standing(work, *await applying.own_application(work, actor, application_id))
        return page(
            request, "application_status.html", principal, status=422, **context, values=form, errors=errors
        )  # fmt: skip
    return see_other(f"/applications/{application_id}")


@router.post("/applications/{application_id}/consent")
async def consent_post(request: Request, principal: SignedIn, application_id: UUID) -> Response:
    form = await form_of(request)
    async with begin(request) as work:
        await applying.set_consent(work, principal, application_id, granted=form.get("granted") == "yes")
    return see_other(f"/applications/{application_id}")


def _raise_found(found: FieldErrors) -> None:
    fields = {name: text for name, text in found.items() if isinstance(text, Message)}
    if fields:
        raise Rejected("invalid", _("Correct what is marked."), status=422, fields=fields)


def _year(form: Mapping[str, Any], errors: FieldErrors) -> int | None:
    text = str(form.get("birth_year", "")).strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) == 4):
        errors.add("birth_year", _("Enter the year you were born, in four digits."))
        return None
    return int(text)


def _read(program: Program, form: Mapping[str, Any]) -> tuple[Typed, dict[str, Message]]:
    typed = {
        field.id: chosen(form, field.id) if field.kind == "statements" else form.get(field.id)
        for field in program.application.fields
    }
    answers, errors = read_answers(program.application, typed)
    found = FieldErrors()
    year = _year(form, found)
    errors |= {name: text for name, text in found.items() if isinstance(text, Message)}
    chosen_class = str(form.get("application_class", "")) or None
    check_class(program, chosen_class)
    return Typed(answers, chosen_class, year, None, form.get("publish_consent") == "yes"), errors


def _stored(program: Program, application: Application) -> dict[str, Any]:
    """A draft's answers as its form's controls show them."""
    values: dict[str, Any] = {
        "application_class": application.application_class,
        "birth_year": application.birth_year or "",
        "publish_consent": "yes" if application.publish_consent else "",
    }
    for field in program.application.fields:
        answer = application.answers.get(field.id)
        if field.kind == "money" and isinstance(answer, int):
            answer = f"{answer // 100:,}" if answer % 100 == 0 else f"{answer / 100:,.2f}"
        values[field.id] = answer if answer is not None else ""
    return values


def _draft_form(work: Work, application: Application) -> dict[str, Any]:
    program = work.program
    rules = program.eligibility_at(local_day(program, work.now))
    classes = list(program.classes_open_at(work.now))
    fields = [_field(field) for field in program.application.fields]
    if len(classes) > 1 or application.application_class not in [entry.id for entry in classes]:
        options = [Option(entry.id, entry.label) for entry in classes]
        if options:
            fields.insert(0, Field(name="application_class", kind="radios", label=_("Round"), options=options))
    if _asks_age(rules):
        fields.append(
            Field(
                name="birth_year",
                kind="number",
                label=_("Year you were born"),
                required=False,
                width=4,
                hint=_("Leave empty if you told us when you signed up."),
            )
        )
    fields.append(
        Field(
            name="publish_consent",
            kind="checkbox",
            required=False,
            label=_("If you endorse me, you may publish my ballot name, office and district."),
            hint=_("We announce nothing without this. You can agree later, or change your mind until we announce."),
        )
    )
    deadline = min((program.deadline(entry) for entry in classes if entry.id == application.application_class),
                   default=None)  # fmt: skip
    return {"fields": fields, "deadline": deadline, "zone": program.organization.time_zone}


def _asks_age(rules: Eligibility) -> bool:
    return any(isinstance(rule, YoungerThan | AgeAtMost | BornInOrAfter) for rule in rules.rules)


def _field(field: ApplicationField) -> Field:
    common: dict[str, Any] = {
        "name": field.id,
        "label": field.label,
        "hint": field.help,
        "required": field.required,
    }
    if field.kind == "statements":
        options = [Option(entry.id, entry.text) for entry in field.statements]
        return Field(kind="checkboxes", options=options, **common)
    if field.kind == "money":
        return Field(kind="text", prefix="$", inputmode="decimal", width=10, **common)
    if field.kind == "whole_number":
        return Field(kind="number", width=10, **common)
    if field.kind == "long_text":
        return Field(kind="textarea", rows=10, max_length=field.max_length, **common)
    return Field(kind="text", max_length=field.max_length, **common)


def _form(
    request: Request,
    principal: Principal,
    application_id: UUID,
    shape: Mapping[str, Any],
    values: Mapping[str, Any],
    errors: Mapping[str, Message],
    *,
    saved: bool = False,
    status: int = 200,
) -> Response:
    return page(
        request,
        "application_form.html",
        principal,
        status=status,
        title=_("Your application"),
        intro=program_of(request).application.intro,
        action=f"/applications/{application_id}",
        back="/candidacy",
        form_fields=shape["fields"],
        deadline=shape["deadline"],
        zone=shape["zone"],
        saved=saved,
        values=values,
        errors=errors,
        hidden_values={},
        submit_label=_("Hand it in"),
    )


async def _standing(work: Work, candidacy: Candidacy, application: Application) -> dict[str, Any]:
    program = work.program
    verdict = verdict_json(await store.get_verdict(work.connection, application.id), program.languages)
    decision = await decisions.get_decision_of(work.connection, application.id)
    public = await decisions.get_endorsement_of(work.connection, decision.id) if decision else None
    reason = next(
        (entry.label for entry in program.scorecard.decline_reasons if decision and entry.id == decision.reason), None
    )
    missing = verdict["missing"] if verdict else ()
    wanted = []
    if "birth_year" in missing:
        wanted.append(Field(name="birth_year", kind="number", label=_("Year you were born"), width=4))
    if "birth_date" in missing:
        wanted.append(Field(name="birth_date", kind="date", label=_("Day you were born"), autocomplete="bday"))
    return {
        "title": _("Your application"),
        "application": application,
        "candidacy": candidacy,
        "office": program.office(candidacy.office).label,
        "verdict": verdict,
        "decision": decision,
        "reason": reason,
        "endorsement": public,
        "fact_fields": wanted,
        "may_consent": application.status in ("undetermined", "in_review", "endorsed") and public is None,
    }
