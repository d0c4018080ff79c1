"""Stopping and restarting channels, and what an operator decides about an unknown message."""

import datetime as dt
from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from services.notifications.domain.sending import Channel, Scope
from services.notifications.domain.texts import holds_contact
from services.notifications.store import messages, people
from shared.errors import NotFound, Rejected
from shared.events import notifications as events
from shared.people import resolve
from shared.web.text import _
from shared.work import Work

Reason = Literal["unsubscribed", "stop", "bounce", "complaint", "preference"]
Decision = Literal["accepted", "retry", "drop"]
MIN_REASON, MAX_REASON = 3, 200
COMMAND_LINE = UUID(int=0)
"""The actor in the audit log for what was done by command, which needs the machine and no account."""


async def suppress(
    work: Work, *, channel: Channel, scope: Scope, reason: Reason, person_ids: Sequence[UUID], hashes: Sequence[bytes]
) -> bool:
    """Stop a channel for these people and these contacts; false when it was stopped to that extent already.

    Contacts are suppressed on their own, so that the stop outlives the person's erasure. Signup is told each time: a
    form may have given the consent again since, which lifts no stop.
    """
    told = False
    for person_id in person_ids:
        told |= await people.insert_suppression(
            work.connection, channel=channel, scope=scope, reason=reason, person_id=person_id, contact_hash=None,
            now=work.now,
        )  # fmt: skip
        work.emit(events.ContactSuppressed(person_id=person_id, channel=channel, reason=reason))
    for contact_hash in hashes:
        told |= await people.insert_suppression(
            work.connection, channel=channel, scope=scope, reason=reason, person_id=None, contact_hash=contact_hash,
            now=work.now,
        )  # fmt: skip
    return told


async def restore(
    work: Work, *, channel: Channel, reason: Literal["start", "preference"], person_ids: Sequence[UUID],
    hashes: Sequence[bytes],
) -> bool:  # fmt: skip
    """Take back what these people said; whether any of them is reached again. Bounces and complaints stay.

    So does a number's STOP, but for START; and at START what somebody chose on a page, which keeps them off whoever
    else is texted there. Signup is told of those for whom something was lifted and nothing of theirs is left: a
    number's own rows are nobody's in particular.
    """
    lifted = await people.lift_suppressions(
        work.connection, channel, person_ids, hashes, said_at=work.now, by_text=reason == "start", now=work.now
    )
    held = await people.get_suppressions(work.connection, person_ids, [])
    kept_off = {row["person_id"] for row in held if row["channel"] == channel}
    restored = sorted({person_id for person_id in lifted if person_id is not None} - kept_off)
    work.emit(*(events.ContactRestored(person_id=person_id, channel=channel, reason=reason) for person_id in restored))
    return bool(lifted) and (not person_ids or not kept_off.issuperset(person_ids))


async def heed_yes(work: Work, person_id: UUID, channel: Channel, said_at: dt.datetime) -> None:
    """Somebody said yes to a channel on their own page, at signup: what they had stopped before comes again.

    Signup has the consent already, and was told of each stop when it was said, so nothing is emitted.
    """
    ids = list({person_id, (await resolve(work.connection, [person_id]))[person_id]})
    hashes = [contact_hash for each in ids for contact_hash in await hashes_of(work, each)]
    await people.lift_suppressions(work.connection, channel, ids, hashes, said_at=said_at, by_text=False, now=work.now)


async def hashes_of(work: Work, person_id: UUID) -> list[bytes]:
    """Hashes of the contacts that we wrote to this person under."""
    return [row["contact_hash"] for row in await work.connection.fetch(people.GET_HASHES, [person_id])]


async def person_of_message(work: Work, message_id: UUID) -> tuple[messages.Row, UUID]:
    """A message that a link names, and the person it went to, by the id that they go by today."""
    row = await messages.get_message(work.connection, message_id)
    if row is None:
        raise NotFound(_("This link no longer leads anywhere. Write to us, and we’ll change it for you."))
    current = (await resolve(work.connection, [row["person_id"]]))[row["person_id"]]
    return row, current


async def take_receipt(work: Work, message_id: UUID, outcome: Literal["delivered", "bounced", "complained"]) -> str:
    """What the relay host reports of a mail; the state that it leaves the message in. A repeat changes nothing."""
    row = await work.connection.fetchrow(messages.LOCK_MESSAGE, message_id)
    if row is None or row["channel"] != "email":
        raise NotFound
    state, reason = ("rejected", "bounced") if outcome == "bounced" else ("accepted", "receipt")
    changed: str | None = await work.connection.fetchval(messages.MARK_BY_RECEIPT, message_id, state, reason)
    if changed is not None:
        ids = {"person_id": row["person_id"], "message_id": message_id, "template": row["template"],
               "channel": row["channel"]}  # fmt: skip
        told = events.MessageSent(**ids) if state == "accepted" else events.MessageFailed(**ids, reason=reason)
        work.emit(told, correlation_id=row["correlation_id"])
    if outcome != "delivered" and row["contact_hash"] is not None:
        why: Reason = "bounce" if outcome == "bounced" else "complaint"
        scope: Scope = "address" if outcome == "bounced" else "all"
        fresh = await people.insert_suppression(
            work.connection, channel="email", scope=scope, reason=why, person_id=None,
            contact_hash=row["contact_hash"], now=work.now,
        )  # fmt: skip
        if fresh:
            suppressed = events.ContactSuppressed(person_id=row["person_id"], channel="email", reason=why)
            work.emit(suppressed, correlation_id=row["correlation_id"])
    return changed or str(row["state"])


async def settle(
    work: Work, actor: UUID, message_id: UUID, decision: Decision, reason_given: str | None = None
) -> None:
    """An operator says what became of an unknown message, or has it sent again knowing that it may come twice.

    `actor` is the account, or `COMMAND_LINE`; `reason_given` is kept in the audit log.
    """
    if reason_given is not None:
        reason_given = reason_given.strip()
        if not MIN_REASON <= len(reason_given) <= MAX_REASON or not reason_given.isprintable():
            message = _("Give the reason in one line of %(least)d to %(most)d characters.", least=MIN_REASON,
                        most=MAX_REASON)  # fmt: skip
            raise Rejected("bad_reason", message, status=422, fields={"reason": message})
        if holds_contact(reason_given):
            message = _("Leave addresses and numbers out of the reason: it is kept for good.")
            raise Rejected("bad_reason", message, status=422, fields={"reason": message})
    row = await work.connection.fetchrow(messages.LOCK_MESSAGE, message_id)
    if row is None:
        raise NotFound
    if row["state"] != "unknown":
        raise Rejected(
            "not_unknown",
            _("This message is no longer unknown. Open it again to see what became of it."),
        )
    state, reason, due_at = {
        "accepted": ("accepted", "by_operator", None),
        "retry": ("queued", "by_operator", work.now),
        "drop": ("dropped", "by_operator", None),
    }[decision]
    await work.connection.execute(messages.MARK_BY_OPERATOR, message_id, state, reason, due_at)
    ids = {"person_id": row["person_id"], "message_id": message_id, "template": row["template"],
           "channel": row["channel"]}  # fmt: skip
    if decision == "accepted":
        work.emit(events.MessageSent(**ids), correlation_id=row["correlation_id"])
    elif decision == "drop":
        work.emit(events.MessageFailed(**ids, reason="by_operator"), correlation_id=row["correlation_id"])
    await people.append_audit(
        work.connection,
        actor=actor,
        action="message_settled",
        subject=str(message_id),
        details={"decision": decision, "template": row["template"], "channel": row["channel"]}
        | ({"reason": reason_given} if reason_given else {}),
        now=work.now,
    )
