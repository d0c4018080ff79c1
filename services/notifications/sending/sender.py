"""One lane of messages from the queue to the provider.

    claim        queued → claimed, under a lease                             one transaction
    ask          contacts from signup, data from the owners                  no transaction
    render       words and bytes                                             no transaction
    check        suppressions, consent, erasure, expiry, quiet hours;
                 what passes becomes `handing`                               one transaction
    hand over    SMTP or the text gateway                                    no transaction
    settle       accepted | rejected | unknown | queued again, with events   one transaction

A crash before `handing` is committed leaves claims that the lease gives back; one after it leaves at most this
batch in `handing`, which recovery turns into `unknown`. Nothing that may have been taken is sent again unless the
rule of its class says so (`domain.sending`).
"""

import asyncio
import datetime as dt
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from services.notifications import metrics
from services.notifications.domain import sending as rules
from services.notifications.domain.sending import Defer, Drop
from services.notifications.domain.tokens import contact_hash, without_tokens
from services.notifications.sending.answers import Answer
from services.notifications.sending.mime import Envelope, Letter, Mail
from services.notifications.sending.providers import Providers
from services.notifications.sending.render import Rendered, Renderer
from services.notifications.sending.sources import Facts, Sources
from services.notifications.store import messages, people
from services.notifications.store.messages import Claimed, Handing, Settled, Unsent
from shared import people as everybody
from shared.db import TRANSIENT
from shared.directory import Contact
from shared.events import notifications as events
from shared.log import get_logger
from shared.messages import Attachment, Data
from shared.work import Work, Workshop

log = get_logger("notifications.sender")

AWAY_SECONDS = 15
MARGIN_SECONDS = 2
UNTOLD = frozenset({"no_consent", "erased", "not_in_program"})
"""Reasons that no event tells: the message was never wanted, or the person is nobody's business any more."""


@dataclass(frozen=True, slots=True)
class Lane:
    """Messages that are claimed together and have connections of their own, so that none holds up another."""

    name: str
    channel: rules.Channel
    deliveries: tuple[rules.Delivery, ...]


@dataclass(frozen=True, slots=True)
class Ready:
    """A rendered message with the contact that it goes to."""

    message: Claimed
    contact: Contact
    address: str
    address_hash: bytes
    rendered: Rendered
    attachments: tuple[Attachment, ...]


class Sender:
    """Runs one lane."""

    def __init__(
        self, lane: Lane, *, workshop: Workshop, sources: Sources, renderer: Renderer, providers: Providers,
        contact_key: str, batch: int, at_once: int, lease_seconds: float, timeout_seconds: float, name: str,
        can_look_up: bool = False,
    ) -> None:  # fmt: skip
        self.lane = lane
        self._workshop = workshop
        self._sources = sources
        self._renderer = renderer
        self._providers = providers
        self._contact_key = contact_key
        self._batch = batch
        self._lease_seconds = lease_seconds
        self._timeout_seconds = timeout_seconds
        self._at_once = at_once
        self._free = asyncio.Semaphore(at_once)
        self._name = name
        self._can_look_up = can_look_up
        self._stopping = False

    async def run(self) -> None:
        """Send until cancelled: at once while there is more, else five times a second.

        Mail goes in two half batches, one behind the other: while one is handed over, words for the other are made. Of
        a person's texts only the first says how to stop them, so of texts there is one batch at a time.

        Cancelled in the middle of a batch it begins no other hand-over, and ends after writing down what came of those
        under way: a deploy leaves nothing unknown.
        """
        self._stopping = False
        halves = 2 if self.lane.channel == "email" and self._batch > 1 else 1
        going_on = asyncio.Event()
        going_on.set()
        running = [asyncio.create_task(self._run(self._batch // halves, going_on)) for _ in range(halves)]
        try:
            # One that fails ends the other only after its batch: what a host said there is still to be written down.
            await asyncio.wait(running)
            for ended in running:
                ended.result()
        finally:
            for each in running:
                each.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _run(self, most: int, going_on: asyncio.Event) -> None:
        try:
            while going_on.is_set():
                if not await self.send_batch(most):
                    await asyncio.sleep(0.2)
        finally:
            going_on.clear()

    async def send_batch(self, most: int | None = None) -> int:
        """Take one batch (`most` at most) as far as it goes; returns how many were claimed."""
        if self.lane.deliveries == ("bulk",) and await self.bulk_paused():
            return 0
        room = self._providers.room(most or self._batch)
        if not room:
            return 0
        claimed = await messages.claim(
            self._workshop.pool, self._name, self.lane.channel, self.lane.deliveries, room, self._lease_seconds
        )
        if not claimed:
            return 0
        facts = await self._sources.fetch(claimed)
        ready, unsent = await self._prepare(claimed, facts)
        cleared = await self._check(ready, unsent)
        if cleared:
            handing = asyncio.ensure_future(self._hand_over_all(cleared))
            try:
                await asyncio.shield(handing)
            except asyncio.CancelledError:
                self._stopping = True
                await handing
                raise
        return len(claimed)

    async def _hand_over_all(self, cleared: Sequence[Ready]) -> None:
        begin_before = time.monotonic() + self._lease_seconds - self._timeout_seconds - MARGIN_SECONDS
        left = iter(cleared)
        answered: list[tuple[Ready, Answer]] = []

        async def in_line() -> None:
            for ready in left:
                answer = await self._in_turn(ready, begin_before)
                answered.append((ready, answer))

        await asyncio.gather(*(in_line() for _ in range(min(self._at_once, len(cleared)))))
        await self._settle_at_last(answered)

    async def bulk_paused(self) -> bool:
        """Whether too much of the last day's bulk mail bounced or was called spam."""
        row = await self._workshop.pool.fetchrow(messages.COUNT_RECENT_BULK)
        paused = rules.bulk_is_paused(row["sent"], row["bounced"], row["complained"])
        metrics.BULK_PAUSED.set(paused)
        return paused

    async def _in_turn(self, ready: Ready, begin_before: float) -> Answer:
        async with self._free:
            if self._stopping:
                return Answer("temporary", "stopping", retry_after_seconds=0)
            if time.monotonic() > begin_before:
                # The lease could end before the answer comes, and recovery would take it for lost.
                return Answer("temporary", "too_slow")
            with metrics.HAND_OVER_SECONDS.labels(self.lane.name).time():
                answer = await self._providers.hand_over(ready)
        metrics.HAND_OVERS.labels(self.lane.name, answer.outcome).inc()
        return answer

    async def _prepare(self, claimed: Sequence[Claimed], facts: Facts) -> tuple[list[Ready], list[Unsent]]:
        """Render what can be; say of the others where they go."""
        now: dt.datetime = await self._workshop.pool.fetchval("SELECT business_now()")
        texted: set[UUID] = set()
        if self.lane.channel == "sms":
            rows = await self._workshop.pool.fetch(messages.GET_TEXTED, [message.person_id for message in claimed])
            texted = {row["person_id"] for row in rows}
        ready: list[Ready] = []
        unsent: list[Unsent] = []
        for message in claimed:
            contact, answer = facts.contacts.get(message.person_id), facts.answers.get(message.id)
            if message.id in facts.away or (contact is not None and answer is None):
                unsent.append(Unsent(message.id, "queued", "owner_away", now + dt.timedelta(seconds=AWAY_SECONDS)))
                continue
            address = None
            if contact is not None:
                address = contact.email if message.channel == "email" else contact.phone
            if contact is None or answer is None:
                unsent.append(Unsent(message.id, "dropped", "no_person", None))
            elif answer.status == "gone":
                unsent.append(Unsent(message.id, "dropped", "gone", None))
            elif address is None:
                unsent.append(Unsent(message.id, "dropped", "no_contact", None))
            elif not address.isprintable() or " " in address.strip():
                unsent.append(Unsent(message.id, "rejected", "bad_address", None))
            else:
                try:
                    data = Data.registry[message.template].model_validate(answer.data)
                    rendered = self._render(message, contact, data, first=message.person_id not in texted)
                except (ValidationError, LookupError) as fault:
                    # The owner answers with what this version does not read: a deploy may mend it.
                    log.error("message_not_rendered", message_id=str(message.id), template=message.template,
                              error=type(fault).__name__)  # fmt: skip
                    unsent.append(self._again(message, "not_rendered", now))
                    continue
                texted.add(message.person_id)
                hashed = contact_hash(self._contact_key, message.channel, address)
                ready.append(Ready(message, contact, address, hashed, rendered, answer.attachments))
        return ready, unsent

    def _again(self, message: Claimed, reason: str, now: dt.datetime) -> Unsent:
        after = rules.after(
            "temporary", reason, channel=message.channel, delivery=message.delivery, tries=message.tries + 1,
            hands=message.hands, now=now, retry_after_seconds=rules.RETRY_SECONDS,
        )  # fmt: skip
        return Unsent(message.id, after.state, after.reason, after.due_at, tried=1)

    def _render(self, message: Claimed, contact: Contact, data: Data, *, first: bool) -> Rendered:
        if message.channel == "sms":
            return self._renderer.sms(template=message.template, contact=contact, data=data, first=first)
        return self._renderer.email(
            message_id=message.id, template=message.template, event_type=message.event_type,
            delivery=message.delivery, contact=contact, data=data,
        )  # fmt: skip

    async def _check(self, ready: Sequence[Ready], unsent: list[Unsent]) -> list[Ready]:
        """Look again at everything that forbids sending, under the lock that a stop takes alone, and commit
        `handing` for what passes.
        """
        cleared: list[Ready] = []
        async with self._workshop.begin() as work:
            connection = work.connection
            await connection.execute(people.SHARE_LOCK, people.SUPPRESSION_LOCK)
            ours = await messages.lock_claimed(connection, [r.message.id for r in ready], self._name)
            person_ids = [i for r in ready for i in (r.message.person_id, r.contact.current_id)]
            held = await people.get_suppressions(connection, person_ids, [r.address_hash for r in ready])
            withdrawn = await people.get_withdrawn(connection, person_ids)
            erased = await everybody.erased(connection, person_ids)
            for r in (r for r in ready if r.message.id in ours):
                message, contact = r.message, r.contact
                both = {message.person_id, contact.current_id}
                verdict: rules.Verdict = (
                    Drop("erased")
                    if both & erased
                    else rules.may_send(
                        channel=message.channel,
                        delivery=message.delivery,
                        contact=contact,
                        scopes=[
                            row["scope"]
                            for row in held
                            if row["channel"] == message.channel
                            and (row["person_id"] in both or row["contact_hash"] == r.address_hash)
                        ],
                        withdrawn=any((person_id, message.channel) in withdrawn for person_id in both),
                        expires_at=message.expires_at,
                        texting=work.program.texting,
                        now=work.now,
                    )
                )
                if isinstance(verdict, Drop):
                    unsent.append(Unsent(message.id, "dropped", verdict.reason, None))
                elif isinstance(verdict, Defer):
                    unsent.append(Unsent(message.id, "deferred", "quiet_hours", verdict.until))
                else:
                    cleared.append(r)
            if cleared:
                await self._mark_handing(work, cleared)
            if unsent:
                rows = await messages.mark_unsent(connection, unsent, self._name)
                _tell(work, rows)
        return cleared

    async def _mark_handing(self, work: Work, cleared: Sequence[Ready]) -> None:
        handing = [
            Handing(
                id=r.message.id,
                # What is kept opens no door: a link's mail not at all, other words without their links' tokens.
                subject=r.rendered.subject,
                body="" if r.message.delivery == "link" else without_tokens(r.rendered.text),
                language=r.rendered.language,
                contact_hash=r.address_hash,
                segments=r.rendered.segments,
                legal_body=r.contact.legal_body,
            )
            for r in cleared
        ]
        await messages.mark_handing(work.connection, handing, work.now, self._lease_seconds)
        contacts = sorted({(r.address_hash, r.contact.current_id, r.rendered.language) for r in cleared})
        await people.note_contacts(work.connection, contacts, work.now)

    async def _settle_at_last(self, answered: Sequence[tuple[Ready, Answer]]) -> None:
        """What the provider said must not be lost to an outage of the database: without it all would be unknown."""
        pause = 0.2
        while True:
            try:
                return await self._settle(answered)
            except TRANSIENT as fault:
                log.warning("settling_put_off", messages=len(answered), error=type(fault).__name__)
                if self._stopping:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5.0)

    async def _settle(self, answered: Sequence[tuple[Ready, Answer]]) -> None:
        async with self._workshop.begin() as work:
            settled = []
            for r, answer in answered:
                message, hands = r.message, r.message.hands + 1
                after = rules.after(
                    answer.outcome, answer.reason, channel=message.channel, delivery=message.delivery,
                    tries=message.tries + 1, hands=hands, now=work.now,
                    retry_after_seconds=answer.retry_after_seconds, can_look_up=self._can_look_up,
                )  # fmt: skip
                settled.append(
                    Settled(message.id, message.tries + 1, after.state, after.reason, after.due_at, answer.provider_id)
                )
            rows = await messages.mark_settled(work.connection, settled)
            _tell(work, rows)
            bounced = {r.message.id for r, answer in answered if answer.bounced}
            for row in rows:
                if row["id"] in bounced:
                    await _suppress_bounced(work, row)


async def _suppress_bounced(work: Work, row: Mapping[str, Any]) -> None:
    fresh = await people.insert_suppression(
        work.connection, channel=row["channel"], scope="address", reason="bounce", person_id=None,
        contact_hash=row["contact_hash"], now=work.now,
    )  # fmt: skip
    if fresh:
        work.emit(
            events.ContactSuppressed(person_id=row["person_id"], channel=row["channel"], reason="bounce"),
            correlation_id=row["correlation_id"],
        )


def _tell(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Emit what became of these messages, as far as anybody outside may care."""
    for row in rows:
        ids = {"person_id": row["person_id"], "message_id": row["id"], "template": row["template"],
               "channel": row["channel"]}  # fmt: skip
        if row["state"] == "accepted":
            work.emit(events.MessageSent(**ids), correlation_id=row["correlation_id"])
        elif row["state"] in ("rejected", "dropped") and row["reason"] not in UNTOLD:
            work.emit(events.MessageFailed(**ids, reason=row["reason"]), correlation_id=row["correlation_id"])


def as_mail(envelope: Envelope, ready: Ready, now: dt.datetime) -> Mail:
    """The bytes of a rendered e-mail. `now` is the wall clock: what mail servers compare the Date with."""
    assert ready.rendered.subject is not None
    assert ready.rendered.html is not None
    return envelope.write(
        Letter(
            message_id=ready.message.id,
            recipient=ready.address,
            recipient_name=ready.contact.name,
            subject=ready.rendered.subject,
            language=ready.rendered.language,
            text=ready.rendered.text,
            html=ready.rendered.html,
            date=now,
            unsubscribe_url=ready.rendered.unsubscribe_url,
            attachments=ready.attachments,
            encoded=ready.rendered.encoded,
        )
    )
