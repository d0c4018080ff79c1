"""The path of the crowd, step by step: each a function that people or staff carry out over the public interfaces."""

import asyncio
import datetime as dt
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from deploy.demo.client import Client, Refused, until
from deploy.demo.mailbox import Watch
from deploy.demo.people import Invented
from shared.program import Program

Progress = Callable[[], None]


@dataclass(slots=True)
class Member:
    """One of the crowd, with what the system gave them."""

    invented: Invented
    person_id: str = ""
    session: str = ""
    calls: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Staff:
    """The organization's accounts: two of the staff, and reviewers of whom the last is an outsider."""

    decider: str
    announcer: str
    reviewers: list[str]


@dataclass(frozen=True, slots=True)
class Stage:
    """What every step needs."""

    client: Client
    mail: Watch
    program: Program
    advance: Callable[[str], Awaitable[None]]
    now: Callable[[], dt.datetime]
    rng: random.Random


async def each(members: Iterable[Any], act: Callable[[Any], Awaitable[None]], progress: Progress) -> None:
    """Let everybody act at once (the client bounds how many); progress counts the done."""

    async def one(member: Any) -> None:
        await act(member)
        progress()

    await asyncio.gather(*(one(member) for member in members))


async def refused_if_done(action: Awaitable[Any]) -> bool:
    """Whether the action went through; a conflict means that it was done before or is no longer possible."""
    try:
        await action
    except Refused as no:
        if no.status not in (404, 409, 410):
            raise
        return False
    return True


async def sign_up(stage: Stage, members: list[Member], progress: Progress) -> None:
    """Everybody fills their form; the intent id makes a repeat harmless."""

    async def act(member: Member) -> None:
        await stage.client.call(
            "POST",
            "signup",
            "/v1/signups",
            member.invented.signup,
            headers={"Idempotency-Key": str(member.invented.intent_id)},
        )

    await each(members, act, progress)


async def read_link(stage: Stage, email: str, containing: str, *, seconds: float = 240) -> str:
    """The token at the end of the newest mailed link of one kind."""

    async def look() -> str | None:
        return stage.mail.newest_link(email, containing)

    link: str = await until(look, f"a mail with {containing} to {email}", seconds=seconds)
    return link.rsplit("/", 1)[1]


async def confirm(stage: Stage, members: list[Member], progress: Progress) -> None:
    """Those who mean it press the button of their welcome mail, which signs them in."""

    async def act(member: Member) -> None:
        token = await read_link(stage, member.invented.email, "/confirm/")
        try:
            answer = await stage.client.post("signup", "/v1/confirmations", {"token": token})
        except Refused:
            # A lost answer: the link is used, so sign in by another.
            answer = await sign_in(stage, member.invented.email)
        member.person_id, member.session = answer["person_id"], answer["session"]

    await each(members, act, progress)


async def sign_in(stage: Stage, email: str) -> Any:
    """A fresh session by a mailed link."""
    await stage.client.post("signup", "/v1/account/sign-in", {"email": email})
    for _ in range(5):
        token = await read_link(stage, email, "/account/sign-in/")
        try:
            return await stage.client.post("signup", "/v1/account/session", {"token": token})
        except Refused:
            await asyncio.sleep(1)
    raise TimeoutError(f"No sign-in link to {email} could be used.")


async def intro_calls(stage: Stage, prospects: list[Member], staff: Staff, progress: Progress) -> None:
    """Staff schedule two group calls, people answer, the days pass, staff record who came."""
    now = stage.now()
    for days, language in ((2, "en"), (3, "es")):
        day = (now + dt.timedelta(days=days)).date()
        body = {
            "title": "Intro call" if language == "en" else "Llamada de introducción",
            "date": day.isoformat(),
            "time": "19:00",
            "time_zone": "America/New_York",
            "language": language,
            "capacity": max(20, int(len(prospects) * 0.7)),
            "join_url": "https://meet.example.org/intro",
        }
        await stage.client.post("matching", "/v1/intro-calls", body, staff.decider)
    going: dict[str, list[Member]] = {}

    async def act(member: Member) -> None:
        async def invited() -> Any:
            mine = await stage.client.get("matching", "/v1/intro-calls/mine", member.session)
            return mine if _intro_ids(mine) else None

        mine = await until(invited, f"an intro call for {member.person_id}")
        chosen = _intro_ids(mine)[0]
        answer = "going" if member.invented.attends else "declined"
        await refused_if_done(
            stage.client.post("matching", f"/v1/intro-calls/{chosen}/answer", {"answer": answer}, member.session)
        )
        if member.invented.attends:
            going.setdefault(chosen, []).append(member)

    await each(prospects, act, progress)
    await _pass(stage, "4d")
    for call_id, members in going.items():
        people = await _all_people(stage, call_id, staff)
        seated = {person for person, answer in people.items() if answer in ("going", "invited")}
        marks = {
            "attended": [m.person_id for m in members if m.person_id in seated],
            "missed": [],
        }
        await stage.client.post("matching", f"/v1/intro-calls/{call_id}/attendance", marks, staff.decider)
    attended = [member for members in going.values() for member in members]

    async def ask(member: Member) -> None:
        # Where the program promises a one-on-one to all, they are in line already.
        await refused_if_done(stage.client.post("matching", "/v1/calls/request", None, member.session))

    await each(attended, ask, lambda: None)


def _intro_ids(mine: Any) -> list[str]:
    return [str(entry["intro_call_id"]) for entry in (*mine["mine"], *mine["open"])]


async def _all_people(stage: Stage, call_id: str, staff: Staff) -> dict[str, str]:
    people: dict[str, str] = {}
    while True:
        path = f"/v1/intro-calls/{call_id}/people?offset={len(people)}"
        page = await stage.client.get("matching", path, staff.decider)
        fresh = {str(entry["person_id"]): str(entry["state"]) for entry in page["items"]}
        if not fresh:
            return people
        people |= fresh


async def one_on_ones(
    stage: Stage, prospects: list[Member], volunteers: list[Member], staff: Staff, progress: Progress
) -> int:
    """Rounds of matching, answers, the calls, and what the volunteers say of them; how many calls were completed."""
    by_id = {member.person_id: member for member in (*prospects, *volunteers)}
    return sum([await _round(stage, by_id, staff, progress) for _ in range(2)])


async def _round(stage: Stage, by_id: dict[str, Member], staff: Staff, progress: Progress) -> int:
    outcomes = [outcome.id for outcome in stage.program.one_on_one.outcomes]
    completed = 0
    # A round is due a quarter of an hour of business time after somebody began to wait.
    before = stage.now()
    await _pass(stage, "30m")
    await until(lambda: _round_since(stage, staff, before), "a round of matching")
    board = await stage.client.get("matching", "/v1/matching/board", staff.decider)
    held = [entry for entry in board["active"] if entry["state"] == "held"]

    async def answer(entry: dict[str, Any]) -> None:
        prospect = by_id.get(entry["prospect_id"])
        path = f"/v1/calls/{entry['call_id']}"
        if prospect is None:
            return
        if prospect.invented.accepts:
            await refused_if_done(stage.client.post("matching", f"{path}/accept", None, prospect.session))
        else:
            body = {"reason": stage.rng.choice(("another_time", "another_person", "not_now"))}
            await refused_if_done(stage.client.post("matching", f"{path}/decline", body, prospect.session))

    async def attest(entry: dict[str, Any]) -> None:
        nonlocal completed
        draw = stage.rng.random()
        body: dict[str, Any] = {"outcome": stage.rng.choice(outcomes)}
        if draw < 0.1:
            body = {"missed_by": "prospect" if draw < 0.07 else "volunteer"}
        prospect, volunteer = by_id.get(entry["prospect_id"]), by_id.get(entry["volunteer_id"])
        if prospect is None or volunteer is None:
            return
        path = f"/v1/calls/{entry['call_id']}/attest"
        await refused_if_done(stage.client.post("matching", path, body, volunteer.session))
        if "outcome" in body:
            completed += 1
            prospect.calls.append(entry["call_id"])

    await each(held, answer, lambda: None)
    await _pass(stage, "23d")
    board = await stage.client.get("matching", "/v1/matching/board", staff.decider)
    booked = [entry for entry in board["active"] if entry["state"] == "confirmed"]
    await each(booked, attest, progress)
    return completed


async def _round_since(stage: Stage, staff: Staff, moment: dt.datetime) -> bool:
    """Whether a round was solved after `moment`, or nobody is left to solve one for."""
    board = await stage.client.get("matching", "/v1/matching/board", staff.decider)
    last = board["last_round"]
    return not board["counts"].get("waiting") or (bool(last) and dt.datetime.fromisoformat(last["solved_at"]) > moment)


async def _pass(stage: Stage, span: str) -> None:
    """Let business time pass, but not before the mailbox has been quiet for some seconds.

    A mail that is still on its way when its call is over would rightly not be sent any more.
    """
    seen, looks = "", 0
    while looks < 4:
        latest = stage.mail.latest
        looks = looks + 1 if latest == seen else 0
        seen = latest
        await asyncio.sleep(0.7)
    await stage.advance(span)


async def endorse(stage: Stage, prospects: list[Member], staff: Staff, progress: Progress) -> dict[str, int]:
    """Filing, verification, application, review, decision, announcement; how many reached each."""
    counts = dict.fromkeys(("filed", "applied", "eligible", "declined", "endorsed"), 0)
    election = stage.now().date() + dt.timedelta(days=150)
    criteria = [criterion.id for criterion in stage.program.scorecard.criteria]
    reasons = [reason.id for reason in stage.program.scorecard.decline_reasons]
    offices = [office for office in stage.program.offices if office.is_endorsable]
    decided: list[str] = []

    async def act(member: Member) -> None:
        office = stage.rng.choice(offices)
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
        made = await stage.client.post("endorsement", "/v1/candidacies", candidacy, member.session)
        candidacy_id = made["candidacy_id"]
        await stage.client.post("endorsement", f"/v1/candidacies/{candidacy_id}/confirmation", None, staff.decider)
        counts["filed"] += 1
        begun = await stage.client.post(
            "endorsement", "/v1/applications", {"candidacy_id": candidacy_id}, member.session
        )
        application_id = begun["application_id"]
        path = f"/v1/applications/{application_id}"
        await stage.client.put("endorsement", path, draft(stage, member), member.session)
        submitted = await stage.client.post("endorsement", f"{path}/submission", None, member.session)
        counts["applied"] += 1
        if submitted["eligibility"]["outcome"] == "undetermined":
            facts = {"birth_date": f"{member.invented.signup.get('birth_year', 1995)}-03-01"}
            submitted = await stage.client.post("endorsement", f"{path}/facts", facts, member.session)
        if submitted["eligibility"]["outcome"] != "eligible":
            return
        counts["eligible"] += 1
        # About half are endorsed; the first always, so that there is something to read at the end.
        good = counts["eligible"] == 1 or stage.rng.random() < 0.5
        for reviewer in staff.reviewers:
            review = f"/v1/reviews/{application_id}"
            await stage.client.post("endorsement", f"{review}/declaration", {"has_conflict": False}, reviewer)
            scores = {criterion: stage.rng.randint(3, 5) if good else stage.rng.randint(1, 3) for criterion in criteria}
            card = {"scores": scores, "recommendation": "endorse" if good else "decline", "comment": "As discussed."}
            await stage.client.post("endorsement", f"{review}/scorecard", card, reviewer)
        body: dict[str, Any] = {"application_id": application_id, "outcome": "endorse", "note": "The plan adds up."}
        if not good:
            body |= {"outcome": "decline", "reason": reasons[0], "note": "Not yet."}
        decision = await stage.client.post("endorsement", "/v1/decisions", body, staff.decider)
        if good:
            decided.append(decision["decision_id"])
            approval = f"/v1/decisions/{decision['decision_id']}/approval"
            await stage.client.post("endorsement", approval, None, staff.announcer)
        else:
            counts["declined"] += 1

    await each(prospects, act, progress)
    if decided:
        # The embargo passes; the approved announcements go out by themselves.
        await _pass(stage, "4d")

        async def announced() -> bool:
            decisions = [
                await stage.client.get("endorsement", f"/v1/decisions/{decision_id}", staff.decider)
                for decision_id in decided
            ]
            counts["endorsed"] = sum(decision["endorsement"] is not None for decision in decisions)
            return counts["endorsed"] == len(decided)

        await until(announced, f"{len(decided)} announcements")
    return counts


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
            answers[item.id] = "Knock on every door in the district twice, starting with those who rarely vote."
    return {
        "answers": answers,
        "application_class": None,
        "birth_year": member.invented.signup.get("birth_year", 1995),
        "publish_consent": True,
    }
