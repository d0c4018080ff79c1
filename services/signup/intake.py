"""The intake: sign-ups that arrive together share one transaction, and each is answered after its commit.

While one transaction commits, the next sign-ups gather; so a batch is as large as the load makes it, and a lone
sign-up waits for nobody. If a batch fails for a reason of its rows, it is done again one by one, and only the
culprit fails. What is written does not depend on whether the address is known: the same statements run.

The argument: an answer is given only after the commit of intent, sign-up, consents, source, link and outbox row.
A repeat of an intent meets its row in `intents`, in this process, in another, or still in flight (it waits on the
row), and gets the same answer.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import orjson

from services.signup.domain.submission import Submission
from services.signup.limits import Limits, of_sender, too_many
from services.signup.store import intake as store
from services.signup.store.intake import Row
from shared.db import TRANSIENT
from shared.errors import Rejected
from shared.events.envelope import new_id
from shared.events.signup import SignedUp
from shared.links import derive, fingerprint
from shared.log import get_logger
from shared.outbox import Outgoing
from shared.program import Program
from shared.web.text import _
from shared.work import Work, Workshop

log = get_logger("signup.intake")

CONFIRM_LASTS = timedelta(days=30)
KEEP_INTENTS = timedelta(days=7)
IN_FLIGHT = 2
AHEAD_LASTS = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to a sign-up, the same for known and unknown addresses."""

    signup_id: UUID
    intent_id: UUID


@dataclass(slots=True, eq=False)
class _Waiting:
    submission: Submission
    buckets: Sequence[str]
    correlation_id: str | None
    answer: "asyncio.Future[Receipt]"


Outcome = Receipt | Rejected


class Intake:
    """Gathers concurrent sign-ups of one process into batches."""

    def __init__(self, workshop: Workshop, limits: Limits, *, secret: str, batch: int) -> None:
        self._workshop = workshop
        self._limits = limits
        self._secret = secret
        self._batch = batch
        self._queue: list[_Waiting] = []
        self._workers: set[asyncio.Task[None]] = set()
        self._ahead: timedelta | None = None
        self._ahead_read_at = datetime.min.replace(tzinfo=UTC)

    async def submit(self, submission: Submission, *, address: str, correlation_id: str | None = None) -> Receipt:
        """Store a sign-up and return its receipt after the commit.

        Raises `Rejected`: 422 `intent_conflict` for another payload under the same intent, 429 `too_many`.
        """
        answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        buckets = self._limits.keys(address, submission.email.key)
        self._queue.append(_Waiting(submission, buckets, correlation_id, answer))
        if len(self._workers) < IN_FLIGHT:
            worker = asyncio.create_task(self._drain(), name="signup.intake")
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        return await answer

    async def now(self) -> datetime:
        """The business time, by which consent wordings are chosen: the wall clock and the offset last read.

        Asking the database for each sign-up would double its round trips; the offset only moves in development.
        """
        wall = datetime.now(UTC)
        if self._ahead is None or wall - self._ahead_read_at > AHEAD_LASTS:
            self._ahead = await self._workshop.pool.fetchval("SELECT ahead FROM clock")
            self._ahead_read_at = wall
        return wall + (self._ahead or timedelta(0))

    async def close(self) -> None:
        """Wait until everything that was taken is answered."""
        while self._workers:
            await asyncio.gather(*self._workers)

    async def _drain(self) -> None:
        # Let the requests that are ready now join before the first batch is cut.
        await asyncio.sleep(0)
        while self._queue:
            taken, self._queue = self._queue[: self._batch], self._queue[self._batch :]
            try:
                await self._answer(await self._admitted(taken))
            except Exception as error:  # noqa: BLE001 (whoever waits must learn of it; the route decides its fate)
                for waiting in taken:
                    if not waiting.answer.done():
                        waiting.answer.set_exception(error)

    async def _admitted(self, taken: Sequence[_Waiting]) -> list[_Waiting]:
        fits = await self._limits.admit([waiting.buckets for waiting in taken])
        admitted = [waiting for waiting, fit in zip(taken, fits, strict=True) if fit]
        refused = [waiting for waiting, fit in zip(taken, fits, strict=True) if not fit]
        return admitted + await self._repeats(refused) if refused else admitted

    async def _repeats(self, refused: Sequence[_Waiting]) -> list[_Waiting]:
        """Those that only ask again for the answer to a stored sign-up; all others are told to wait.

        A repeat sends no mail, so an address that has had enough is no reason to leave its sender in doubt.
        """
        async with self._workshop.pool.acquire() as connection:
            known = await store.get_intents(connection, [waiting.submission.intent_id for waiting in refused])
        asking = [waiting for waiting in refused if waiting.submission.intent_id in known]
        fits = await self._limits.admit([of_sender(waiting.buckets) for waiting in asking]) if asking else []
        repeats = [waiting for waiting, fit in zip(asking, fits, strict=True) if fit]
        for waiting in refused:
            if waiting not in repeats:
                _settle(waiting, too_many())
        return repeats

    async def _answer(self, batch: Sequence[_Waiting]) -> None:
        if not batch:
            return
        try:
            outcomes = await self._store(batch)
        except TRANSIENT:
            raise
        except Exception as error:
            if len(batch) == 1:
                raise
            log.warning("batch_failed", signups=len(batch), error=type(error).__name__)
            for waiting in batch:
                try:
                    await self._answer([waiting])
                except Exception as alone:  # noqa: BLE001 (one row's fault is its own)
                    if not waiting.answer.done():
                        waiting.answer.set_exception(alone)
            return
        for waiting, outcome in zip(batch, outcomes, strict=True):
            _settle(waiting, outcome)

    async def _store(self, batch: Sequence[_Waiting]) -> list[Outcome]:
        async with self._workshop.begin() as work:
            return await store_batch(
                work, [(waiting.submission, waiting.correlation_id) for waiting in batch], secret=self._secret
            )


def _settle(waiting: _Waiting, outcome: Outcome) -> None:
    if waiting.answer.done():  # the client went away; what was stored stays stored
        return
    if isinstance(outcome, Rejected):
        waiting.answer.set_exception(outcome)
    else:
        waiting.answer.set_result(outcome)


async def store_batch(work: Work, batch: Sequence[tuple[Submission, str | None]], *, secret: str) -> list[Outcome]:
    """Write what is new of a batch, each sign-up with its correlation id; the outcomes in the order given."""
    ids = [new_id() for _one in batch]
    first: dict[UUID, tuple[bytes, UUID]] = {}
    for (sent, _correlation), signup_id in zip(batch, ids, strict=True):
        first.setdefault(sent.intent_id, (sent.payload_hash, signup_id))
    fresh = await store.claim_intents(
        work.connection, [(intent, *stored) for intent, stored in first.items()], work.now
    )
    kept = {intent: store.Known(*first[intent]) for intent in fresh}
    if len(fresh) < len(first):
        kept |= await store.get_intents(work.connection, [intent for intent in first if intent not in fresh])
    new = [
        (sent, correlation_id, signup_id)
        for (sent, correlation_id), signup_id in zip(batch, ids, strict=True)
        if kept[sent.intent_id].signup_id == signup_id
    ]
    if new:
        await _write(work, new, secret)
    return [_outcome(sent, kept[sent.intent_id]) for sent, _correlation in batch]


def _outcome(sent: Submission, kept: store.Known) -> Outcome:
    if kept.payload_hash != sent.payload_hash:
        message = _("This sign-up was sent before with other answers. Open the form again and send it anew.")
        return Rejected("intent_conflict", message, status=422)
    return Receipt(kept.signup_id, sent.intent_id)


async def _write(work: Work, new: Sequence[tuple[Submission, str | None, UUID]], secret: str) -> None:
    people = {sent.email.key: (sent.email.key, new_id(), sent.email.typed) for sent, _c, _s in reversed(new)}
    claimed, owners = await store.claim_emails(work.connection, list(people.values()), work.now)
    unclaimed = set(claimed)
    rows: list[Row] = []
    for sent, correlation_id, signup_id in new:
        owner = owners[sent.email.key]
        link_id = new_id()
        token = derive(secret, "confirm", str(link_id))
        newcomer = sent.email.key in unclaimed
        unclaimed.discard(sent.email.key)
        row = Row(sent, signup_id, owner.person_id, link_id, fingerprint(token), known=owner.confirmed,
                  newcomer=newcomer, facts=orjson.dumps(sent.facts.as_json()).decode())  # fmt: skip
        rows.append(row)
        # One batch carries several requests' chains.
        work.outgoing.append(Outgoing(signed_up(row, work.program), work.now, correlation_id))
    await store.insert_signups(
        work.connection,
        rows,
        version=work.program.version,
        content_hash=work.program.content_hash,
        now=work.now,
        lasts=CONFIRM_LASTS,
    )


def signed_up(row: Row, program: Program) -> SignedUp:
    """The event that tells of a stored sign-up."""
    sent = row.submission
    return SignedUp(
        person_id=row.person_id,
        signup_id=row.signup_id,
        intent_id=sent.intent_id,
        form=sent.form,
        role=sent.role,
        known=row.known,
        legal_body=sent.legal_body,
        program_version=program.version,
        language=sent.facts.language,
        state=sent.facts.state,
        office=sent.facts.office,
        office_level=program.office(sent.facts.office).level if sent.facts.office else None,
        tracks=sent.facts.tracks,
        time_zone=sent.facts.time_zone,
    )
