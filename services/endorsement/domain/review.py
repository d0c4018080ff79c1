"""Reviewing and deciding: recusal, scorecards, quorum, embargo, announcing, rescinding, applying again.

A rule answers with a `Refusal`, or with None when nothing stands against the act. Persons are compared
after merges have been resolved: an alias is never a second person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.endorsement.domain.eligibility import Result
from shared.program import Criterion, DeclineReason, Embargo, Quorum
from shared.web.text import Message, _

Aliases = Mapping[UUID, UUID]
"""From a merged person id to the one it was merged into."""

LOWEST_SCORE, HIGHEST_SCORE = 1, 5


@dataclass(frozen=True)
class Refusal:
    """A rule said no. `code` is stable; `sentence` tells the person who tried what to do."""

    code: str
    sentence: Message


@dataclass(frozen=True)
class Reviewer:
    """An account's person; `outside` means not on the staff."""

    person: UUID
    outside: bool


@dataclass(frozen=True)
class Advice:
    """One entry of the history of who advised whom, such as a one-on-one call or a mentorship."""

    advisor: UUID
    candidate: UUID
    kind: str


@dataclass(frozen=True)
class Declaration:
    """What a reviewer says of conflicts of interest before the file opens."""

    reviewer: UUID
    has_conflict: bool


@dataclass(frozen=True)
class Card:
    """A reviewer's scores, by criterion id, for one version of an application."""

    reviewer: Reviewer
    application_version: int
    scores: Mapping[str, int]
    submitted_at: datetime


@dataclass(frozen=True)
class File:
    """An application under review, with everything that bears on who may handle it."""

    candidate: UUID
    application_version: int
    eligibility: Result
    advice: Sequence[Advice] = ()
    declarations: Sequence[Declaration] = ()
    cards: Sequence[Card] = ()
    is_decided: bool = False
    """Whether this version of the application has its decision."""


@dataclass(frozen=True)
class Decision:
    """Endorse, or decline for a reason. `embargo_until` is set when endorsing."""

    endorses: bool
    decided_by: UUID
    decided_at: datetime
    embargo_until: datetime | None = None
    decline_reason: str | None = None


@dataclass(frozen=True)
class Standing:
    """How far the scorecards have come. Scores are in hundredths: 100 is the worst, 500 the best."""

    counted: int
    outside: int
    quorum_size: int
    quorum_outside: int
    mean_score: int | None
    """Mean of the weighted scores, rounded down; None without scorecards."""
    spread: int
    """Highest less lowest weighted score."""

    @property
    def has_quorum(self) -> bool:
        return self.counted >= self.quorum_size and self.outside >= self.quorum_outside


def resolve(person: UUID, aliases: Aliases) -> UUID:
    """The id that a person has after all merges. Raises `ValueError` when merges run in a circle."""
    seen = {person}
    while person in aliases:
        person = aliases[person]
        if person in seen:
            raise ValueError(f"The merges of person {person} run in a circle; unmerge one of them.")
        seen.add(person)
    return person


# Recusal


def recusal(person: UUID, file: File, aliases: Aliases) -> Refusal | None:
    """Why a person may have no part in this file. Asked at opening, at scoring and at deciding."""
    me, candidate = resolve(person, aliases), resolve(file.candidate, aliases)
    if me == candidate:
        return Refusal("own_file", _("This is your own application; leave it to others."))
    for advice in file.advice:
        if (resolve(advice.advisor, aliases), resolve(advice.candidate, aliases)) == (me, candidate):
            return Refusal("advised", _("You advised this person, so you are recused; leave it to others."))
    if any(entry.has_conflict and resolve(entry.reviewer, aliases) == me for entry in file.declarations):
        return Refusal("declared", _("You declared a conflict of interest; leave this file to others."))
    return None


def may_open(person: UUID, file: File, aliases: Aliases) -> Refusal | None:
    """A file opens once the reviewer has declared to have no conflict, and is not recused."""
    if (refusal := recusal(person, file, aliases)) is not None:
        return refusal
    me = resolve(person, aliases)
    if not any(resolve(entry.reviewer, aliases) == me for entry in file.declarations):
        return Refusal("undeclared", _("Say first whether you have a conflict of interest; then the file opens."))
    return None


# Scorecards


def check_scores(criteria: Iterable[Criterion], scores: Mapping[str, int]) -> Refusal | None:
    """Every criterion needs a whole number from 1 to 5, and there are no others."""
    known = [criterion.id for criterion in criteria]
    if missing := [name for name in known if name not in scores]:
        return Refusal("score_missing", _("Score every criterion; still open: %(names)s.", names=", ".join(missing)))
    for name, score in scores.items():
        if name not in known:
            return Refusal(
                "score_unknown",
                _("There is no criterion %(name)s; score %(known)s.", name=name, known=", ".join(known)),
            )
        if not LOWEST_SCORE <= score <= HIGHEST_SCORE:
            return Refusal(
                "score_out_of_range",
                _("The score for %(name)s is %(score)s; use 1 to 5.", name=name, score=score),
            )
    return None


def may_score(
    person: UUID, file: File, criteria: Iterable[Criterion], scores: Mapping[str, int], aliases: Aliases
) -> Refusal | None:
    """Scoring needs an open file without a decision, and complete scores."""
    if (refusal := may_open(person, file, aliases)) is not None:
        return refusal
    if file.is_decided:
        return Refusal("already_decided", _("This application is decided; scores can no longer change."))
    return check_scores(criteria, scores)


def weighted_score(criteria: Iterable[Criterion], scores: Mapping[str, int]) -> int:
    """Hundredths of a point, from 100 to 500; exact, as the weights are percent that add up to 100.

    Scores given before the program's criteria changed count by the weights of those that are left, or, where none is,
    all alike.
    """
    weights = {criterion.id: criterion.weight for criterion in criteria if criterion.id in scores}
    weights = weights or dict.fromkeys(scores, 1)
    return sum(weight * scores[name] for name, weight in weights.items()) * 100 // sum(weights.values())


def cards_to_void(file: File, aliases: Aliases) -> tuple[tuple[Card, Refusal], ...]:
    """Scorecards whose author is recused by now, with the reason: a call may become known late."""
    recused = ((card, recusal(card.reviewer.person, file, aliases)) for card in file.cards)
    return tuple((card, refusal) for card, refusal in recused if refusal is not None)


def counted_cards(file: File, aliases: Aliases) -> tuple[Card, ...]:
    """Scorecards that count: of this version, not void, the latest of each person, oldest first."""
    latest: dict[UUID, Card] = {}
    for card in sorted(file.cards, key=lambda card: card.submitted_at):
        if card.application_version != file.application_version:
            continue
        if recusal(card.reviewer.person, file, aliases) is None:
            latest[resolve(card.reviewer.person, aliases)] = card
    return tuple(sorted(latest.values(), key=lambda card: card.submitted_at))


def visible_cards(person: UUID, file: File, aliases: Aliases) -> tuple[Card, ...]:
    """Scorecards that a reviewer may read: all that count once their own does, none before."""
    cards = counted_cards(file, aliases)
    me = resolve(person, aliases)
    has_scored = any(resolve(card.reviewer.person, aliases) == me for card in cards)
    return cards if has_scored else ()


def standing(file: File, criteria: Sequence[Criterion], quorum: Quorum, aliases: Aliases) -> Standing:
    """Quorum and scores of the cards that count."""
    cards = counted_cards(file, aliases)
    totals = [weighted_score(criteria, card.scores) for card in cards]
    return Standing(
        counted=len(cards),
        outside=sum(card.reviewer.outside for card in cards),
        quorum_size=quorum.size,
        quorum_outside=quorum.outside,
        mean_score=sum(totals) // len(totals) if totals else None,
        spread=max(totals) - min(totals) if totals else 0,
    )


# Deciding


def may_endorse(person: UUID, file: File, state: Standing, aliases: Aliases) -> Refusal | None:
    """To decide for endorsing: not recused, not decided yet, eligible, and a quorum."""
    if (refusal := _may_decide(person, file, aliases)) is not None:
        return refusal
    if file.eligibility == "ineligible":
        return Refusal("not_eligible", _("This person does not meet the rules; the application is closed."))
    if file.eligibility == "undetermined":
        return Refusal(
            "eligibility_open", _("A fact for eligibility is missing; ask the candidate to supply it, then decide.")
        )
    return _needs_quorum(state)


def may_decline(
    person: UUID,
    file: File,
    state: Standing,
    reasons: Iterable[DeclineReason],
    reason: str,
    aliases: Aliases,
) -> Refusal | None:
    """To decline: not recused, not decided yet, a known reason, and a quorum unless the rules forbid."""
    if (refusal := _may_decide(person, file, aliases)) is not None:
        return refusal
    known = [entry.id for entry in reasons]
    if reason not in known:
        return Refusal(
            "reason_unknown",
            _("There is no reason %(reason)s; use one of %(known)s.", reason=reason, known=", ".join(known)),
        )
    return None if file.eligibility == "ineligible" else _needs_quorum(state)


def _may_decide(person: UUID, file: File, aliases: Aliases) -> Refusal | None:
    if file.is_decided:
        return Refusal("already_decided", _("This application is decided. A new version of it needs a new review."))
    return recusal(person, file, aliases)


def _needs_quorum(state: Standing) -> Refusal | None:
    if state.has_quorum:
        return None
    return Refusal(
        "no_quorum",
        _(
            "%(counted)s of %(size)s scorecards are in, %(outside)s of %(wanted)s from outside the staff; ask for the"
            " missing ones.",
            counted=state.counted,
            size=state.quorum_size,
            outside=state.outside,
            wanted=state.quorum_outside,
        ),
    )


def answer_due(applied_at: datetime, answer_within_days: int) -> datetime:
    """When the applicant has been promised an answer."""
    return applied_at + timedelta(days=answer_within_days)


# Embargo, announcement, rescission


def default_embargo(policy: Embargo, decided_at: datetime) -> datetime:
    """The end of the embargo unless somebody sets another."""
    return decided_at + timedelta(hours=policy.default_hours)


def may_set_embargo(policy: Embargo, decided_at: datetime, until: datetime, role: str, at: datetime) -> Refusal | None:
    """To set or move the end of an embargo that has not ended: the right role, and within the limits.

    `at` is now; an embargo cannot be set to end in the past.
    """
    if role not in policy.who:
        return Refusal(
            "embargo_role",
            _("Only these roles may set an embargo: %(roles)s. Ask one of them.", roles=", ".join(policy.who)),
        )
    if until < at:
        return Refusal("embargo_past", _("The embargo would end before now; choose a later time."))
    if until > decided_at + timedelta(days=policy.max_days):
        return Refusal(
            "embargo_too_long",
            _("An embargo lasts %(days)s days at most; choose an earlier time.", days=policy.max_days),
        )
    return None


def may_announce(person: UUID, decision: Decision, at: datetime, aliases: Aliases) -> Refusal | None:
    """To announce: an endorsement, by somebody other than who decided, once the embargo has ended."""
    if not decision.endorses:
        return Refusal("not_endorsed", _("This application was declined; there is nothing to announce."))
    if resolve(person, aliases) == resolve(decision.decided_by, aliases):
        return Refusal("same_person", _("You decided this yourself; somebody else has to announce it."))
    if decision.embargo_until is not None and at < decision.embargo_until:
        return Refusal(
            "embargoed",
            _(
                "The embargo lasts until %(until)s; announce it then, or approve it now for that moment.",
                until=f"{decision.embargo_until:%Y-%m-%d %H:%M} UTC",
            ),
        )
    return None


def may_rescind(
    proposed_by: UUID, confirmed_by: UUID, reason: str, is_announced: bool, is_rescinded: bool, aliases: Aliases
) -> Refusal | None:
    """To rescind: an announced endorsement, once, by two people, with a reason."""
    if not is_announced:
        return Refusal("not_announced", _("This endorsement is not announced yet; there is nothing to take back."))
    if is_rescinded:
        return Refusal("already_rescinded", _("This endorsement is rescinded already; nothing is left to do."))
    if not reason.strip():
        return Refusal("reason_missing", _("Write down why the endorsement is rescinded."))
    if resolve(proposed_by, aliases) == resolve(confirmed_by, aliases):
        return Refusal("same_person", _("You proposed this yourself; somebody else has to confirm it."))
    return None


# Applying again


def reapply_from(decision: Decision, reasons: Iterable[DeclineReason]) -> datetime | None:
    """From when a declined person may apply again for the same candidacy; None means never.

    Raises `LookupError` for an endorsement, or a reason that the program does not have.
    """
    for reason in reasons:
        if reason.id == decision.decline_reason:
            if reason.reapply_after_days is None:
                return None
            return decision.decided_at + timedelta(days=reason.reapply_after_days)
    raise LookupError(f"The program has no decline reason {decision.decline_reason}; load the one it names.")


def may_reapply(
    decision: Decision, reasons: Iterable[DeclineReason], same_candidacy: bool, at: datetime
) -> Refusal | None:
    """To apply again after being declined. Another candidacy is always a new start."""
    if not same_candidacy:
        return None
    if decision.endorses:
        return Refusal("already_endorsed", _("You are endorsed for this candidacy; there is no need to apply."))
    start = reapply_from(decision, reasons)
    if start is None:
        return Refusal("never_again", _("This decision is final for this candidacy; write to us with questions."))
    if at < start:
        return Refusal("too_early", _("You can apply again from %(day)s.", day=start.date().isoformat()))
    return None
