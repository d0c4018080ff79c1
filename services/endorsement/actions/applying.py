"""Applying: a draft that survives, handing in, the verdict of the eligibility rules, consent to publish."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from services.endorsement.actions.actor import Actor, actor_of, local_day, program_of
from services.endorsement.actions.filing import own_candidacy
from services.endorsement.domain.answers import PUBLISH_WORDING_VERSION, check_complete
from services.endorsement.domain.eligibility import Facts, Verdict, evaluate
from services.endorsement.domain.review import answer_due
from services.endorsement.store import applications as store
from services.endorsement.store import decisions
from services.endorsement.store.applications import Application
from services.endorsement.store.candidacies import Candidacy
from shared import people, timers
from shared.directory import Profile
from shared.errors import Rejected
from shared.events.endorsement import ApplicationSubmitted, EligibilityDecided
from shared.events.envelope import new_id
from shared.program import Level, Program
from shared.web.sessions import Principal
from shared.web.text import Message, _
from shared.work import Work

ANNOUNCE = "announce_endorsement"
"""The timer that makes an approved announcement when its embargo has ended; its owner is the decision."""
STATUS_AFTER = {"eligible": "in_review", "ineligible": "ineligible", "undetermined": "undetermined"}


@dataclass(frozen=True, slots=True)
class Typed:
    """What a form or a program sent for a draft, already read; `answers` as `domain.answers` stores them."""

    answers: Mapping[str, Any]
    application_class: str | None
    birth_year: int | None
    birth_date: date | None
    publish_consent: bool


async def start(work: Work, principal: Principal, candidacy_id: UUID) -> UUID:
    """The open draft of a candidacy, or a new one; only after the filing was confirmed."""
    actor = await actor_of(work, principal)
    candidacy = await own_candidacy(work, actor, candidacy_id, lock=True)
    if candidacy.status != "confirmed":
        raise Rejected(
            "filing_not_confirmed", _("You can apply once we have checked your filing. We write to you when we have.")
        )
    earlier = await store.find_applications(work.connection, candidacy_id)
    if earlier and earlier[0].status == "draft":
        return earlier[0].id
    free = await _free_classes(work, candidacy, earlier)
    application_id = new_id()
    await store.insert_draft(
        work.connection,
        application_id,
        candidacy_id,
        candidacy.person_id,
        free[0],
        legal_body=work.program.application.body,
        program=program_of(work),
        now=work.now,
    )
    return application_id


async def _free_classes(work: Work, candidacy: Candidacy, earlier: list[Application]) -> list[str]:
    """Classes open now in which this candidacy may apply, or the refusal that says why there is none."""
    today = local_day(work.program, work.now)
    if candidacy.election_date < today:
        raise Rejected("election_over", _("That election is over, so there is nothing left to endorse."))
    if any(a.status in ("undetermined", "in_review") for a in earlier):
        raise Rejected("already_applied", _("You have applied already. Open the application to see how it stands."))
    if any(a.status == "endorsed" for a in earlier):
        raise Rejected("already_endorsed", _("You are endorsed for this candidacy; there is no need to apply."))
    open_now = [entry.id for entry in work.program.classes_open_at(work.now)]
    if not open_now:
        raise Rejected("no_open_class", _("No round of applications is open today. Come back when the next one opens."))
    declined = [a for a in earlier if a.status == "declined"]
    for application in declined:
        decision = await decisions.get_decision_of(work.connection, application.id)
        assert decision is not None
        if decision.reapply_from is None:
            raise Rejected("never_again", _("This decision is final for this candidacy; write to us with questions."))
        if today < decision.reapply_from:
            raise Rejected("too_early", _("You can apply again from %(day)s.", day=decision.reapply_from.isoformat()))
    used = {a.application_class for a in earlier if a.status == "ineligible"}
    free = [entry for entry in open_now if entry not in used]
    if not free:
        raise Rejected("already_applied", _("You have applied in this round. Come back when the next one opens."))
    return free


async def own_application(
    work: Work, actor: Actor, application_id: UUID, *, lock: bool = False
) -> tuple[Candidacy, Application]:
    """The actor's own application; somebody else's looks like none. `lock` takes the candidacy's lock."""
    application = await store.get_application(work.connection, application_id)
    candidacy = await own_candidacy(work, actor, application.candidacy_id, lock=lock)
    if lock:
        application = await store.get_application(work.connection, application_id)
    return candidacy, application


async def save(work: Work, principal: Principal, application_id: UUID, typed: Typed) -> None:
    """Keep a draft as it is typed; after the deadline too, so that nothing is lost."""
    actor = await actor_of(work, principal)
    _candidacy, application = await own_application(work, actor, application_id, lock=True)
    if application.status != "draft":
        raise Rejected("already_submitted", _("This application was handed in and can no longer be changed."))
    await store.save_draft(
        work.connection,
        application_id,
        typed.answers,
        typed.application_class or application.application_class,
        birth_year=typed.birth_year,
        birth_date=typed.birth_date,
        publish_consent=typed.publish_consent,
        now=work.now,
    )


async def submit(work: Work, principal: Principal, application_id: UUID, profile: Profile | None) -> Verdict:
    """Hand in a saved draft: it is fixed, and judged by the rules of the day.

    `profile` was read before this transaction began; None when signup did not answer.
    """
    actor = await actor_of(work, principal)
    candidacy, application = await own_application(work, actor, application_id, lock=True)
    if application.status != "draft":
        raise Rejected("already_submitted", _("This application was handed in and can no longer be changed."))
    if candidacy.status != "confirmed":
        raise Rejected("filing_not_confirmed", _("You can apply once we have checked your filing."))
    earlier = [a for a in await store.find_applications(work.connection, candidacy.id) if a.id != application_id]
    free = await _free_classes(work, candidacy, earlier)
    if application.application_class not in free:
        raise Rejected(
            "class_closed",
            _("The deadline of this round is over. Your answers are kept; choose a round that is open."),
            fields={"application_class": _("Choose a round that is open.")},
        )
    errors = check_complete(work.program.application, application.answers)
    errors |= check_birth(application.birth_year, application.birth_date, local_day(work.program, work.now))
    if errors:
        raise Rejected(
            "incomplete",
            _("Your application is saved, but it cannot be handed in yet. Correct what is marked."),
            status=422,
            fields=errors,
        )
    applied_on = local_day(work.program, work.now)
    verdict, sources = await _judge(work, candidacy, application, profile, applied_on)
    await store.mark_submitted(
        work.connection,
        application_id,
        STATUS_AFTER[verdict.outcome],
        answer_by=local_day(
            work.program, answer_due(work.now, work.program.application.answer_within_days)
        ),
        legal_body=work.program.application.body,
        program=program_of(work),
        now=work.now,
    )  # fmt: skip
    if application.publish_consent:
        await store.record_publish_consent(
            work.connection, application, granted=True, wording_version=PUBLISH_WORDING_VERSION, now=work.now
        )
    work.emit(
        ApplicationSubmitted(
            candidacy_id=candidacy.id,
            person_id=candidacy.person_id,
            application_id=application_id,
            application_class=application.application_class,
        )
    )
    await _keep(work, candidacy, application, verdict, sources)
    return verdict


async def supply_facts(
    work: Work,
    principal: Principal,
    application_id: UUID,
    profile: Profile | None,
    birth_year: int | None,
    birth_date: date | None,
) -> Verdict:
    """Settle an open verdict with a fact that was missing, under the rules of the day of the application."""
    actor = await actor_of(work, principal)
    candidacy, application = await own_application(work, actor, application_id, lock=True)
    if application.status != "undetermined":
        raise Rejected("nothing_missing", _("No fact is missing for this application; there is nothing to add."))
    today = local_day(work.program, work.now)
    errors = check_birth(birth_year or application.birth_year, birth_date or application.birth_date, today)
    if errors:
        raise Rejected("incomplete", _("Correct what is marked."), status=422, fields=errors)
    await store.mark_facts(work.connection, application_id, birth_year, birth_date)
    application = await store.get_application(work.connection, application_id)
    assert application.submitted_at is not None
    applied_on = local_day(work.program, application.submitted_at)
    verdict, sources = await _judge(work, candidacy, application, profile, applied_on)
    await store.mark_application(work.connection, application_id, STATUS_AFTER[verdict.outcome])
    await _keep(work, candidacy, application, verdict, sources)
    return verdict


async def set_consent(work: Work, principal: Principal, application_id: UUID, *, granted: bool) -> None:
    """Grant or withdraw consent to publish the ballot name, until it is announced."""
    actor = await actor_of(work, principal)
    _candidacy, application = await own_application(work, actor, application_id, lock=True)
    decision = await decisions.get_decision_of(work.connection, application_id)
    if decision is not None and await decisions.get_endorsement_of(work.connection, decision.id) is not None:
        raise Rejected("announced", _("Your endorsement is public already. Write to us if it has to go."))
    if application.status not in ("undetermined", "in_review", "endorsed"):
        raise Rejected("not_open", _("This application is not open, so there is nothing to consent to."))
    if application.publish_consent != granted:
        await store.record_publish_consent(
            work.connection, application, granted=granted, wording_version=PUBLISH_WORDING_VERSION, now=work.now
        )
    if granted and decision is not None and decision.embargo_until is not None:
        # An approved announcement that found no consent when its time came looks again.
        await timers.schedule(work, ANNOUNCE, str(decision.id), max(decision.embargo_until, work.now))


def check_birth(birth_year: int | None, birth_date: date | None, today: date) -> dict[str, Message]:
    """What is wrong with a year or a date of birth; both may be left out."""
    if birth_year is not None and not 1900 <= birth_year <= today.year - 14:
        return {"birth_year": _("Enter the year you were born, in four digits.")}
    if birth_date is not None and not 1900 <= birth_date.year <= today.year - 14:
        return {"birth_date": _("Enter the day you were born.")}
    if birth_year is not None and birth_date is not None and birth_date.year != birth_year:
        return {"birth_date": _("This date is not in the year of birth you gave. Correct one of them.")}
    return {}


async def _judge(
    work: Work, candidacy: Candidacy, application: Application, profile: Profile | None, applied_on: date
) -> tuple[Verdict, dict[str, str]]:
    person = (await people.resolve(work.connection, [candidacy.person_id]))[candidacy.person_id]
    stages = await store.get_stages(work.connection, person)
    facts, sources = facts_of(work.program, candidacy, application, profile, stages, applied_on)
    return evaluate(work.program.eligibility_at(applied_on), facts, work.now), sources


def facts_of(
    program: Program,
    candidacy: Candidacy,
    application: Application,
    profile: Profile | None,
    stages: frozenset[str],
    applied_on: date,
) -> tuple[Facts, dict[str, str]]:
    """What is known of an applicant, and for each fact about the person where it came from.

    What the application says goes before what signup knows: it is newer and was affirmed.
    """
    sources: dict[str, str] = {}
    birth_date, birth_year = application.birth_date, application.birth_year
    if birth_date is not None:
        birth_year = birth_date.year
        sources["birth_date"] = "application"
    elif birth_year is not None:
        sources["birth_year"] = "application"
    elif profile is not None and profile.birth_year is not None:
        birth_year = profile.birth_year
        sources["birth_year"] = "signup"
    signed_up_on = None
    reached = set(stages) | {"filed", "applied"}
    if profile is not None:
        signed_up_on = local_day(program, profile.signed_up_at)
        sources["signed_up_on"] = "signup"
        reached |= {"signed_up"} | ({"confirmed"} if profile.confirmed_at else set())
    office = program.office(candidacy.office)
    level: Level = office.level
    facts = Facts(
        birth_year=birth_year,
        birth_date=birth_date,
        signed_up_on=signed_up_on,
        applied_on=applied_on,
        election_day=candidacy.election_date,
        office_level=level,
        office_endorsable=office.is_endorsable,
        filing_confirmed=candidacy.status == "confirmed",
        stages_reached=frozenset(reached),
    )
    return facts, sources


async def _keep(
    work: Work, candidacy: Candidacy, application: Application, verdict: Verdict, sources: Mapping[str, str]
) -> None:
    await store.insert_verdict(
        work.connection, application.id, verdict.to_dict(), sources, work.program.content_hash, work.now
    )
    work.emit(
        EligibilityDecided(
            candidacy_id=candidacy.id,
            person_id=candidacy.person_id,
            application_id=application.id,
            rule_version=verdict.rule_version,
            outcome=verdict.outcome,
        )
    )
