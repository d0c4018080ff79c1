"""Reviewing: conflicts declared before a file opens, independent scorecards, recusal derived from who advised whom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.endorsement.actions.actor import REVIEWING, Actor, actor_of, record, refuse
from services.endorsement.domain import review
from services.endorsement.domain.eligibility import Result
from services.endorsement.domain.review import Advice, Card, Declaration, File, Refusal, Reviewer, Standing
from services.endorsement.store import applications, candidacies, decisions
from services.endorsement.store import reviews as store
from services.endorsement.store.applications import Application
from services.endorsement.store.candidacies import Candidacy
from shared import people
from shared.errors import Rejected
from shared.events.endorsement import ReviewerRecused
from shared.events.envelope import Received, new_id
from shared.web.sessions import Principal
from shared.web.text import _
from shared.work import Work

MAX_TEXT = 4000
REASONS: Mapping[str, str] = {"own_file": "same_person", "advised": "advised", "declared": "declared"}


@dataclass(frozen=True, slots=True)
class Dossier:
    """An application with everything that bears on its review. `aliases` are merges of everybody in it."""

    candidacy: Candidacy
    application: Application
    file: File
    aliases: Mapping[UUID, UUID]
    rows: Sequence[Mapping[str, Any]]
    standing: Standing

    def stance(self, person_id: UUID) -> Refusal | None:
        """What keeps the person from opening the file."""
        return review.may_open(person_id, self.file, self.aliases)

    def visible(self, person_id: UUID) -> list[Mapping[str, Any]]:
        """Rows of the scorecards that the person may read: all that count once their own does."""
        cards = review.visible_cards(person_id, self.file, self.aliases)
        authors = {card.reviewer.person for card in cards}
        return [row for row in self.rows if row["voided_at"] is None and row["reviewer_id"] in authors]

    def has_scored(self, person_id: UUID) -> bool:
        """Whether the person has handed in a scorecard, voided or not."""
        me = review.resolve(person_id, self.aliases)
        return any(review.resolve(row["reviewer_id"], self.aliases) == me for row in self.rows)


async def load_dossier(work: Work, application_id: UUID, actor: Actor, *, lock: bool = False) -> Dossier:
    """The dossier as it stands; with `lock`, under the candidacy's lock."""
    connection = work.connection
    application = await applications.get_application(connection, application_id)
    if lock:
        candidacy = await candidacies.lock_candidacy(connection, application.candidacy_id)
        application = await applications.get_application(connection, application_id)
    else:
        candidacy = await candidacies.get_candidacy(connection, application.candidacy_id)
    candidate = (await people.resolve(connection, [application.person_id]))[application.person_id]
    advisories = await store.find_advisories(connection, candidate)
    declared = await store.find_declarations(connection, application_id)
    rows = await store.find_scorecards(connection, application_id)
    decided = await decisions.get_decision_of(connection, application_id)
    involved = {application.person_id, actor.person_id}
    involved |= {row[name] for row in advisories for name in ("advisor_id", "person_id")}
    involved |= {row["reviewer_id"] for row in (*declared, *rows)}
    resolved = await people.resolve(connection, involved)
    aliases = {alias: person for alias, person in resolved.items() if alias != person}
    file = File(
        candidate=application.person_id,
        application_version=application.version,
        eligibility=_eligibility(application.status),
        advice=[Advice(row["advisor_id"], row["person_id"], row["kind"]) for row in advisories],
        declarations=[Declaration(row["reviewer_id"], row["has_conflict"]) for row in declared],
        cards=[
            Card(
                Reviewer(row["reviewer_id"], row["outside"]),
                application.version,
                row["scores"],
                row["submitted_at"],
            )
            for row in rows
            if row["voided_at"] is None
        ],
        is_decided=decided is not None,
    )
    scorecard = work.program.scorecard
    state = review.standing(file, scorecard.criteria, scorecard.quorum, aliases)
    return Dossier(candidacy, application, file, aliases, rows, state)


def _eligibility(status: str) -> Result:
    if status == "ineligible":
        return "ineligible"
    return "undetermined" if status == "undetermined" else "eligible"


def must_be_in_review(application: Application) -> None:
    """Raise unless the application is open to reviewers."""
    if application.status in ("endorsed", "declined"):
        raise decisions.ALREADY_DECIDED
    if application.status != "in_review":
        raise Rejected("not_in_review", _("This application is not in review. Choose one from the list."))


async def read_file(work: Work, principal: Principal, application_id: UUID) -> tuple[Actor, Dossier, Refusal | None]:
    """A reviewer opens an application: the dossier, and what keeps the file closed to them, if anything does.

    Opening is audited; a recusal that shows at this moment is put on record.
    """
    actor = await actor_of(work, principal, needs=REVIEWING)
    dossier = await load_dossier(work, application_id, actor)
    if dossier.application.status == "draft":
        raise Rejected("not_in_review", _("This application is not in review. Choose one from the list."), status=404)
    refusal = dossier.stance(actor.person_id)
    if refusal is not None and refusal.code in REASONS:
        await recuse(work, dossier.candidacy, application_id, actor.person_id, REASONS[refusal.code])
    if refusal is None:
        await record(work, actor, "application_read", application_id)
    return actor, dossier, refusal


async def declare(work: Work, principal: Principal, application_id: UUID, note: str, *, has_conflict: bool) -> None:
    """State a conflict of interest or its absence. A conflict stays, and voids a scorecard handed in before."""
    actor = await actor_of(work, principal, needs=REVIEWING)
    dossier = await load_dossier(work, application_id, actor, lock=True)
    must_be_in_review(dossier.application)
    refusal = review.recusal(actor.person_id, dossier.file, dossier.aliases)
    if refusal is not None:
        raise Rejected(refusal.code, refusal.sentence)
    await store.insert_declaration(
        work.connection,
        application_id,
        actor.person_id,
        note.strip()[:MAX_TEXT],
        work.now,
        has_conflict=has_conflict,
    )
    if has_conflict:
        await recuse(work, dossier.candidacy, application_id, actor.person_id, "declared")
    await record(
        work, actor, "conflict_declared", application_id, answer="conflict" if has_conflict else "none"
    )  # fmt: skip


async def score(
    work: Work,
    principal: Principal,
    application_id: UUID,
    scores: Mapping[str, int],
    recommendation: str,
    comment: str,
) -> UUID:
    """Hand in a scorecard, once; returns its id."""
    actor = await actor_of(work, principal, needs=REVIEWING)
    dossier = await load_dossier(work, application_id, actor, lock=True)
    must_be_in_review(dossier.application)
    scorecard = work.program.scorecard
    refuse(review.may_score(actor.person_id, dossier.file, scorecard.criteria, scores, dossier.aliases))
    if dossier.has_scored(actor.person_id):
        raise store.ALREADY_SCORED
    if recommendation not in ("endorse", "decline", "unsure"):
        raise Rejected(
            "recommendation_missing",
            _("Choose what you recommend."),
            status=422,
            fields={"recommendation": _("Choose what you recommend.")},
        )
    scorecard_id = new_id()
    await store.insert_scorecard(
        work.connection,
        scorecard_id,
        application_id,
        actor.person_id,
        actor.account_id,
        outside=actor.outside,
        scores=scores,
        recommendation=recommendation,
        comment=comment.strip()[:MAX_TEXT],
        now=work.now,
    )
    await record(work, actor, "scored", application_id, scorecard=str(scorecard_id))
    return scorecard_id


async def recuse(
    work: Work,
    candidacy: Candidacy,
    application_id: UUID,
    reviewer_id: UUID,
    reason: str,
    cause: Received | None = None,
) -> None:
    """Put a recusal on record and void what the reviewer scored; told once per reviewer and application."""
    ids = await store.find_ids_of(work.connection, [reviewer_id])
    await store.void_scorecards(work.connection, application_id, ids[reviewer_id], reason, work.now)
    if await store.insert_recusal(work.connection, application_id, reviewer_id, reason, work.now):
        work.emit(
            ReviewerRecused(
                candidacy_id=candidacy.id,
                person_id=candidacy.person_id,
                application_id=application_id,
                reviewer_id=reviewer_id,
                reason=reason,
            ),
            cause=cause,
        )


async def take_advice(
    work: Work, advice: Sequence[tuple[UUID, UUID, UUID, str]], causes: Mapping[UUID, Received]
) -> None:
    """Note who advised whom (call, advisor, person, kind), and recuse whoever has reviewed that person already.

    `causes` names the event of each call.

    The candidacies are locked before scorecards are looked for: a scorecard handed in at the same moment is either
    seen here, or its writer sees the advice.
    """
    await store.insert_advisories(work.connection, advice, work.now)
    resolved = await people.resolve(work.connection, [party for _call, *parties, _kind in advice for party in parties])
    advised = {resolved[person] for _call, _advisor, person, _kind in advice}
    ids = await store.find_ids_of(work.connection, sorted(advised))
    locked = await candidacies.lock_candidacies_of(work.connection, [i for group in ids.values() for i in group])
    if not locked:
        return
    pairs = {(resolved[advisor], resolved[person]): causes[call] for call, advisor, person, _kind in advice}
    touched = await store.find_reviewed(work.connection, locked)
    parties = await people.resolve(
        work.connection, [row[name] for row in touched for name in ("person_id", "reviewer_id")]
    )
    for row in touched:
        reviewer = parties[row["reviewer_id"]]
        cause = pairs.get((reviewer, parties[row["person_id"]]))
        if cause is not None:
            candidacy = await candidacies.get_candidacy(work.connection, row["candidacy_id"])
            await recuse(work, candidacy, row["id"], reviewer, "advised", cause)
