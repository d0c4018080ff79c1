"""What becomes of a mail after it was handed over, as the relay host reports it: delivered, bounced, complained."""

import hmac
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from services.notifications import actions
from shared.errors import NotFound
from shared.log import get_logger
from shared.work import Workshop

log = get_logger("notifications.receipts")
router = APIRouter(tags=["mail"])


class Receipt(BaseModel):
    """One report. `message_id` is the mail's Message-ID, with or without its angle brackets."""

    model_config = ConfigDict(extra="forbid")

    message_id: str = Field(min_length=36, max_length=300, examples=["<0190a1b2-…@example.org>"])
    outcome: Literal["delivered", "bounced", "complained"]


class State(BaseModel):
    """Where the message stands now."""

    state: str


@router.post("/mail/receipts", summary="What became of a mail, told by the relay host", response_model=State)
async def take_receipt(
    request: Request, receipt: Receipt, x_receipt_token: Annotated[str, Header(max_length=200)] = ""
) -> State:
    """Settles an unknown mail before it is sent again; a bounce or a complaint suppresses. A repeat changes nothing."""
    expected = request.app.state.settings.mail_receipt_token
    if expected is None or not hmac.compare_digest(x_receipt_token.encode(), expected.get_secret_value().encode()):
        raise HTTPException(401, detail="Present the relay host's credential in the header X-Receipt-Token.")
    try:
        message_id = UUID(receipt.message_id.strip("<> ").partition("@")[0])
    except ValueError:
        raise NotFound from None
    workshop: Workshop = request.app.state.workshop
    async with workshop.begin(request.state.correlation_id) as work:
        state = await actions.take_receipt(work, message_id, receipt.outcome)
    log.info("receipt_taken", message_id=str(message_id), outcome=receipt.outcome, state=state)
    return State(state=state)
