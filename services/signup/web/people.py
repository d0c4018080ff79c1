"""People for the staff: a list to search and filter, and one person with their history. Reading one is recorded."""

import base64
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response

from services.signup.actions import overview
from services.signup.actions.overview import Overview
from services.signup.domain.places import STATES
from services.signup.store import access
from services.signup.store import staff as store
from services.signup.web.me import CHANNEL_LABELS, ROLE_LABELS, json_answer, urls_of
from services.signup.web.requests import correlation_of, pages_of, program_of, workshop_of
from shared.errors import Rejected
from shared.web.fields import Field, Option
from shared.web.pages import local_date
from shared.web.sessions import Principal, require
from shared.web.text import Message, _

router = APIRouter(tags=["people"])

Staff = Annotated[Principal, Depends(require("staff"))]
PAGE = 50
STEP_LABELS: dict[str, Message] = {
    "intro_call_invited": _("Invited to an intro call"),
    "intro_call_attended": _("Took part in an intro call"),
    "match_offered": _("One-on-one call offered"),
    "call_booked": _("One-on-one call booked"),
    "call_cancelled": _("One-on-one call cancelled"),
    "call_completed": _("One-on-one call held"),
    "call_missed": _("One-on-one call missed"),
    "call_held": _("Held a one-on-one call"),
    "candidacy_declared": _("Named the office to run for"),
    "filing_confirmed": _("Filing verified"),
    "application_submitted": _("Applied for endorsement"),
    "endorsement_announced": _("Endorsement announced"),
    "endorsement_withdrawn": _("Endorsement withdrawn"),
}
CONSENT_REASONS: dict[str, Message] = {
    "form": _("ticked on a form"),
    "unsubscribed": _("by a mail’s link"),
    "preference": _("by their own choice"),
    "restored": _("took a stop back"),
    "stop": _("replied STOP"),
    "start": _("replied START"),
    "bounce": _("the address does not work"),
    "complaint": _("reported as spam"),
}


def cursor_of(row: Any) -> str:
    """Where the next page begins."""
    return base64.urlsafe_b64encode(orjson.dumps([row["signed_up_at"], str(row["id"])])).decode().rstrip("=")


def read_cursor(text: str | None) -> tuple[datetime, UUID] | None:
    """What `cursor_of` wrote; `Rejected` when it was altered."""
    if not text:
        return None
    try:
        written, person_id = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        # Offset or not, it is read as UTC: an altered cursor must not fail further on.
        return datetime.fromisoformat(written).replace(tzinfo=UTC), UUID(person_id)
    except (ValueError, TypeError):
        raise Rejected(
            "bad_cursor", _("This page's address was cut off. Begin with the first page."), status=422
        ) from None


async def _list(
    request: Request, after: str | None, search: str | None, role: str | None, state: str | None, stage: str | None
) -> tuple[list[Any], str | None]:
    start = read_cursor(after)
    # PostgreSQL holds no NUL; nothing stored has one, so nothing is missed.
    wanted = [(value or "").replace("\x00", "") or None for value in (search, role, state, stage)]
    async with workshop_of(request).begin() as work:
        rows = await store.list_people(
            work.connection,
            after=start,
            search=wanted[0],
            role=wanted[1],
            state=wanted[2],
            stage=wanted[3],
            limit=PAGE + 1,
        )
    shown = list(rows[:PAGE])
    return shown, cursor_of(shown[-1]) if len(rows) > PAGE else None


@router.get("/v1/people", summary="People, newest first", response_model=None)
async def people_json(
    request: Request,
    _principal: Staff,
    q: Annotated[str | None, Query(max_length=200, description="Part of a name or address.")] = None,
    role: str | None = None,
    state: str | None = None,
    stage: str | None = None,
    after: Annotated[str | None, Query(description="`next` of the page before.")] = None,
) -> Response:
    """A page of 50 with the cursor of the next."""
    rows, following = await _list(request, after, q, role, state, stage)
    return json_answer({"people": [{**dict(row), "id": str(row["id"])} for row in rows], "next": following})


@router.get("/v1/people/{person_id}", summary="One person with their history", response_model=None)
async def person_json(request: Request, principal: Staff, person_id: UUID) -> Response:
    """Recorded in the audit log."""
    found = await _read(request, principal, person_id)
    pages = pages_of(request)
    body = overview.as_json(
        found, program_of(request), urls_of(request), lambda text: pages.translate(text, pages.default_language)
    )
    history = overview.export_json(found)
    return json_answer({**body, "signups": history["signups"], "journey": history["journey"]})


@router.get("/people", summary="People")
async def people_page(
    request: Request,
    principal: Staff,
    q: str = "",
    role: str = "",
    state: str = "",
    stage: str = "",
    after: str | None = None,
) -> Response:
    """The list with its search."""
    rows, following = await _list(request, after, q, role, state, stage)
    program = program_of(request)
    pages, language = pages_of(request), pages_of(request).page_language(request, principal.language)
    labels = {s.id: s.label for s in program.stages}
    chosen = {"q": q, "role": role, "state": state, "stage": stage}
    older = (
        f"/people?{urlencode({**{k: v for k, v in chosen.items() if v}, 'after': following})}" if following else None
    )
    return pages.response(
        request,
        "people.html",
        language=language,
        title=_("People"),
        current="people",
        values=chosen,
        filters=[
            Field(name="q", kind="text", label=_("Name or address"), required=False, is_filter=True, max_length=200),
            Field(name="role", kind="select", label=_("Role"), required=False, is_filter=True,
                  empty_option=_("All"),
                  options=[Option(name, text) for name, text in ROLE_LABELS.items()]),
            Field(name="state", kind="select", label=_("State"), required=False, is_filter=True,
                  empty_option=_("All"),
                  options=[Option(code, name) for code, name in STATES.items()]),
            Field(name="stage", kind="select", label=_("Furthest stage"), required=False, is_filter=True,
                  empty_option=_("All"),
                  options=[Option(s.id, s.label) for s in program.stages]),
        ],
        columns=[{"label": label} for label in
                 (_("Name"), _("E-mail"), _("Roles"), _("State"), _("Furthest stage"), _("Signed up"))],
        rows=[
            [
                {"text": row["name"], "href": f"/people/{row['id']}"},
                row["email"] or "–",
                ", ".join(pages.translate(ROLE_LABELS[r], language) for r in row["roles"])
                or (_("not confirmed") if row["stage"] == program.stages[0].id else "–"),
                row["state"] or "–",
                labels.get(row["stage"], row["stage"]),
                local_date(row["signed_up_at"], program.organization.time_zone, language=language),
            ]
            for row in rows
        ],
        older=older,
    )  # fmt: skip


@router.get("/people/{person_id}", summary="One person")
async def person_page(request: Request, principal: Staff, person_id: UUID) -> Response:
    """Facts, sign-ups with their sources, consents and journey."""
    found = await _read(request, principal, person_id)
    program = program_of(request)
    pages, language = pages_of(request), pages_of(request).page_language(request, principal.language)
    zone = program.organization.time_zone

    def day(moment: datetime | None) -> str:
        return local_date(moment, zone, language=language) if moment else "–"

    bodies = {body.id: body.name for body in program.legal_bodies}
    first, last = (found.signups[0], found.signups[-1]) if found.signups else (None, None)
    return pages.response(
        request,
        "person.html",
        language=language,
        title=found.person["name"],
        current="people",
        person_id=found.id,
        facts=[
            {"label": _("E-mail"), "value": ", ".join(row["email"] for row in found.emails) or "–"},
            {"label": _("Phone"), "value": found.person["phone"] or "–"},
            {"label": _("State"), "value": STATES.get(found.person["state"] or "", "–")},
            {"label": _("Roles"), "value": ", ".join(pages.translate(ROLE_LABELS[r], language) for r in found.roles)
                or "–"},
            {"label": _("Furthest stage"), "value": next((s.label for s in program.stages
                if s.id == found.person["stage"]), found.person["stage"])},
            {"label": _("Signed up"), "value": day(found.person["signed_up_at"])},
            {"label": _("Confirmed"), "value": day(found.person["confirmed_at"])},
            {"label": _("First touch"), "value": touch(first)},
            {"label": _("Last touch"), "value": touch(last)},
            {"label": _("Id"), "value": str(found.id)},
        ],
        signups=[
            [day(row["created_at"]), next((f.title for f in program.forms if f.id == row["form"]), row["form"]),
             _("in effect") if row["status"] == "applied" else _("waits for its link"), touch(row), row["page"] or "–"]
            for row in found.signups
        ],
        consents=[
            [day(row["given_at"]), CHANNEL_LABELS[row["channel"]], _("granted") if row["granted"] else _("withdrawn"),
             row["wording_version"], bodies.get(row["legal_body"], row["legal_body"]),
             CONSENT_REASONS.get(row["reason"], row["reason"])]
            for row in found.consents
        ],
        journey=[[day(step.at), STEP_LABELS.get(step.name, step.name), step.ref] for step in found.steps],
    )  # fmt: skip


def touch(row: Any) -> str:
    """Where a sign-up came from, in short."""
    if row is None:
        return "–"
    parts = (row["ref"], row["utm_source"], row["utm_medium"], row["utm_campaign"], row["referrer"])
    return " / ".join(part for part in parts if part) or "–"


async def _read(request: Request, principal: Principal, person_id: UUID) -> Overview:
    async with workshop_of(request).begin(correlation_of(request)) as work:
        found = await overview.of_person(work, person_id, confidential=False)
        await access.append_audit(
            work.connection,
            at=work.now,
            account_id=principal.account_id,
            person_id=principal.person_id,
            action="person_read",
            subject=str(found.id),
        )
    return found
