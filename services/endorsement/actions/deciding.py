"""Deciding, announcing and rescinding: separate acts of two people, with reasons; nothing is overwritten."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from uuid import UUID

from services.endorsement.actions.actor import (
    DECIDING,
    Actor,
    actor_of,
    local_day,
    program_of,
    record,
    refuse,
)
from services.endorsement.actions.applying import ANNOUNCE
from services.endorsement.actions.publishing import endorsed_event, publish
from services.endorsement.actions.reviewing import REASONS, Dossier, load_dossier, must_be_in_review, recuse
from services.endorsement.domain import review
from services.endorsement.domain.candidacy import RESCISSION_REASONS
from services.endorsement.store import applications, candidacies
from services.endorsement.store import decisions as store
from services.endorsement.store.decisions import Decision, Endorsement, Rescission
from shared import people, timers
from shared.errors import NotFound, Rejected, TryAgain
from shared.events.endorsement import (
    EndorsementAnnounced,
    EndorsementDecided,
    EndorsementDeclined,
    EndorsementRescinded,
    EndorsementWithdrawn,
)
from shared.events.envelope import new_id
from shared.web.sessions import Principal
from shared.web.text import _
from shared.work import Work

MAX_NOTE = 4000


async def decide(
    work: Work,
    principal: Principal,
    application_id: UUID,
    outcome: str,
    *,
    reason: str | None,
    note: str,
    embargo_until: datetime | None,
) -> Decision:
    """One final decision on an application, by staff who are not recused, on a quorum of scorecards."""
    actor = await actor_of(work, principal, needs=DECIDING)
    if outcome not in ("endorse", "decline"):
        raise Rejected("outcome_unknown", _("Choose to endorse or to decline."), status=422,
                       fields={"outcome": _("Choose to endorse or to decline.")})  # fmt: skip
    if not note.strip():
        raise Rejected("note_missing", _("Write down why you decide so."), status=422,
                       fields={"note": _("Write down why you decide so.")})  # fmt: skip
    dossier = await load_dossier(work, application_id, actor, lock=True)
    must_be_in_review(dossier.application)
    recusal = review.recusal(actor.person_id, dossier.file, dossier.aliases)
    if recusal is not None:
        raise Rejected(recusal.code, recusal.sentence, status=403)
    await _void_recused(work, dossier)
    scorecard = work.program.scorecard
    endorses = outcome == "endorse"
    until = None
    if endorses:
        refuse(review.may_endorse(actor.person_id, dossier.file, dossier.standing, dossier.aliases))
        until = _embargo(work, actor, embargo_until)
    else:
        refuse(
            review.may_decline(
                actor.person_id,
                dossier.file,
                dossier.standing,
                scorecard.decline_reasons,
                reason or "",
                dossier.aliases,
            )
        )
    reapply = None
    if not endorses:
        moment = review.reapply_from(
            review.Decision(False, actor.person_id, work.now, None, reason), scorecard.decline_reasons
        )
        reapply = None if moment is None else local_day(work.program, moment)
    version, content_hash = program_of(work)
    decision = Decision(
        id=new_id(),
        application_id=application_id,
        candidacy_id=dossier.candidacy.id,
        person_id=dossier.application.person_id,
        outcome=outcome,
        reason=None if endorses else reason,
        note=note.strip()[:MAX_NOTE],
        decided_by=actor.person_id,
        decided_at=work.now,
        embargo_until=until,
        reapply_from=reapply,
        scorecards=dossier.standing.counted,
        legal_body=dossier.application.legal_body,
        program_version=version,
        program_hash=content_hash,
    )
    await store.insert_decision(work.connection, decision)
    await applications.mark_application(work.connection, application_id, "endorsed" if endorses else "declined")
    if until is not None:
        await timers.schedule(work, ANNOUNCE, str(decision.id), until)
        work.emit(
            EndorsementDecided(
                candidacy_id=decision.candidacy_id,
                person_id=decision.person_id,
                application_id=application_id,
                decision_id=decision.id,
                embargo_until=until,
            )
        )
    else:
        work.emit(
            EndorsementDeclined(
                candidacy_id=decision.candidacy_id,
                person_id=decision.person_id,
                application_id=application_id,
                decision_id=decision.id,
                reason=decision.reason or "",
                reapply_from=next_chance(decision, dossier.candidacy.election_date),
            )
        )
    await record(
        work, actor, "decided", application_id, decision=str(decision.id), outcome=outcome, reason=decision.reason
    )
    return decision


def next_chance(decision: Decision, election_date: date) -> date:
    """From when a declined person may apply again.

    After a final reason that is the day after this election: another candidacy is always a new start.
    """
    return decision.reapply_from or election_date + timedelta(days=1)


async def _void_recused(work: Work, dossier: Dossier) -> None:
    for card, refusal in review.cards_to_void(dossier.file, dossier.aliases):
        reviewer = review.resolve(card.reviewer.person, dossier.aliases)
        await recuse(work, dossier.candidacy, dossier.application.id, reviewer, REASONS[refusal.code])


def _embargo(work: Work, actor: Actor, wanted: datetime | None) -> datetime:
    policy = work.program.scorecard.embargo
    if wanted is None:
        return review.default_embargo(policy, work.now)
    role = "staff" if actor.decides else "reviewer"
    refuse(review.may_set_embargo(policy, work.now, wanted, role, work.now))
    return wanted


async def approve(work: Work, principal: Principal, decision_id: UUID) -> None:
    """A second person approves the announcement in advance; a timer makes it when the embargo has ended."""
    actor = await actor_of(work, principal, needs=DECIDING)
    decision, announced = await _take(work, decision_id)
    if announced is not None:
        raise Rejected("already_announced", _("This endorsement is announced already; nothing is left to do."))
    await _check_announcer(work, actor, decision, at=decision.embargo_until or work.now)
    await _check_consent(work, decision)
    if await store.insert_approval(work.connection, decision_id, actor.person_id, work.now):
        assert decision.embargo_until is not None
        await timers.schedule(work, ANNOUNCE, str(decision_id), max(decision.embargo_until, work.now))
        await record(work, actor, "announcement_approved", decision.application_id, decision=str(decision_id))


async def announce(work: Work, principal: Principal, decision_id: UUID) -> Endorsement:
    """A second person announces, once the embargo has ended."""
    actor = await actor_of(work, principal, needs=DECIDING)
    decision, announced = await _take(work, decision_id)
    if announced is not None:
        raise Rejected("already_announced", _("This endorsement is announced already; nothing is left to do."))
    await _check_announcer(work, actor, decision, at=work.now)
    await _check_consent(work, decision)
    endorsement = await _publish_endorsement(work, decision, actor.person_id)
    await timers.cancel(work, str(decision_id), ANNOUNCE)
    await record(work, actor, "announced", decision.application_id, endorsement=str(endorsement.id))
    return endorsement


async def announce_when_due(work: Work, timer: timers.Timer) -> None:
    """The embargo of a decision has ended: announce it if a second person has approved, else leave it to staff."""
    decision = await store.get_decision(work.connection, UUID(timer.owner_key))
    # Timers share a transaction: waiting for a candidacy here, with the audit log's head taken, could deadlock.
    if not await candidacies.lock_candidacy_if_free(work.connection, decision.candidacy_id):
        raise TryAgain("the candidacy is being changed")
    announced = await store.get_endorsement_of(work.connection, decision.id)
    approved_by = await store.get_approval(work.connection, decision.id)
    if announced is not None or approved_by is None:
        return
    approver = Actor(approved_by, None, frozenset(), outside=False)
    await _check_announcer(work, approver, decision, at=work.now)
    await _check_consent(work, decision)
    endorsement = await _publish_endorsement(work, decision, approved_by)
    await record(work, approver, "announced", decision.application_id, endorsement=str(endorsement.id), by="timer")


async def _take(work: Work, decision_id: UUID) -> tuple[Decision, Endorsement | None]:
    decision = await store.get_decision(work.connection, decision_id)
    await candidacies.lock_candidacy(work.connection, decision.candidacy_id)
    return decision, await store.get_endorsement_of(work.connection, decision_id)


async def _check_announcer(work: Work, actor: Actor, decision: Decision, *, at: datetime) -> None:
    resolved = await people.resolve(work.connection, [actor.person_id, decision.decided_by, decision.person_id])
    aliases = {alias: person for alias, person in resolved.items() if alias != person}
    if resolved[actor.person_id] == resolved[decision.person_id]:
        raise Rejected("own_file", _("This is your own application; leave it to others."), status=403)
    rule = review.Decision(
        decision.outcome == "endorse", decision.decided_by, decision.decided_at, decision.embargo_until
    )
    refuse(review.may_announce(actor.person_id, rule, at, aliases))


async def _check_consent(work: Work, decision: Decision) -> None:
    application = await applications.get_application(work.connection, decision.application_id)
    if not application.publish_consent:
        raise Rejected(
            "no_consent",
            _("The candidate has not agreed to publish the ballot name. Ask them to agree on their application page."),
        )


async def _publish_endorsement(work: Work, decision: Decision, announced_by: UUID) -> Endorsement:
    candidacy = await candidacies.get_candidacy(work.connection, decision.candidacy_id)
    program = work.program
    office = program.office(candidacy.office)
    endorsement = Endorsement(
        id=new_id(),
        decision_id=decision.id,
        candidacy_id=candidacy.id,
        person_id=decision.person_id,
        status="endorsed",
        ballot_name=candidacy.ballot_name,
        office=candidacy.office,
        office_label=program.text(office.label, program.default_language),
        office_level=candidacy.office_level,
        state=candidacy.state,
        district=candidacy.district,
        election_date=candidacy.election_date,
        organization=program.organization.name,
        legal_body=decision.legal_body,
        program_version=program.version,
        announced_by=announced_by,
        announced_at=work.now,
        rescinded_at=None,
    )
    await store.insert_endorsement(work.connection, endorsement)
    await publish(work, endorsement, endorsed_event(endorsement))
    work.emit(
        EndorsementAnnounced(
            candidacy_id=candidacy.id,
            person_id=decision.person_id,
            endorsement_id=endorsement.id,
            decision_id=decision.id,
        )
    )
    return endorsement


async def request_rescission(
    work: Work, principal: Principal, endorsement_id: UUID, reason: str, note: str
) -> Rescission:
    """One person asks, with a reason; nothing is published until another confirms."""
    actor = await actor_of(work, principal, needs=DECIDING)
    if reason not in RESCISSION_REASONS:
        raise Rejected("reason_unknown", _("Choose why the endorsement is rescinded."), status=422,
                       fields={"reason": _("Choose why the endorsement is rescinded.")})  # fmt: skip
    if not note.strip():
        raise Rejected("reason_missing", _("Write down why the endorsement is rescinded."), status=422,
                       fields={"note": _("Write down why the endorsement is rescinded.")})  # fmt: skip
    endorsement = await _take_endorsement(work, endorsement_id)
    if endorsement.status == "rescinded":
        raise Rejected("already_rescinded", _("This endorsement is rescinded already; nothing is left to do."))
    rescission = Rescission(
        new_id(), endorsement_id, reason, note.strip()[:MAX_NOTE], actor.person_id, work.now, None, None
    )
    await store.insert_rescission(work.connection, rescission)
    await record(work, actor, "rescission_requested", endorsement_id, reason=reason)
    return rescission


async def confirm_rescission(work: Work, principal: Principal, endorsement_id: UUID) -> Endorsement:
    """A second person confirms: the endorsement is taken back, and everyone who saw it is told."""
    actor = await actor_of(work, principal, needs=DECIDING)
    endorsement = await _take_endorsement(work, endorsement_id)
    rescission = await store.get_rescission_of(work.connection, endorsement_id)
    if rescission is None:
        raise Rejected("not_requested", _("Nobody has asked to rescind this endorsement. Ask for it with a reason."))
    resolved = await people.resolve(work.connection, [actor.person_id, rescission.requested_by])
    aliases = {alias: person for alias, person in resolved.items() if alias != person}
    refuse(
        review.may_rescind(
            rescission.requested_by,
            actor.person_id,
            rescission.note,
            is_announced=True,
            is_rescinded=endorsement.status == "rescinded",
            aliases=aliases,
        )
    )
    await store.mark_rescission(work.connection, rescission.id, actor.person_id, work.now)
    await store.mark_rescinded(work.connection, endorsement_id, work.now)
    rescinded = replace(endorsement, status="rescinded", rescinded_at=work.now)
    await publish(work, rescinded, EndorsementRescinded(endorsement_id=endorsement_id, rescinded_at=work.now))
    work.emit(
        EndorsementWithdrawn(
            candidacy_id=endorsement.candidacy_id,
            person_id=endorsement.person_id,
            endorsement_id=endorsement_id,
            reason=rescission.reason,
        )
    )
    await record(work, actor, "rescinded", endorsement_id, rescission=str(rescission.id))
    return rescinded


async def drop_rescission(work: Work, principal: Principal, endorsement_id: UUID) -> None:
    """Take back a request that nobody has confirmed."""
    actor = await actor_of(work, principal, needs=DECIDING)
    await _take_endorsement(work, endorsement_id)
    rescission = await store.get_rescission_of(work.connection, endorsement_id)
    if rescission is None:
        raise NotFound
    if rescission.confirmed_at is not None:
        raise Rejected("already_rescinded", _("This endorsement is rescinded already; nothing is left to do."))
    await store.delete_request(work.connection, rescission.id)
    await record(work, actor, "rescission_dropped", endorsement_id, reason=rescission.reason)


async def _take_endorsement(work: Work, endorsement_id: UUID) -> Endorsement:
    endorsement = await store.get_endorsement(work.connection, endorsement_id)
    await candidacies.lock_candidacy(work.connection, endorsement.candidacy_id)
    return await store.get_endorsement(work.connection, endorsement_id)
