"""Hosted forms: the landing page, a page per form and track, and the thank-you page; the same framed for embeds."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from services.signup.domain import email_address
from services.signup.domain.source import PARTS
from services.signup.domain.submission import read, read_intent_id
from services.signup.web import formpage
from services.signup.web.requests import (
    correlation_of,
    derived_intent,
    form_body,
    intake_of,
    pages_of,
    program_of,
    secret_of,
    settings_of,
)
from shared.errors import NotFound, Rejected
from shared.events.envelope import new_id
from shared.program import Form, UnknownId
from shared.web.app import client_address
from shared.web.fields import FieldErrors
from shared.web.sessions import current
from shared.web.text import Message, _

router = APIRouter(tags=["forms"])

AGAIN = _("Please check what is below and send it once more. Nothing you typed was lost.")
ANEW = _("This form was sent before with other answers, which are stored. To send these as well, press Send again.")
INTAKE_REFUSALS = frozenset({"intent_conflict", "too_many", "bad_intent"})


def form_of(request: Request, form_id: str) -> Form:
    """The form of the address; `NotFound` when the program has none of that name."""
    try:
        return program_of(request).form(form_id)
    except UnknownId:
        raise NotFound from None


def language_of(request: Request) -> str:
    """The reader's language: the query's, the session's, the browser's."""
    principal = current(request)
    return pages_of(request).page_language(request, principal.language if principal else None)


@router.get("/f", summary="The organization and its forms")
async def index(request: Request) -> Response:
    """The landing page."""
    kept = {part: value for part in PARTS if (value := request.query_params.get(part))}
    return pages_of(request).response(request, "index.html", language=language_of(request), kept=kept)


@router.get("/f/{form_id}", summary="A sign-up form")
async def show(request: Request, form_id: str) -> Response:
    """The form, with what the address brings filled in."""
    return await show_form(request, form_of(request, form_id), embedded=False)


@router.post("/f/{form_id}", summary="Send a sign-up form", status_code=303)
async def send(request: Request, form_id: str) -> Response:
    """Store the sign-up and go on to the thank-you page; with something to correct, the form again."""
    return await send_form(request, form_of(request, form_id), embedded=False)


@router.get("/f/{form_id}/thank-you", summary="After a sign-up")
async def thank_you(request: Request, form_id: str) -> Response:
    """What happens next."""
    return thanks(request, form_of(request, form_id), embedded=False)


async def show_form(request: Request, form: Form, *, embedded: bool) -> Response:
    """The empty or prefilled form."""
    language = language_of(request)
    query = request.query_params
    many = {name: query.getlist(name) for name in query}
    source = {part: value for part in PARTS if (value := query.get(part))}
    if "source" in query:
        source.setdefault("utm_source", query["source"])
    if not source.get("referrer") and (referrer := request.headers.get("referer")):
        source["referrer"] = referrer
    if not source.get("page"):
        source["page"] = str(request.url.replace(query="", fragment=""))
    values = formpage.prefill(form, query, many, language)
    return await _page(
        request, form, language, values, source, embedded=embedded, errors=FieldErrors(), intent_id=str(new_id())
    )


async def send_form(request: Request, form: Form, *, embedded: bool) -> Response:
    """Take a sent form to the intake."""
    sent = await form_body(request)
    program, secret = program_of(request), secret_of(request)
    chosen = str(sent.get("language", ""))
    language = chosen if chosen in program.languages else language_of(request)
    payload, errors = formpage.payload_of(program, form, sent)
    payload["language"] = language
    now = await intake_of(request).now()
    given = str(sent.get("intent_id", ""))
    source = {part: str(sent[part]) for part in PARTS if sent.get(part)}

    timely = _is_timely(request, sent)
    # Somebody who corrects one field is quick: the time since the form was first shown counts.
    rendered = str(sent["rendered"]) if timely and "rendered" in sent else None

    async def again(errors: FieldErrors, notice: Message, status: int = 422, intent_id: str | None = None) -> Response:
        return await _page(
            request, form, language, _shown(sent), source, embedded=embedded, errors=errors,
            intent_id=intent_id or given or str(new_id()), notice=notice, status=status,
            rendered=rendered,
        )  # fmt: skip

    if sent.get(formpage.HONEYPOT) or not timely:
        return await again(FieldErrors(), AGAIN)
    try:
        intent = read_intent_id(given) if given else derived_intent(
            secret, form.id, now.date().isoformat(), orjson.dumps(payload, option=orjson.OPT_SORT_KEYS).decode()
        )  # fmt: skip
        submission = read(payload, intent, program, now)
        if errors:
            return await again(errors, AGAIN)
        await intake_of(request).submit(
            submission, address=client_address(request), correlation_id=correlation_of(request)
        )
    except Rejected as refusal:
        if refusal.code in INTAKE_REFUSALS:
            message = ANEW if refusal.code == "intent_conflict" else refusal.message
            response = await again(FieldErrors(), message, refusal.status, intent_id=str(new_id()))
            if refusal.status == 429:
                response.headers["Retry-After"] = "60"
            return response
        found = formpage.page_errors(form, {**errors, **refusal.fields})
        return await again(found, refusal.message)
    query = f"?lang={language}"
    if meant := email_address.suggestion(submission.email.typed):
        query += f"&meant={meant}"
    base = "embed" if embedded else "f"
    return RedirectResponse(f"/{base}/{form.id}/thank-you{query}", status_code=303)


def thanks(request: Request, form: Form, *, embedded: bool) -> Response:
    """The thank-you page; `meant` in the query is a likelier e-mail domain."""
    meant = request.query_params.get("meant")
    return pages_of(request).response(
        request,
        "thank_you.html",
        language=language_of(request),
        title=_("Almost there"),
        form=form,
        embedded=embedded,
        meant=meant if meant in email_address.COMMON_DOMAINS else None,
        form_href=f"/{'embed' if embedded else 'f'}/{form.id}",
    )


def _is_timely(request: Request, sent: FormData) -> bool:
    stamp = sent.get("rendered")
    if stamp is None:
        return True
    settings = settings_of(request)
    return formpage.is_timely(
        secret_of(request),
        str(stamp),
        datetime.now(UTC),
        timedelta(seconds=settings.form_min_seconds),
        timedelta(hours=settings.form_max_hours),
    )


def _shown(sent: FormData) -> dict[str, object]:
    """What was typed, for the form to show again."""
    many = ("tracks", "spoken_languages")
    return {name: sent.getlist(name) if name in many else sent[name] for name in sent if name != formpage.HONEYPOT}


async def _page(
    request: Request,
    form: Form,
    language: str,
    values: dict[str, object],
    source: dict[str, str],
    *,
    embedded: bool,
    errors: FieldErrors,
    intent_id: str,
    notice: Message | None = None,
    status: int = 200,
    rendered: str | None = None,
) -> Response:
    program = program_of(request)
    now = await intake_of(request).now()
    meant = email_address.suggestion(str(values.get("email", "")))
    hidden: dict[str, Any] = {
        "intent_id": intent_id,
        "rendered": rendered or formpage.stamp(secret_of(request), datetime.now(UTC)),
        "language": language,
        **source,
        **formpage.consent_versions(program, form, now),
    }
    page = pages_of(request).response(
        request,
        "signup_form.html",
        status=status,
        language=language,
        title=form.title,
        intro=form.intro,
        action=f"/{'embed' if embedded else 'f'}/{form.id}",
        form_fields=formpage.fields_of(program, form, language, meant),
        consents=formpage.consent_fields(program, form, now),
        values=values,
        errors=errors,
        hidden_values=hidden,
        submit_label=_("Send"),
        notice=notice,
        embedded=embedded,
    )
    # "Back" has to show this very form with its intent: a page that may not be stored is asked for again, gets a new
    # intent, and sending it once more would be a second sign-up.
    page.headers["Cache-Control"] = "private, no-cache"
    return page
