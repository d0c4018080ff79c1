"""Where somebody stands on the program's path, told from the steps that the services reported."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from shared.program import Program, Stage
from shared.web.text import Message, _

STAGE_OF: Mapping[str, str] = {
    "intro_call_attended": "intro_call",
    "call_completed": "one_on_one",
    "filing_confirmed": "filed",
    "application_submitted": "applied",
    "eligible": "eligible",
    "endorsement_decided": "decided",
    "endorsement_declined": "decided",
    "endorsement_announced": "endorsed",
}
"""The stage that a step reaches; the other steps are told, and reach none."""

CONFIDENTIAL = frozenset({"eligible", "ineligible", "undetermined", "endorsement_decided", "endorsement_declined"})
"""Steps that only the person may see here: a decision is nobody else's before its announcement, a decline ever."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened. `with_id` is the other party of a call."""

    name: str
    at: datetime
    ref: str
    with_id: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A stage of the program as one person sees it."""

    stage: Stage
    state: Literal["done", "current", "upcoming"]
    reached_at: datetime | None


def reached(signed_up_at: datetime, confirmed_at: datetime | None, steps: Iterable[Step]) -> dict[str, datetime]:
    """When each stage was first reached. A withdrawn endorsement takes the stage `endorsed` away."""
    found = {"signed_up": signed_up_at}
    if confirmed_at is not None:
        found["confirmed"] = confirmed_at
    for step in sorted(steps, key=lambda s: s.at):
        if step.name == "endorsement_withdrawn":
            found.pop("endorsed", None)
        elif step.name in STAGE_OF:
            found.setdefault(STAGE_OF[step.name], step.at)
    return found


def places(program: Program, when: Mapping[str, datetime]) -> list[Place]:
    """The program's stages in order: done, the one to work on now, and what comes later.

    The current one is the first that is not done, is not behind the last done one or is required, and whose own
    requirements are done.
    """
    ids = [stage.id for stage in program.stages]
    last = max((ids.index(name) for name in when if name in ids), default=-1)
    current = next(
        (
            stage.id
            for position, stage in enumerate(program.stages)
            if stage.id not in when
            and (stage.required or position > last)
            and all(earlier in when for earlier in stage.requires)
        ),
        None,
    )
    return [
        Place(
            stage,
            "done" if stage.id in when else "current" if stage.id == current else "upcoming",
            when.get(stage.id),
        )
        for stage in program.stages
    ]


def furthest(program: Program, when: Iterable[str]) -> str:
    """The last stage, in the program's order, among those reached."""
    order = [stage.id for stage in program.stages]
    return max((name for name in when if name in order), key=lambda name: order.index(name), default="signed_up")


def open_steps(steps: Sequence[Step]) -> frozenset[str]:
    """Names of steps that are still open: invited and not yet attended, offered, booked, declared."""
    latest: dict[str, str] = {}
    for step in sorted(steps, key=lambda s: s.at):
        latest[step.ref] = step.name
    return frozenset(latest.values())


@dataclass(frozen=True, slots=True)
class NextStep:
    """The one thing to do now, and the page of the service where it is done."""

    code: str
    text: Message
    label: Message
    service: str
    path: str


OFFER = NextStep("answer_offer", _("Somebody holds an hour for you. Answer before it runs out."), _("Answer"),
                 "matching", "/calls")  # fmt: skip
CALL = NextStep(
    "call", _("Your call is booked. You can change or cancel it."), _("See your call"), "matching", "/calls"
)
INTRO = NextStep("intro_call", _("Come to an intro call: an hour with others who think about running."),
                 _("Choose a call"), "matching", "/intro-calls")  # fmt: skip
HOURS = NextStep("availability", _("Tell us when you are free, so that we can find you somebody to talk to."),
                 _("Give your hours"), "matching", "/availability")  # fmt: skip
VOLUNTEER = NextStep("volunteer_hours", _("Give your hours, and see the calls that you agreed to."),
                     _("Hours and calls"), "matching", "/availability")  # fmt: skip
FILE = NextStep("file", _("Once you have filed to be on the ballot, tell us, with the official link."),
                _("Tell us that you filed"), "endorsement", "/candidacy")  # fmt: skip
APPLY = NextStep("apply", _("You filed: you can apply for our endorsement."), _("Apply"), "endorsement", "/candidacy")
WAIT = NextStep("wait", _("We have your application. You will hear from us by mail."), _("See your application"),
                "endorsement", "/candidacy")  # fmt: skip
CAMPAIGN = NextStep("candidacy", _("Your candidacy, and what comes with our endorsement, is on its own page."),
                    _("See your candidacy"), "endorsement", "/candidacy")  # fmt: skip
BY_STAGE: Mapping[str, NextStep] = {
    "intro_call": INTRO,
    "one_on_one": HOURS,
    "filed": FILE,
    "applied": APPLY,
    "eligible": WAIT,
    "decided": WAIT,
    "endorsed": CAMPAIGN,
}


def next_step(roles: Iterable[str], found: Sequence[Place], steps: Sequence[Step]) -> NextStep | None:
    """What this person does next; None when there is nothing for them to do."""
    held = set(roles)
    if "prospect" not in held:
        return VOLUNTEER if held & {"volunteer", "mentor"} else None
    waiting = open_steps(steps)
    if "match_offered" in waiting:
        return OFFER
    if "call_booked" in waiting:
        return CALL
    current = next((place.stage.id for place in found if place.state == "current"), None)
    return BY_STAGE.get(current or "")
