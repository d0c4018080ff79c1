"""What people do about messages they don't want: the link in a mail, the preference page, STOP by text."""

import asyncio
import random
from typing import Any

from deploy.demo.client import UNANSWERED, Refused
from deploy.demo.journey import Stage, read_link
from tests.faults.load.crowd import Later

STOP_WORDS = ("STOP", "Stop.", "stopall", "UNSUBSCRIBE", "cancel", "END", "quit!", "No más")


async def confirm(stage: Stage, email: str) -> dict[str, Any] | None:
    """Press the button of the mailed link; the session, or None when the link was refused."""
    token = await read_link(stage, email, "/confirm/")
    try:
        answer: dict[str, Any] = await stage.client.post("signup", "/v1/confirmations", {"token": token})
    except Refused as no:
        # Time may have passed, or an earlier answer was lost.
        await stage.acted("confirm", email, None, "unknown" if no.repeated else "nack", code=no.code)
        return None
    except UNANSWERED as failure:
        await stage.acted("confirm", email, None, "unknown", error=type(failure).__name__)
        raise
    await stage.acted("confirm", email, answer["person_id"], "ack")
    return answer


async def act_later(
    stage: Stage, what: Later, email: str, person_id: str, phone: str | None, inbound_token: str | None
) -> None:
    """Unsubscribe, choose, or text STOP; the ledger learns what was stopped, and when that was answered."""
    if what == "stop":
        if phone is not None and inbound_token is not None:
            await _text_stop(stage, email, person_id, phone, inbound_token)
        return
    preferences = await read_link(stage, email, "/preferences/")
    held_path = f"/v1/messages/preferences/{preferences}"
    try:
        if what == "unsubscribe":
            token = await read_link(stage, email, "/unsubscribe/")
            await stage.client.post("notifications", f"/v1/messages/unsubscribe/{token}")
            held = await stage.client.get("notifications", held_path)
        else:
            choice = {"email": random.Random(email).choice(("taking_part", "nothing")), "sms": "off"}
            held = await stage.client.put("notifications", held_path, choice)
    except Refused as no:
        await stage.acted("stop", email, person_id, "unknown" if no.repeated else "nack", code=no.code)
        return
    except UNANSWERED as failure:
        await stage.acted("stop", email, person_id, "unknown", error=type(failure).__name__)
        raise
    scope = "all" if held["email"] == "nothing" else "bulk"
    await stage.acted("stop", email, person_id, "ack", channel="email", scope=scope, by=what)
    if what == "choose":
        await stage.acted("stop", email, person_id, "ack", channel="sms", scope="all", by=what)


async def _text_stop(stage: Stage, email: str, person_id: str, phone: str, inbound_token: str) -> None:
    body = {"from": phone, "body": random.Random(phone).choice(STOP_WORDS)}
    detail = {"channel": "sms", "scope": "all", "by": "text"}
    headers = {"X-Inbound-Token": inbound_token}
    try:
        answer = await stage.client.call("POST", "notifications", "/sms/inbound", body, headers=headers)
    except (Refused, *UNANSWERED) as failure:
        await stage.acted("stop", email, person_id, "unknown", **detail, error=type(failure).__name__)
        if isinstance(failure, Refused):
            return
        raise
    outcome = "ack" if answer["intent"] == "stop" else "nack"
    await stage.acted("stop", email, person_id, outcome, **detail, understood=answer["intent"])


async def after_confirming(
    stage: Stage, email: str, phone: str | None, later: tuple[Later, ...], inbound_token: str | None
) -> None:
    """What somebody of the crowd does once their sign-up was acknowledged."""
    session = await confirm(stage, email)
    if session is None:
        return
    for what in later:
        # People read first.
        await asyncio.sleep(random.Random(email).uniform(0.5, 3))
        await act_later(stage, what, email, session["person_id"], phone, inbound_token)
