"""Declaring a candidacy, and checking the evidence that it was filed."""

from uuid import UUID

from services.endorsement.actions.actor import DECIDING, Actor, actor_of, is_same, local_day, program_of, record
from services.endorsement.domain.candidacy import RETURN_REASONS, Declared
from services.endorsement.store import candidacies as store
from services.endorsement.store.candidacies import Candidacy
from shared.errors import NotFound, Rejected
from shared.events.endorsement import CandidacyDeclared, FilingConfirmed, FilingReturned
from shared.events.envelope import new_id
from shared.web.sessions import Principal
from shared.web.text import _
from shared.work import Work

MAX_NOTE = 1000


async def own_candidacy(work: Work, actor: Actor, candidacy_id: UUID, *, lock: bool = False) -> Candidacy:
    """The actor's own candidacy; somebody else's looks like none at all."""
    take = store.lock_candidacy if lock else store.get_candidacy
    candidacy = await take(work.connection, candidacy_id)
    if not await is_same(work, candidacy.person_id, actor.person_id):
        raise NotFound
    return candidacy


async def declare(work: Work, principal: Principal, declared: Declared, language: str) -> UUID:
    """A new candidacy that waits for verification; returns its id."""
    actor = await actor_of(work, principal)
    candidacy_id = new_id()
    for other in await store.find_candidacies(work.connection, actor.person_id):
        # The index sees one id only; a merged person's other ids are looked at here.
        same = (other.office, other.state, other.district, other.election_date) == (
            declared.office,
            declared.state,
            declared.district,
            declared.election_date,
        )
        if same and other.status != "withdrawn":
            raise store.ALREADY_DECLARED
    await store.insert_candidacy(
        work.connection,
        candidacy_id,
        actor.person_id,
        declared,
        language=language,
        program=program_of(work),
        now=work.now,
    )
    work.emit(
        CandidacyDeclared(
            candidacy_id=candidacy_id,
            person_id=actor.person_id,
            office=declared.office,
            office_level=declared.office_level,
            state=declared.state,
        )
    )
    return candidacy_id


async def edit(work: Work, principal: Principal, candidacy_id: UUID, declared: Declared) -> None:
    """Correct a candidacy until it is verified; it then waits for verification again."""
    actor = await actor_of(work, principal)
    candidacy = await own_candidacy(work, actor, candidacy_id, lock=True)
    if candidacy.status not in ("declared", "returned"):
        raise Rejected(
            "filing_settled", _("This filing can no longer be changed. Write to us if something in it is wrong.")
        )
    await store.update_candidacy(work.connection, candidacy_id, declared, work.now)


async def withdraw(work: Work, principal: Principal, candidacy_id: UUID) -> None:
    """Take a candidacy back as long as it was not verified."""
    actor = await actor_of(work, principal)
    candidacy = await own_candidacy(work, actor, candidacy_id, lock=True)
    if candidacy.status not in ("declared", "returned"):
        raise Rejected("filing_settled", _("This candidacy can no longer be withdrawn here. Write to us instead."))
    await store.mark_withdrawn(work.connection, candidacy_id, work.now)


async def verify(work: Work, principal: Principal, candidacy_id: UUID) -> None:
    """Staff found the person on the official list. Never the applicant's own doing."""
    actor, candidacy = await _take_unverified(work, principal, candidacy_id)
    if candidacy.election_date < local_day(work.program, work.now):
        raise Rejected("election_over", _("That election is over. Return the filing with the reason instead."))
    await store.mark_confirmed(work.connection, candidacy_id, actor.person_id, work.now)
    work.emit(FilingConfirmed(candidacy_id=candidacy_id, person_id=candidacy.person_id, verified_by=actor.person_id))
    await record(work, actor, "filing_confirmed", candidacy_id)


async def return_filing(work: Work, principal: Principal, candidacy_id: UUID, reason: str, note: str) -> None:
    """Staff could not verify the filing; the candidate reads why and corrects it."""
    if reason not in RETURN_REASONS:
        raise Rejected(
            "reason_unknown",
            _("Choose why the filing goes back."),
            status=422,
            fields={"reason": _("Choose why the filing goes back.")},
        )
    actor, candidacy = await _take_unverified(work, principal, candidacy_id)
    await store.mark_returned(work.connection, candidacy_id, reason, note.strip()[:MAX_NOTE], work.now)
    work.emit(FilingReturned(candidacy_id=candidacy_id, person_id=candidacy.person_id, reason=reason))
    await record(work, actor, "filing_returned", candidacy_id, reason=reason)


async def _take_unverified(work: Work, principal: Principal, candidacy_id: UUID) -> tuple[Actor, Candidacy]:
    actor = await actor_of(work, principal, needs=DECIDING)
    candidacy = await store.lock_candidacy(work.connection, candidacy_id)
    if await is_same(work, candidacy.person_id, actor.person_id):
        raise Rejected("own_filing", _("This is your own filing; somebody else has to check it."), status=403)
    if candidacy.status != "declared":
        raise Rejected("filing_settled", _("This filing does not wait for a check any more. Reload the list."))
    return actor, candidacy
