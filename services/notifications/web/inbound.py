"""Texts that come in: STOP, HELP, START and plain words that mean the same."""

import hmac
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from services.notifications import actions
from services.notifications.domain.texts import intent_of
from services.notifications.domain.tokens import contact_hash
from services.notifications.sending.render import Renderer
from services.notifications.sending.sms import SmsGateway
from services.notifications.store import people
from shared.events.envelope import new_id
from shared.log import get_logger
from shared.people import resolve
from shared.work import Workshop

log = get_logger("notifications.inbound")
router = APIRouter(tags=["texts"])


class IncomingText(BaseModel):
    """What the provider posts. Neither number nor words are stored."""

    model_config = ConfigDict(populate_by_name=True)

    sender: str = Field(alias="from", min_length=3, max_length=40, pattern=r"^\+?[0-9 ().\-]+$")
    body: str = Field(max_length=2000)


class Taken(BaseModel):
    """What was understood."""

    intent: Literal["stop", "help", "start", "none"]


@router.post("/sms/inbound", summary="A text that somebody sent us", response_model=Taken)
async def inbound(
    request: Request, text: IncomingText, x_inbound_token: Annotated[str, Header(max_length=200)] = ""
) -> Taken:
    """A stop is applied when this answers: no hand-off that begins later goes to this number or its people."""
    expected = request.app.state.settings.sms_inbound_token
    if expected is None or not hmac.compare_digest(x_inbound_token.encode(), expected.get_secret_value().encode()):
        raise HTTPException(401, detail="Present the provider's credential in the header X-Inbound-Token.")
    intent = intent_of(text.body)
    if intent is None:
        return Taken(intent="none")
    hashed = contact_hash(request.app.state.settings.contact_key, "sms", text.sender)
    workshop: Workshop = request.app.state.workshop
    reply_id = new_id()
    async with workshop.begin(request.state.correlation_id) as work:
        found = await people.find_by_contact(work.connection, hashed)
        current = await resolve(work.connection, [person_id for person_id, _language in found])
        person_ids = sorted(set(current.values()))
        changed = True
        if intent == "stop":
            changed = await actions.suppress(
                work, channel="sms", scope="all", reason="stop", person_ids=person_ids, hashes=[hashed]
            )
        elif intent == "start":
            changed = await actions.restore(work, channel="sms", reason="start", person_ids=person_ids, hashes=[hashed])
        answers = changed and await people.insert_reply(work.connection, reply_id, hashed, intent, work.now)
    gateway: SmsGateway | None = request.app.state.gateway
    if answers and gateway is not None:
        renderer: Renderer = request.app.state.renderer
        language = found[0][1] if found else str(request.app.state.program.default_language)
        # At most one: what ends unknown is not sent again, since the stop itself already holds.
        answer = await gateway.hand_over(text.sender, renderer.reply(intent, language).text, str(reply_id))
        state = answer.outcome if answer.outcome in ("accepted", "unknown") else "failed"
        await workshop.pool.execute(people.MARK_REPLY, reply_id, state)
        log.info("text_answered", intent=intent, outcome=answer.outcome)
    return Taken(intent=intent)
