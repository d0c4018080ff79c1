"""The path's last part: filing, application, review, decision, announcement, and now and then a rescission.

Each act looks first at what an earlier try of it may have left, since an answer can get lost.
"""

import datetime as dt
import math
from typing import Any

from deploy.demo.client import Refused, done_or_was, until
from deploy.demo.journey import Member, Progress, Staff, Stage, each, let_pass, noted


async def endorse(
    stage: Stage,
    prospects: list[Member],
    staff: Staff,
    progress: Progress,
    *,
    endorsed_share: float = 0.5,
    rescinded_share: float = 0.0,
) -> dict[str, int]:
    """Carry everybody to a decision and the endorsed to their announcement; how many reached each stage.

    The first who is eligible is always endorsed, so that there is something to read at the end. Of a small crowd one is
    rescinded where a share is asked for, and one always stands.
    """
    counts = dict.fromkeys(("filed", "applied", "eligible", "declined", "endorsed", "rescinded"), 0)
    election = stage.now().date() + dt.timedelta(days=150)
    decided: dict[str, Member] = {}

    async def act(member: Member) -> None:
        candidacy_id = await file(stage, member, staff, election)
        counts["filed"] += 1
        application_id, outcome = await apply(stage, member, candidacy_id)
        counts["applied"] += 1
        if outcome != "eligible":
            return
        counts["eligible"] += 1
        good = counts["eligible"] == 1 or stage.rng.random() < endorsed_share
        for reviewer in staff.reviewers:
            await review(stage, member, application_id, reviewer, good=good)
        decision_id = await decide(stage, member, application_id, staff, good=good)
        if good:
            decided[decision_id] = member
            approving = stage.client.post("endorsement", f"/v1/decisions/{decision_id}/approval", None, staff.announcer)
            detail = {"decision_id": decision_id}
            approved = noted(stage, approving, "approve", member.invented.email, member.person_id, **detail)
            await done_or_was(approved, "already_announced")
        else:
            counts["declined"] += 1
            member.through = True

    await each(prospects, stage.containing("endorsement", act), progress)
    if not decided:
        return counts
    # The embargo passes; the approved announcements go out by themselves.
    await let_pass(stage, "4d")
    announced: dict[str, str] = {}

    async def wait(member: Member) -> None:
        decision_id = next(known for known, whose in decided.items() if whose is member)

        async def endorsement() -> Any:
            decision = await stage.client.get("endorsement", f"/v1/decisions/{decision_id}", staff.decider)
            return decision["endorsement"]

        found = await until(endorsement, f"the announcement of {decision_id}", seconds=stage.patience_seconds)
        announced[decision_id] = found["endorsement_id"]
        counts["endorsed"] += 1
        member.through = True
        detail = {"decision_id": decision_id, "endorsement_id": found["endorsement_id"]}
        await stage.acted("announce", member.invented.email, member.person_id, "ack", **detail)

    await each(list(decided.values()), stage.containing("announcement", wait), lambda: None)
    number = min(math.ceil(rescinded_share * len(announced)), len(announced) - 1)
    taken_back = {decided[known]: announced[known] for known in sorted(announced)[: max(number, 0)]}

    async def take_back(member: Member) -> None:
        await rescind(stage, member, taken_back[member], staff)
        counts["rescinded"] += 1

    await each(taken_back, stage.containing("rescission", take_back), lambda: None)
    return counts


async def file(stage: Stage, member: Member, staff: Staff, election: dt.date) -> str:
    """Declare a candidacy, which staff confirm; its id."""
    office = stage.rng.choice([office for office in stage.program.offices if office.is_endorsable])
    state = member.invented.signup["state"]
    candidacy = {
        "office": office.id,
        "state": state,
        "district": str(stage.rng.randint(1, 40)),
        "election_date": election.isoformat(),
        "term": f"{election.year}–{election.year + 4}",
        "ballot_name": member.invented.signup["name"],
        "official_link": f"https://elections.example.org/{state.lower()}/candidates",
        "filed_on": (election - dt.timedelta(days=151)).isoformat(),
    }
    who, person_id = member.invented.email, member.person_id
    declaring = stage.client.post("endorsement", "/v1/candidacies", candidacy, member.session)
    made = await done_or_was(noted(stage, declaring, "file", who, person_id), "already_declared")
    if made is None:
        mine = await stage.client.get("endorsement", "/v1/candidacies", member.session)
        made = next(
            c for c in mine["candidacies"] if all(c[name] == candidacy[name] for name in ("office", "district"))
        )
    candidacy_id = str(made["candidacy_id"])
    path = f"/v1/candidacies/{candidacy_id}/confirmation"
    confirming = stage.client.post("endorsement", path, None, staff.decider)
    confirmed = noted(stage, confirming, "verify", who, person_id, candidacy_id=candidacy_id)
    await done_or_was(confirmed, "filing_settled")
    return candidacy_id


async def apply(stage: Stage, member: Member, candidacy_id: str) -> tuple[str, str]:
    """Fill the application and hand it in; its id, and what the rules say."""
    session, who, person_id = member.session, member.invented.email, member.person_id
    begun = await stage.client.post("endorsement", "/v1/applications", {"candidacy_id": candidacy_id}, session)
    application_id = str(begun["application_id"])
    path = f"/v1/applications/{application_id}"
    await stage.client.put("endorsement", path, draft(stage, member), session)
    submitting = stage.client.post("endorsement", f"{path}/submission", None, session)
    handed_in = noted(stage, submitting, "apply", who, person_id, application_id=application_id)
    submitted = await done_or_was(handed_in, "already_submitted") or await stage.client.get(
        "endorsement", path, session
    )
    if submitted["eligibility"]["outcome"] == "undetermined":
        facts = {"birth_date": f"{member.invented.signup.get('birth_year', 1995)}-03-01"}
        supplying = stage.client.post("endorsement", f"{path}/facts", facts, session)
        supplied = await done_or_was(supplying, "nothing_missing")
        submitted = supplied or await stage.client.get("endorsement", path, session)
    return application_id, str(submitted["eligibility"]["outcome"])


async def review(stage: Stage, member: Member, application_id: str, reviewer: str, *, good: bool) -> None:
    """A reviewer declares no conflict and hands in a scorecard."""
    path = f"/v1/reviews/{application_id}"
    who, person_id, detail = member.invented.email, member.person_id, {"application_id": application_id}
    declaring = stage.client.post("endorsement", f"{path}/declaration", {"has_conflict": False}, reviewer)
    await noted(stage, declaring, "declare", who, person_id, **detail)
    low, high = (3, 5) if good else (1, 3)
    scores = {criterion.id: stage.rng.randint(low, high) for criterion in stage.program.scorecard.criteria}
    recommendation = "endorse" if good else "decline"
    card = {"scores": scores, "recommendation": recommendation, "comment": stage.say("As discussed.")}
    scoring = stage.client.post("endorsement", f"{path}/scorecard", card, reviewer)
    await done_or_was(noted(stage, scoring, "score", who, person_id, **detail), "already_scored")


async def decide(stage: Stage, member: Member, application_id: str, staff: Staff, *, good: bool) -> str:
    """One of the staff decides; the decision's id."""
    body: dict[str, Any] = {"application_id": application_id, "outcome": "endorse"}
    body["note"] = stage.say("The plan adds up.")
    if not good:
        reason = stage.program.scorecard.decline_reasons[0].id
        body |= {"outcome": "decline", "reason": reason, "note": stage.say("Not yet.")}
    who, person_id = member.invented.email, member.person_id
    try:
        decision = await stage.client.post("endorsement", "/v1/decisions", body, staff.decider)
    except Refused as no:
        if no.code != "already_decided" or not no.repeated:
            raise
        listed = await stage.client.get("endorsement", "/v1/decisions", staff.decider)
        decision = next(row for row in listed["decisions"] if row["application_id"] == application_id)
    decision_id = str(decision["decision_id"])
    detail = {"decision_id": decision_id, "application_id": application_id, "decided": body["outcome"]}
    await stage.acted("decide", who, person_id, "ack", **detail)
    return decision_id


async def rescind(stage: Stage, member: Member, endorsement_id: str, staff: Staff) -> None:
    """One of the staff asks for the rescission, another confirms it."""
    path = f"/v1/endorsements/{endorsement_id}/rescission"
    who, person_id, detail = member.invented.email, member.person_id, {"endorsement_id": endorsement_id}
    body = {"reason": "left_race", "note": stage.say("Left the race.")}
    asking = stage.client.post("endorsement", path, body, staff.decider)
    asked = noted(stage, asking, "ask_rescission", who, person_id, **detail)
    await done_or_was(asked, "already_requested", "already_rescinded")
    confirming = stage.client.post("endorsement", f"{path}/confirmation", None, staff.announcer)
    await done_or_was(noted(stage, confirming, "rescind", who, person_id, **detail), "already_rescinded")


def draft(stage: Stage, member: Member) -> dict[str, Any]:
    """A filled application form."""
    answers: dict[str, Any] = {}
    for item in stage.program.application.fields:
        if item.kind == "money":
            answers[item.id] = stage.rng.randint(200_000, 9_000_000)
        elif item.kind == "whole_number":
            answers[item.id] = stage.rng.randint(400, 30_000)
        elif item.kind == "statements":
            answers[item.id] = [statement.id for statement in item.statements]
        else:
            answers[item.id] = stage.say("Knock on every door in the district, starting with those who rarely vote.")
    return {
        "answers": answers,
        "application_class": None,
        "birth_year": member.invented.signup.get("birth_year", 1995),
        "publish_consent": True,
    }
