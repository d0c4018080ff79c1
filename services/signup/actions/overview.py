"""Everything that this service knows of one person, gathered for their own page, for staff, and for export."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.signup.domain import journey
from services.signup.domain.journey import CONFIDENTIAL, NextStep, Place, Step
from services.signup.store import journey as journey_store
from services.signup.store import people as store
from shared.errors import NotFound
from shared.people import resolve
from shared.work import Work


@dataclass(frozen=True, slots=True)
class Overview:
    """One person: facts, roles, what they agreed to, and where they stand."""

    person: Mapping[str, Any]
    emails: Sequence[Mapping[str, Any]]
    roles: Sequence[str]
    consent_states: Sequence[Mapping[str, Any]]
    consents: Sequence[Mapping[str, Any]]
    signups: Sequence[Mapping[str, Any]]
    steps: Sequence[Step]
    places: Sequence[Place]
    next_step: NextStep | None
    helpers: Sequence[str]

    @property
    def id(self) -> UUID:
        """The id that the person goes by today."""
        person_id: UUID = self.person["id"]
        return person_id


async def of_person(work: Work, person_id: UUID, *, confidential: bool) -> Overview:
    """The person, merges resolved; `NotFound` when there is none. Without `confidential`, steps that only the person
    may see are left out, and with them the stages that they reach."""
    current = (await resolve(work.connection, [person_id]))[person_id]
    person = await store.get_person(work.connection, current)
    if person is None:
        raise NotFound
    ids = await store.get_ids(work.connection, current)
    steps = [
        Step(row["step"], row["at"], str(row["ref"]), str(row["with_id"]) if row["with_id"] else None)
        for row in await journey_store.get_steps(work.connection, ids)
        if confidential or row["step"] not in CONFIDENTIAL
    ]
    roles = await store.get_roles(work.connection, ids)
    when = journey.reached(person["signed_up_at"], person["confirmed_at"], steps)
    found = journey.places(work.program, when)
    return Overview(
        person=person,
        emails=await store.get_emails(work.connection, ids),
        roles=roles,
        consent_states=await store.get_consent_states(work.connection, current),
        consents=await store.get_consents(work.connection, ids),
        signups=await store.get_signups(work.connection, ids),
        steps=steps,
        places=found,
        next_step=journey.next_step(roles, found, steps),
        helpers=await _helpers(work, steps),
    )


async def _helpers(work: Work, steps: Sequence[Step]) -> list[str]:
    """First names of those who took, or will take, a call with the person."""
    latest = {step.ref: step for step in steps}
    ids = [UUID(s.with_id) for s in latest.values() if s.with_id and s.name in ("call_booked", "call_completed")]
    rows = await store.get_profiles(work.connection, ids)
    return list(dict.fromkeys(row["name"].split()[0] for row in rows))


def as_json(found: Overview, program: Any, urls: Mapping[str, str], translate: Any) -> dict[str, Any]:
    """What `/v1/me` and `/v1/people/{id}` answer; `translate` puts a text into the reader's language."""
    person = found.person
    step = found.next_step
    return {
        "person_id": str(found.id),
        **{name: person[name] for name in store.FACTS},
        "emails": [row["email"] for row in found.emails],
        "roles": list(found.roles),
        "signed_up_at": person["signed_up_at"],
        "confirmed_at": person["confirmed_at"],
        "consents": [
            {name: row[name] for name in ("channel", "legal_body", "granted", "wording_version", "changed_at")}
            for row in found.consent_states
        ],
        "stages": [
            {
                "id": place.stage.id,
                "label": translate(place.stage.label),
                "state": place.state,
                "reached_at": place.reached_at,
            }
            for place in found.places
        ],
        "next_step": {
            "code": step.code,
            "text": translate(step.text),
            "url": f"{urls[step.service]}{step.path}",
        }
        if step
        else None,
        "helpers": list(found.helpers),
        "program_version": program.version,
    }


def export_json(found: Overview) -> dict[str, Any]:
    """A person's own copy of everything that this service holds about them."""
    person = dict(found.person)
    person["id"] = str(person["id"])
    return {
        "person": person,
        "emails": [dict(row) for row in found.emails],
        "roles": list(found.roles),
        "signups": [{**dict(row), "id": str(row["id"])} for row in found.signups],
        "consents": [dict(row) for row in found.consents],
        "journey": [{"step": step.name, "at": step.at, "reference": step.ref} for step in found.steps],
    }
