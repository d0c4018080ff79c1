"""The path of the crowd, step by step: each a function that people or staff carry out over the public interfaces.

From the sign-up to the one-on-one calls; what follows is in `endorsing`. Whoever wants to know what was done, and
what became of it, gives the stage an `acted`.
"""

import asyncio
import datetime as dt
import random
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from deploy.demo.client import UNANSWERED, Client, Refused, until
from deploy.demo.mailbox import Watch
from deploy.demo.people import Invented
from shared.program import Program

Progress = Callable[[], None]
Acted = Callable[..., Awaitable[None]]
"""`await acted(act, e-mail, person id or None, outcome, **detail)` after an act; the outcome is "ack", "nack" (refused)
or "unknown" (no answer, or refused after a try without one). A staff's act is told of whom it is about."""
SIGN_IN_TRIES = 4


async def unnoticed(*_what: Any, **_detail: Any) -> None:
    """The `acted` of a stage that nobody watches."""


@dataclass(slots=True, eq=False)
class Member:
    """One of the crowd, with what the system gave them."""

    invented: Invented
    person_id: str = ""
    session: str = ""
    calls: list[str] = field(default_factory=list)
    through: bool = False
    """Whether they came to the end: an announced endorsement, or an application that was declined."""
    stuck: str = ""
    """Why they go no further, on a stage that goes on without them."""


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
    acted: Acted = unnoticed
    mark: str = ""
    """A word at the end of every free text."""
    goes_on: bool = False
    """Whether somebody who gets stuck is left behind, instead of ending the whole walk."""
    watched: frozenset[str] = frozenset()
    """Whose mail has to be quiet before time passes; empty: everybody's."""
    patience_seconds: float = 240

    def say(self, text: str) -> str:
        """Free text as people of this stage write it."""
        return f"{text} {self.mark}".rstrip()

    def containing(self, step: str, act: Callable[[Member], Awaitable[None]]) -> Callable[[Member], Awaitable[None]]:
        """The act, for those who are not stuck; where the stage goes on without them, a failure makes them so."""

        async def contained(member: Member) -> None:
            if member.stuck:
                return
            try:
                await act(member)
            except (Refused, TimeoutError, *UNANSWERED) as failure:
                if not self.goes_on:
                    raise
                member.stuck = f"{step}: {type(failure).__name__} {failure}"

        return contained


async def each(members: Iterable[Any], act: Callable[[Any], Awaitable[None]], progress: Progress) -> None:
    """Let everybody act at once (the client bounds how many); progress counts the done."""

    async def one(member: Any) -> None:
        await act(member)
        progress()

    await asyncio.gather(*(one(member) for member in members))


async def noted(
    stage: Stage, action: Awaitable[Any], act: str, who: str, person_id: str | None = None, **detail: Any
) -> Any:
    """The answer of an action, after its outcome was told; fails as the action does."""
    try:
        answer = await action
    except Refused as no:
        await stage.acted(act, who, person_id, "unknown" if no.repeated else "nack", **detail, code=no.code)
        raise
    except UNANSWERED as failure:
        await stage.acted(act, who, person_id, "unknown", **detail, error=type(failure).__name__)
        raise
    await stage.acted(act, who, person_id, "ack", **detail)
    return answer


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


async def read_link(
    stage: Stage, email: str, containing: str, *, but_not: Collection[str] = (), seconds: float | None = None
) -> str:
    """The token at the end of the newest mailed link of one kind; `TimeoutError` when none comes in time."""

    async def look() -> str | None:
        link = stage.mail.newest_link(email, containing)
        token = link.rsplit("/", 1)[1] if link else None
        return None if token in but_not else token

    what = f"a mail with {containing} to {email}"
    token: str = await until(look, what, seconds=stage.patience_seconds if seconds is None else seconds)
    return token


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
        await stage.acted("confirm", member.invented.email, member.person_id, "ack")

    await each(members, stage.containing("confirm", act), progress)


async def sign_in(stage: Stage, email: str, *, asked: bool = False) -> Any:
    """A fresh session by a mailed link, which is `asked` for already or now.

    A link that can't be used, or that does not come, is asked for again: whose time is over before it could be mailed
    is not mailed.
    """
    tried: set[str] = set()
    for _ in range(SIGN_IN_TRIES):
        if not asked:
            await stage.client.post("signup", "/v1/account/sign-in", {"email": email})
        asked = False
        try:
            wait = stage.patience_seconds / SIGN_IN_TRIES
            token = await read_link(stage, email, "/account/sign-in/", but_not=tried, seconds=wait)
        except TimeoutError:
            continue
        tried.add(token)
        try:
            return await stage.client.post("signup", "/v1/account/session", {"token": token})
        except Refused:
            continue
    raise TimeoutError(f"No sign-in link to {email} came that could be used; see `make status` and `make logs`.")


async def intro_calls(stage: Stage, prospects: list[Member], staff: Staff, progress: Progress) -> None:
    """Staff schedule two group calls, people answer, the days pass, staff record who came."""
    now = stage.now()
    for days, language in ((2, "en"), (3, "es")):
        day = (now + dt.timedelta(days=days)).date()
        body = {
            "title": stage.say("Intro call" if language == "en" else "Llamada de introducción"),
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

        mine = await until(invited, f"an intro call for {member.person_id}", seconds=stage.patience_seconds)
        chosen = _intro_ids(mine)[0]
        answer = "going" if member.invented.attends else "declined"
        await refused_if_done(
            noted(
                stage,
                stage.client.post("matching", f"/v1/intro-calls/{chosen}/answer", {"answer": answer}, member.session),
                "intro_answer",
                member.invented.email,
                member.person_id,
                intro_call_id=chosen,
                answer=answer,
            )
        )
        if member.invented.attends:
            going.setdefault(chosen, []).append(member)

    await each(prospects, stage.containing("intro call", act), progress)
    await let_pass(stage, "4d")
    for call_id, members in going.items():
        people = await _all_people(stage, call_id, staff)
        seated = {person for person, answer in people.items() if answer in ("going", "invited")}
        marks = {
            "attended": [m.person_id for m in members if m.person_id in seated],
            "missed": [],
        }
        await stage.client.post("matching", f"/v1/intro-calls/{call_id}/attendance", marks, staff.decider)
    await ask_for_calls(stage, [member for members in going.values() for member in members])


async def ask_for_calls(stage: Stage, members: list[Member]) -> None:
    """Get in line for a one-on-one. Where the program promises one to all, or nobody else was found, they are in it."""

    async def ask(member: Member) -> None:
        await refused_if_done(
            noted(
                stage,
                stage.client.post("matching", "/v1/calls/request", None, member.session),
                "request",
                member.invented.email,
                member.person_id,
            )
        )

    await each(members, stage.containing("ask for a call", ask), lambda: None)


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
    stage: Stage,
    prospects: list[Member],
    volunteers: list[Member],
    staff: Staff,
    progress: Progress,
    *,
    rounds: int = 2,
) -> int:
    """Rounds of matching, answers, the calls, and what the volunteers say of them; how many calls were completed."""
    by_id = {member.person_id: member for member in (*prospects, *volunteers)}
    return sum([await _round(stage, by_id, staff, progress) for _ in range(rounds)])


async def _round(stage: Stage, by_id: dict[str, Member], staff: Staff, progress: Progress) -> int:
    outcomes = [outcome.id for outcome in stage.program.one_on_one.outcomes]
    completed = 0
    # A round is due a quarter of an hour of business time after somebody began to wait.
    before = stage.now()
    await let_pass(stage, "30m")
    await until(lambda: _round_since(stage, staff, before), "a round of matching", seconds=stage.patience_seconds)
    held = await _calls(stage, staff, by_id, "held")

    async def answer(prospect: Member) -> None:
        call_id = held[prospect.person_id]["call_id"]
        who, person_id = prospect.invented.email, prospect.person_id
        path = f"/v1/calls/{call_id}"
        if prospect.invented.accepts:
            accepting = stage.client.post("matching", f"{path}/accept", None, prospect.session)
            await refused_if_done(noted(stage, accepting, "accept", who, person_id, call_id=call_id))
        else:
            body = {"reason": stage.rng.choice(("another_time", "another_person", "not_now"))}
            declining = stage.client.post("matching", f"{path}/decline", body, prospect.session)
            await refused_if_done(noted(stage, declining, "decline", who, person_id, call_id=call_id))

    async def attest(prospect: Member) -> None:
        nonlocal completed
        entry = booked[prospect.person_id]
        volunteer = by_id.get(entry["volunteer_id"])
        if volunteer is None:
            return
        draw = stage.rng.random()
        body: dict[str, Any] = {"outcome": stage.rng.choice(outcomes)}
        if draw < 0.1:
            body = {"missed_by": "prospect" if draw < 0.07 else "volunteer"}
        call_id = entry["call_id"]
        attesting = stage.client.post("matching", f"/v1/calls/{call_id}/attest", body, volunteer.session)
        who, person_id = volunteer.invented.email, volunteer.person_id
        await refused_if_done(noted(stage, attesting, "attest", who, person_id, call_id=call_id, said=body))
        if "outcome" in body:
            completed += 1
            prospect.calls.append(call_id)

    await each([by_id[person] for person in held], stage.containing("answer an offer", answer), lambda: None)
    await let_pass(stage, "23d")
    booked = await _calls(stage, staff, by_id, "confirmed")
    await each([by_id[person] for person in booked], stage.containing("one-on-one", attest), progress)
    return completed


async def _calls(stage: Stage, staff: Staff, by_id: dict[str, Member], state: str) -> dict[str, dict[str, Any]]:
    """The crowd's calls in one state, by prospect."""
    board = await stage.client.get("matching", "/v1/matching/board", staff.decider)
    return {
        entry["prospect_id"]: entry
        for entry in board["active"]
        if entry["state"] == state and entry["prospect_id"] in by_id
    }


async def _round_since(stage: Stage, staff: Staff, moment: dt.datetime) -> bool:
    """Whether a round was solved after `moment`, or nobody is left to solve one for."""
    board = await stage.client.get("matching", "/v1/matching/board", staff.decider)
    last = board["last_round"]
    return not board["counts"].get("waiting") or (bool(last) and dt.datetime.fromisoformat(last["solved_at"]) > moment)


async def let_pass(stage: Stage, span: str) -> None:
    """Let business time pass, but not before the mailbox has been quiet for some seconds.

    A mail that is still on its way when its call is over would rightly not be sent any more.
    """
    seen, looks = "", 0
    while looks < 4:
        latest = stage.mail.latest_of(stage.watched) if stage.watched else stage.mail.latest
        looks = looks + 1 if latest == seen else 0
        seen = latest
        await asyncio.sleep(0.7)
    await stage.advance(span)
