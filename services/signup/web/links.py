"""The link builder: addresses with campaign and referral codes, a QR code, and snippets for other sites."""

from html import escape
from typing import Annotated
from urllib.parse import urlencode

import segno
from fastapi import APIRouter, Depends, Request, Response

from services.signup.domain import source
from services.signup.web import formpage
from services.signup.web.requests import intake_of, pages_of, program_of, settings_of
from shared.program import UnknownId
from shared.web.fields import Field, Option
from shared.web.sessions import Principal, require
from shared.web.text import _

router = APIRouter(tags=["people"])


@router.get("/people/links", summary="Build a link, QR code or snippet")
async def build(request: Request, principal: Annotated[Principal, Depends(require("staff"))]) -> Response:
    """Choose a form and codes by query; the page shows what to copy."""
    program = program_of(request)
    query = request.query_params
    try:
        form = program.form(query.get("form", program.forms[0].id))
    except UnknownId:
        form = program.forms[0]
    codes = source.read({part: query.get(part) for part in ("utm_source", "utm_medium", "utm_campaign", "ref")})
    kept = {
        name: value for name in ("utm_source", "utm_medium", "utm_campaign", "ref") if (value := getattr(codes, name))
    }
    track = query.get("track", "")
    if track in {t.id for t in program.tracks}:
        kept["track"] = track
    language = query.get("lang_of_form", "")
    if language in program.languages:
        kept["lang"] = language
    base = settings_of(request).public_url("signup")
    address = f"{base}/f/{form.id}" + (f"?{urlencode(kept)}" if kept else "")
    now = await intake_of(request).now()
    spoken = language if language in program.languages else program.default_language
    return pages_of(request).response(
        request,
        "links.html",
        language=pages_of(request).page_language(request, principal.language),
        title=_("Links and forms for other sites"),
        current="people",
        form=form,
        address=address,
        qr=segno.make(address, error="m").svg_data_uri(scale=6, border=2),
        loader=_loader(base, form.id, kept),
        snippet=pages_of(request)
        .render(
            "snippet.html",
            language=spoken,
            action=f"{base}/f/{form.id}",
            form=form,
            fields=[f for f in formpage.fields_of(program, form, spoken) if f.kind != "availability"],
            consents=formpage.consent_fields(program, form, now),
            versions=formpage.consent_versions(program, form, now),
            kept={k: v for k, v in kept.items() if k not in ("track", "lang")},
            honeypot=formpage.HONEYPOT,
            track=kept.get("track", ""),
            form_language=spoken,
        )
        .strip(),
        values=dict(query),
        builder=_builder(request),
    )


def _loader(base: str, form_id: str, kept: dict[str, str]) -> str:
    extra = "".join(f' data-{name}="{escape(value)}"' for name, value in kept.items())
    return f'<script src="{base}/embed/loader.js" data-form="{form_id}"{extra} async></script>'


def _builder(request: Request) -> list[Field]:
    program = program_of(request)
    text = {"required": False, "max_length": source.MAX_LENGTH}
    return [
        Field(name="form", kind="select", label=_("Form"), options=[Option(f.id, f.title) for f in program.forms]),
        *(
            [
                Field(name="track", kind="select", label=_("Track"), required=False, empty_option=_("None"),
                      options=[Option(t.id, t.label) for t in program.tracks])
            ]
            if program.tracks
            else []
        ),
        Field(name="lang_of_form", kind="select", label=_("Language of the form"), required=False,
              empty_option=_("The reader's own"),
              options=[Option(code, formpage.language_name(code, code)) for code in program.languages]),
        Field(name="ref", kind="text", label=_("Partner's referral code"), **text),  # type: ignore[arg-type]
        Field(name="utm_source", kind="text", label=_("Source (utm_source)"), **text),  # type: ignore[arg-type]
        Field(name="utm_medium", kind="text", label=_("Medium (utm_medium)"), **text),  # type: ignore[arg-type]
        Field(name="utm_campaign", kind="text", label=_("Campaign (utm_campaign)"), **text),  # type: ignore[arg-type]
    ]  # fmt: skip
