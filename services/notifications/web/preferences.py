"""Unsubscribing with one click, and choosing what to get: by a link in a mail, or signed in."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from services.notifications import actions
from services.notifications.domain.preferences import EmailChoice, Preferences, SmsChoice, preferences_of
from services.notifications.domain.tokens import Purpose, message_of
from services.notifications.store import people
from shared.errors import NotFound, Rejected
from shared.people import resolve
from shared.web.fields import Field as FormField
from shared.web.fields import Option
from shared.web.pages import Pages
from shared.web.sessions import Principal, signed_in
from shared.web.text import Message, _
from shared.work import Work, Workshop

router = APIRouter(tags=["preferences"])

DEAD_LINK = _("This link is not complete. Open it from the mail again, or copy all of it.")


class Choice(BaseModel):
    """What somebody chooses; a channel left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    email: EmailChoice | None = Field(None, description="everything, taking_part (no newsletters) or nothing")
    sms: SmsChoice | None = None


class Held(BaseModel):
    """What holds now."""

    email: EmailChoice
    sms: SmsChoice
    email_undeliverable: bool
    sms_undeliverable: bool
    sms_stopped_by_text: bool = Field(description="STOP came from a number of theirs: text START from it, no page can")


def _message_id(request: Request, purpose: Purpose, token: str) -> UUID:
    secret = request.app.state.settings.link_secret.get_secret_value()
    found = message_of(secret, purpose, token)
    if found is None:
        raise NotFound(DEAD_LINK)
    return found


def _pages(request: Request) -> Pages:
    pages: Pages = request.app.state.pages
    return pages


def _workshop(request: Request) -> Workshop:
    workshop: Workshop = request.app.state.workshop
    return workshop


# ---------------------------------------------------------------- one click


async def _unsubscribe(request: Request, token: str) -> str:
    """Stop what the message was: bulk mail, or all mail for one about something they take part in."""
    message_id = _message_id(request, "unsubscribe", token)
    async with _workshop(request).begin(request.state.correlation_id) as work:
        row, person_id = await actions.person_of_message(work, message_id)
        hashes = [row["contact_hash"]] if row["contact_hash"] is not None else []
        await actions.suppress(
            work,
            channel=row["channel"],
            scope="bulk" if row["delivery"] == "bulk" and row["channel"] == "email" else "all",
            reason="unsubscribed",
            person_ids=[person_id],
            hashes=hashes,
        )
        return str(row["delivery"])


@router.get("/unsubscribe/{token}", summary="The page behind the unsubscribe link; changes nothing")
async def unsubscribe_page(request: Request, token: str) -> Response:
    """Mail scanners open links: only the button, or a mail program's one-click POST, unsubscribes."""
    message_id = _message_id(request, "unsubscribe", token)
    async with _workshop(request).begin() as work:
        row, _person_id = await actions.person_of_message(work, message_id)
    bulk = row["delivery"] == "bulk"
    return _pages(request).response(
        request,
        "unsubscribe.html",
        title=_("Unsubscribe"),
        explanation=_(
            "Press the button, and we stop our invitations and news. Mails about something you take part in, like a"
            " call that is booked, still come."
        )
        if bulk
        else _(
            "Press the button, and we stop all our mail to you, reminders of booked calls too. Only links that you"
            " ask for, like the one to sign in, still come."
        ),
        action=request.url.path,
        hidden_values={"from": "page"},
        submit_label=_("Unsubscribe"),
        preferences_href=_preferences_link(request, message_id),
        language=_spoken(request, row),
    )


@router.post("/unsubscribe/{token}", summary="Unsubscribe (RFC 8058 one-click, or the page's button)")
async def unsubscribe(request: Request, token: str) -> Response:
    """Applied when this answers. Repeating it stops nothing more."""
    delivery = await _unsubscribe(request, token)
    message_id = _message_id(request, "unsubscribe", token)
    return _pages(request).response(
        request,
        "done.html",
        title=_("You are unsubscribed"),
        summary=_("We stopped our invitations and news to you.")
        if delivery == "bulk"
        else _("We stopped our mail to you."),
        next_href=_preferences_link(request, message_id),
        next_label=_("Choose what you get"),
    )


@router.post("/v1/messages/unsubscribe/{token}", status_code=204, summary="Unsubscribe by the token of a message")
async def unsubscribe_json(request: Request, token: str) -> None:
    """The same as the page's button."""
    await _unsubscribe(request, token)


# ---------------------------------------------------------------- preferences


async def _by_token(work: Work, request: Request, token: str) -> tuple[UUID, list[bytes]]:
    row, person_id = await actions.person_of_message(work, _message_id(request, "preferences", token))
    hashes = set(await actions.hashes_of(work, person_id))
    if row["contact_hash"] is not None:
        hashes.add(row["contact_hash"])
    return person_id, sorted(hashes)


async def _by_session(work: Work, principal: Principal) -> tuple[UUID, list[bytes]]:
    person_id = (await resolve(work.connection, [principal.person_id]))[principal.person_id]
    return person_id, await actions.hashes_of(work, person_id)


async def _held(work: Work, person_id: UUID, hashes: list[bytes]) -> Preferences:
    return preferences_of(await people.get_suppressions(work.connection, [person_id], hashes))


async def _choose(work: Work, person_id: UUID, hashes: list[bytes], choice: Choice) -> Preferences:
    """Put a choice into effect. Taking a stop back lifts it first; then what is chosen is set.

    A stop that holds already is said again, so that an earlier yes that is still on its way does not lift it.
    """
    now = await _held(work, person_id, hashes)
    contacts = {"person_ids": [person_id], "hashes": hashes}
    if choice.email is not None:
        loosens = (choice.email, now.email) in {
            ("everything", "taking_part"), ("everything", "nothing"), ("taking_part", "nothing"),
        }  # fmt: skip
        if loosens:
            await actions.restore(work, channel="email", reason="preference", **contacts)  # type: ignore[arg-type]
        if choice.email != "everything":
            scope: Any = "bulk" if choice.email == "taking_part" else "all"
            await actions.suppress(work, channel="email", scope=scope, reason="preference", **contacts)  # type: ignore[arg-type]
    if choice.sms == "off":
        await actions.suppress(work, channel="sms", scope="all", reason="preference", **contacts)  # type: ignore[arg-type]
    elif choice.sms == "on" and now.sms == "off":
        await actions.restore(work, channel="sms", reason="preference", **contacts)  # type: ignore[arg-type]
    return await _held(work, person_id, hashes)


def _form(request: Request, held: Preferences, action: str, *, saved: bool = False,
          errors: dict[str, Message] | None = None, status: int = 200) -> Response:  # fmt: skip
    return _pages(request).response(
        request,
        "preferences.html",
        status=status,
        title=_("What would you like to get?"),
        intro=_("You can change this at any time. Links that you ask for, like the one to sign in, always come."),
        action=action,
        hidden_values={"was_email": held.email, "was_sms": held.sms},
        form_fields=[
            FormField(
                name="email",
                kind="radios",
                label=_("E-mail"),
                required=True,
                options=(
                    Option("everything", _("Everything"), _("Invitations and news, and all about your own calls.")),
                    Option("taking_part", _("Only what I take part in"), _("Booked calls, reminders, decisions.")),
                    Option("nothing", _("Nothing"), _("Not even reminders of calls that are booked.")),
                ),
            ),
            FormField(
                name="sms",
                kind="radios",
                label=_("Text messages"),
                required=True,
                options=(
                    Option("on", _("Yes, where I agreed to texts")),
                    Option("off", _("No texts")),
                ),
            ),
        ],
        values={"email": held.email, "sms": held.sms},
        errors=errors or {},
        submit_label=_("Save"),
        saved=saved,
        undeliverable=held.email_undeliverable,
        stopped_by_text=held.sms_stopped_by_text,
        texts_from=request.app.state.settings.sms_sender,
    )


def _choice_of(email: str, sms: str, was_email: str, was_sms: str) -> Choice:
    """What was changed on the page: a radio left as it was shown, by the form's `was_` fields, says nothing.

    What is shown may be another's word, where a number is shared, or one that a yes on its way takes back.
    """
    errors: dict[str, Message] = {}
    if email not in ("everything", "taking_part", "nothing"):
        errors["email"] = _("Choose which e-mails you would like to get.")
    if sms not in ("on", "off"):
        errors["sms"] = _("Choose whether you would like to get texts.")
    if errors:
        raise Rejected("invalid", _("Choose one answer for each."), status=422, fields=errors)
    spoken = {"email": (email, was_email), "sms": (sms, was_sms)}
    return Choice.model_validate({channel: chosen for channel, (chosen, shown) in spoken.items() if chosen != shown})


@router.get("/preferences/{token}", summary="The preference page behind a mail's link")
async def preferences_page(request: Request, token: str) -> Response:
    """Shows what holds."""
    async with _workshop(request).begin() as work:
        held = await _held(work, *await _by_token(work, request, token))
    return _form(request, held, request.url.path)


@router.post("/preferences/{token}", summary="Save preferences by a mail's link")
async def save_preferences(
    request: Request,
    token: str,
    email: Annotated[str, Form()] = "",
    sms: Annotated[str, Form()] = "",
    was_email: Annotated[str, Form()] = "",
    was_sms: Annotated[str, Form()] = "",
) -> Response:
    """Applied when this answers; what is left as the page showed it stays as it is."""
    async with _workshop(request).begin(request.state.correlation_id) as work:
        subject = await _by_token(work, request, token)
        try:
            choice = _choice_of(email, sms, was_email, was_sms)
        except Rejected as no:
            held = await _held(work, *subject)
            return _form(request, held, request.url.path, errors=no.fields, status=422)
        held = await _choose(work, *subject, choice)
    return _form(request, held, request.url.path, saved=True)


@router.get("/preferences", summary="The signed-in person's preferences")
async def own_preferences_page(request: Request, principal: Annotated[Principal, Depends(signed_in)]) -> Response:
    """Shows what holds."""
    async with _workshop(request).begin() as work:
        held = await _held(work, *await _by_session(work, principal))
    return _form(request, held, "/preferences")


@router.post("/preferences", summary="Save the signed-in person's preferences")
async def save_own_preferences(
    request: Request,
    principal: Annotated[Principal, Depends(signed_in)],
    email: Annotated[str, Form()] = "",
    sms: Annotated[str, Form()] = "",
    was_email: Annotated[str, Form()] = "",
    was_sms: Annotated[str, Form()] = "",
) -> Response:
    """Applied when this answers; what is left as the page showed it stays as it is."""
    async with _workshop(request).begin(request.state.correlation_id) as work:
        subject = await _by_session(work, principal)
        try:
            choice = _choice_of(email, sms, was_email, was_sms)
        except Rejected as no:
            held = await _held(work, *subject)
            return _form(request, held, "/preferences", errors=no.fields, status=422)
        held = await _choose(work, *subject, choice)
    return _form(request, held, "/preferences", saved=True)


@router.get("/v1/messages/preferences", summary="What the signed-in person gets", response_model=Held)
async def get_own_preferences(request: Request, principal: Annotated[Principal, Depends(signed_in)]) -> Preferences:
    """What holds."""
    async with _workshop(request).begin() as work:
        return await _held(work, *await _by_session(work, principal))


@router.put("/v1/messages/preferences", summary="Choose what the signed-in person gets", response_model=Held)
async def put_own_preferences(
    request: Request, choice: Choice, principal: Annotated[Principal, Depends(signed_in)]
) -> Preferences:
    """Applied when this answers; the answer is what holds now."""
    async with _workshop(request).begin(request.state.correlation_id) as work:
        return await _choose(work, *await _by_session(work, principal), choice)


@router.get("/v1/messages/preferences/{token}", summary="What a message's recipient gets", response_model=Held)
async def get_preferences(request: Request, token: str) -> Preferences:
    """What holds."""
    async with _workshop(request).begin() as work:
        return await _held(work, *await _by_token(work, request, token))


@router.put("/v1/messages/preferences/{token}", summary="Choose what a message's recipient gets", response_model=Held)
async def put_preferences(request: Request, token: str, choice: Choice) -> Preferences:
    """Applied when this answers; the answer is what holds now."""
    async with _workshop(request).begin(request.state.correlation_id) as work:
        return await _choose(work, *await _by_token(work, request, token), choice)


def _preferences_link(request: Request, message_id: UUID) -> str:
    link: str = request.app.state.renderer.link("preferences", message_id)
    return link


def _spoken(request: Request, row: Any) -> str:
    """The language asked for in the address, else the message's."""
    pages = _pages(request)
    return pages.page_language(request, row["language"])
