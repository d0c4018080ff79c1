"""The staff's log of messages, one message with all that happened to it, and "why did I get this?"."""

import datetime as dt
from typing import Annotated, Any, Literal
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict

from services.notifications import actions
from services.notifications.domain.names import reason_name, state_name, template_name
from services.notifications.domain.tokens import message_of
from services.notifications.domain.why import why
from services.notifications.store import messages
from shared.errors import NotFound, Rejected
from shared.messages import Data
from shared.web.fields import Field, Option
from shared.web.pages import Pages
from shared.web.sessions import Principal, require
from shared.web.text import _
from shared.work import Workshop

router = APIRouter(tags=["messages"])

Staff = Annotated[Principal, Depends(require("staff"))]
State = Literal["queued", "deferred", "claimed", "handing", "accepted", "rejected", "unknown", "dropped"]
STATES: tuple[State, ...] = (
    "queued", "deferred", "claimed", "handing", "unknown", "accepted", "rejected", "dropped",
)  # fmt: skip
COLOURS = {"accepted": "green", "unknown": "yellow", "rejected": "red", "dropped": "grey"}
PAGE_SIZE = 50


class Step(BaseModel):
    """A state that a message came to, and when (business time)."""

    model_config = ConfigDict(from_attributes=True)

    state: State
    reason: str | None
    at: AwareDatetime


class Line(BaseModel):
    """A message in the log: ids and states."""

    id: UUID
    person_id: UUID
    template: str
    channel: str
    delivery: str
    state: State
    reason: str | None
    due_at: AwareDatetime | None
    created_at: AwareDatetime
    handed_at: AwareDatetime | None
    tries: int


class Log(BaseModel):
    """A page of the log, newest first; `next` is the `before` of the next page."""

    messages: list[Line]
    next: UUID | None


class Whole(Line):
    """A message with its cause, its steps, and its words as long as they are kept."""

    event_id: UUID
    event_type: str
    because: str
    reference: str
    correlation_id: str | None
    program_version: str
    legal_body: str | None
    language: str | None
    subject: str | None
    body: str | None
    segments: int | None
    steps: list[Step]


class Why(BaseModel):
    """Why somebody got a message."""

    because: str
    template: str
    channel: str
    event_type: str
    happened_at: AwareDatetime
    handed_at: AwareDatetime | None
    program_version: str


class Decision(BaseModel):
    """What an operator decides about an unknown message, and why; `retry` may send it twice."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["accepted", "retry", "drop"]
    reason: str | None = None


def _pages(request: Request) -> Pages:
    pages: Pages = request.app.state.pages
    return pages


def _workshop(request: Request) -> Workshop:
    workshop: Workshop = request.app.state.workshop
    return workshop


# ---------------------------------------------------------------- why


async def _why(request: Request, token: str) -> messages.Row:
    message_id = message_of(request.app.state.settings.link_secret.get_secret_value(), "why", token)
    row = await messages.get_message(_workshop(request).pool, message_id) if message_id else None
    if row is None:
        raise NotFound(_("This link is not complete. Open it from the mail again, or copy all of it."))
    return row


@router.get("/messages/why/{token}", summary="The page that tells a recipient why a message came")
async def why_page(request: Request, token: str) -> Response:
    """Shows the cause in words; no name, no contact."""
    row = await _why(request, token)
    renderer = request.app.state.renderer
    return _pages(request).response(
        request,
        "why.html",
        language=_pages(request).page_language(request, row["language"]),
        title=_("Why did I get this?"),
        because=why(row["event_type"]),
        row=row,
        delivery=row["delivery"],
        message_name=template_name(row["template"]),
        zone=request.app.state.program.organization.time_zone,
        preferences_href=renderer.link("preferences", row["id"]),
        unsubscribe_href=renderer.link("unsubscribe", row["id"]),
    )


@router.get("/v1/messages/why/{token}", summary="Why a message came, by its token", response_model=Why)
async def why_json(request: Request, token: str) -> Why:
    """The cause in words and as event type and time."""
    row = await _why(request, token)
    language = _pages(request).page_language(request, row["language"])
    return Why(
        because=_pages(request).translate(why(row["event_type"]), language),
        template=row["template"],
        channel=row["channel"],
        event_type=row["event_type"],
        happened_at=row["created_at"],
        handed_at=row["handed_at"],
        program_version=row["program_version"],
    )


# ---------------------------------------------------------------- the log


async def _find(
    request: Request, state: str | None, template: str | None, person_id: UUID | None, before: UUID | None, limit: int
) -> tuple[list[messages.Row], UUID | None]:
    rows = await messages.find_messages(
        _workshop(request).pool, state=state, template=template, person_id=person_id, before=before, limit=limit + 1
    )
    return rows[:limit], rows[limit - 1]["id"] if len(rows) > limit else None


@router.get("/v1/messages", summary="The log of messages, newest first", response_model=Log)
async def get_log(
    request: Request,
    _staff: Staff,
    state: State | None = None,
    template: Annotated[str | None, Query(max_length=60)] = None,
    person_id: UUID | None = None,
    before: UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = PAGE_SIZE,
) -> Log:
    """Filtered by state, template and person; a page at a time."""
    rows, following = await _find(request, state, template, person_id, before, limit)
    return Log(messages=[Line.model_validate(dict(row)) for row in rows], next=following)


@router.get("/messages", summary="The staff's live log")
async def log_page(
    request: Request, _staff: Staff, state: str = "", template: str = "", person_id: str = "", before: str = ""
) -> Response:
    """States with their numbers, filters, and the newest messages."""
    wrong: dict[str, Any] = {}
    person = _uuid_or_none(person_id)
    if person_id.strip() and person is None:
        wrong["person_id"] = _("Enter a person’s id as it stands on their page, 36 characters with dashes.")
    known_state = state if state in STATES else None
    rows, following = await _find(request, known_state, template or None, person, _uuid_or_none(before), PAGE_SIZE)
    counts = await _workshop(request).pool.fetch(messages.COUNT_STATES)
    now: dt.datetime = await _workshop(request).pool.fetchval("SELECT business_now()")
    return _pages(request).response(
        request,
        "log.html",
        status=422 if wrong else 200,
        title=_("Messages"),
        current="messages",
        queues=[
            {
                "label": state_name(row["state"]),
                "count": row["n"],
                "href": f"/messages?state={row['state']}",
                "note": _("needs a decision") if row["state"] == "unknown" and row["n"] else None,
            }
            for row in sorted(counts, key=lambda row: STATES.index(row["state"]))
        ],
        fields=[
            Field(name="state", kind="select", label=_("State"), required=False, is_filter=True,
                  empty_option=_("All"),
                  options=[Option(name, state_name(name)) for name in STATES]),
            Field(name="template", kind="select", label=_("Message"), required=False, is_filter=True,
                  empty_option=_("All"),
                  options=[Option(name, template_name(name)) for name in sorted(Data.registry)]),
            Field(name="person_id", kind="text", label=_("Person’s id"), required=False, is_filter=True,
                  max_length=36),
        ],
        values={"state": known_state or "", "template": template, "person_id": person_id},
        errors=wrong,
        rows=[] if wrong else rows,
        names={row["id"]: template_name(row["template"]) for row in rows},
        states={name: state_name(name) for name in STATES},
        reasons={row["reason"]: reason_name(row["reason"]) for row in rows if row["reason"]},
        colours=COLOURS,
        now=now,
        older=_query(state=known_state, template=template, person_id=person_id, before=following),
    )  # fmt: skip


def _query(**values: object) -> str | None:
    if values.get("before") is None:
        return None
    return "?" + urlencode({name: str(value) for name, value in values.items() if value})


def _uuid_or_none(text: str) -> UUID | None:
    try:
        return UUID(text.strip()) if text.strip() else None
    except ValueError:
        return None


# ---------------------------------------------------------------- one message


async def _whole(request: Request, message_id: UUID) -> tuple[messages.Row, list[messages.Row]]:
    pool = _workshop(request).pool
    row = await messages.get_message(pool, message_id)
    if row is None:
        raise NotFound
    return row, list(await pool.fetch(messages.GET_STEPS, message_id))


@router.get("/v1/messages/{message_id}", summary="One message with its cause and steps", response_model=Whole)
async def get_message(request: Request, message_id: UUID, _staff: Staff) -> Whole:
    """Words are there as long as the program keeps them; those of links never."""
    row, steps = await _whole(request, message_id)
    language = _pages(request).page_language(request)
    because = _pages(request).translate(why(row["event_type"]), language)
    return Whole.model_validate({**row, "because": because, "steps": [dict(step) for step in steps]})


@router.get("/messages/{message_id}", summary="One message with its cause and steps")
async def message_page(request: Request, message_id: UUID, _staff: Staff) -> Response:
    """What was sent, why, and all that happened to it."""
    row, steps = await _whole(request, message_id)
    return _pages(request).response(
        request,
        "message_page.html",
        title=template_name(row["template"]),
        current="messages",
        row=row,
        steps=steps,
        because=why(row["event_type"]),
        states={name: state_name(name) for name in STATES},
        reasons={step["reason"]: reason_name(step["reason"]) for step in [row, *steps] if step["reason"]},
        colours=COLOURS,
        body=next((b.name for b in request.app.state.program.legal_bodies if b.id == row["legal_body"]), None),
        zone=request.app.state.program.organization.time_zone,
    )


def _actor(staff: Principal) -> UUID:
    return staff.account_id or staff.person_id


@router.post("/v1/messages/{message_id}/settle", status_code=204, summary="Decide what became of an unknown message")
async def settle_json(request: Request, message_id: UUID, decision: Decision, staff: Staff) -> None:
    """`accepted`: it arrived. `retry`: send it again, though it may come twice. `drop`: leave it."""
    async with _workshop(request).begin(request.state.correlation_id) as work:
        await actions.settle(work, _actor(staff), message_id, decision.decision, decision.reason)


@router.post("/messages/{message_id}/settle", summary="Decide what became of an unknown message")
async def settle_page(
    request: Request, message_id: UUID, staff: Staff, decision: Annotated[str, Form()] = ""
) -> Response:
    """The same, from the page's buttons."""
    if decision not in ("accepted", "retry", "drop"):
        raise Rejected("invalid", _("Use one of the three buttons on the message’s page."), status=422)
    async with _workshop(request).begin(request.state.correlation_id) as work:
        await actions.settle(work, _actor(staff), message_id, decision)  # type: ignore[arg-type]
    return RedirectResponse(f"/messages/{message_id}", status_code=303)
