"""A candidate's path through the JSON interface, as tests walk it."""

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import httpx

from services.endorsement.app import SERVICE
from services.endorsement.settings import Settings
from shared.service import Service
from shared.web.sessions import Principal
from tests.harness import Database, client_of, make_settings, running

CANDIDATE = Principal(uuid4())
STAFF = Principal(uuid4(), frozenset({"staff"}), uuid4())
SECOND = Principal(uuid4(), frozenset({"staff"}), uuid4())
THIRD = Principal(uuid4(), frozenset({"staff"}), uuid4())
ADMIN = Principal(uuid4(), frozenset({"admin"}), uuid4())
OUTSIDER = Principal(uuid4(), frozenset({"reviewer"}), uuid4(), outside=True)
INSIDER = Principal(uuid4(), frozenset({"reviewer"}), uuid4())

ANSWERS: dict[str, Any] = {
    "plan": "Doors from August, mail in October.",
    "budget_cents": 1_250_000,
    "win_number": 4200,
    "path_to_victory": "Two precincts decide it.",
    "vision": "Sidewalks to every school.",
    "value_statements": ["neighbors", "honest", "results", "safe", "care"],
}
SCORES = {"plan": 4, "path": 4, "vision": 5, "roots": 3, "readiness": 4}


@asynccontextmanager
async def opened(database: Database, **changes: Any) -> AsyncIterator[Service]:
    """The service on a database of its own."""
    # Nobody answers for signup unless a test says who does.
    changes.setdefault("internal_urls", {"signup": "http://127.0.0.1:1"})
    async with running(SERVICE, make_settings(Settings, database, **changes)) as service:
        yield service


async def today(service: Service) -> dt.date:
    """The business day where the organization is: in UTC the next one may have begun."""
    moment: dt.datetime = await service.context.pool.fetchval("SELECT business_now()")
    return moment.astimezone(ZoneInfo(service.context.program.organization.time_zone)).date()


async def call(
    service: Service, principal: Principal | None, method: str, path: str, body: Any = None, *, status: int = 200
) -> Any:
    """The decoded answer of one request, whose status must be as given."""
    async with client_of(service, principal) as client:
        answer = await client.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def refused(
    service: Service, principal: Principal | None, method: str, path: str, body: Any = None
) -> tuple[int, str]:
    """Status and code of a refusal."""
    async with client_of(service, principal) as client:
        answer: httpx.Response = await client.request(method, path, json=body)
    assert answer.status_code >= 400, answer.text
    return answer.status_code, answer.json()["code"]


async def candidacy_body(service: Service, **changes: Any) -> dict[str, Any]:
    """A declaration for an election in sixty days."""
    day = await today(service)
    return {
        "office": "city_council",
        "state": "WI",
        "district": "3",
        "election_date": (day + dt.timedelta(days=60)).isoformat(),
        "term": "2026–2030",
        "ballot_name": "Ana Ruiz",
        "official_link": "https://elections.example.org/list",
        "filed_on": day.isoformat(),
        **changes,
    }


async def declared(service: Service, candidate: Principal = CANDIDATE, **changes: Any) -> UUID:
    """A candidacy that waits for a check."""
    made = await call(
        service, candidate, "POST", "/v1/candidacies", await candidacy_body(service, **changes), status=201
    )
    return UUID(made["candidacy_id"])


async def confirmed(service: Service, candidate: Principal = CANDIDATE, **changes: Any) -> UUID:
    """A candidacy whose filing was confirmed."""
    candidacy_id = await declared(service, candidate, **changes)
    await call(service, STAFF, "POST", f"/v1/candidacies/{candidacy_id}/confirmation")
    return candidacy_id


async def drafted(service: Service, candidacy_id: UUID, candidate: Principal = CANDIDATE, **changes: Any) -> UUID:
    """A complete draft of an application."""
    made = await call(service, candidate, "POST", "/v1/applications", {"candidacy_id": str(candidacy_id)}, status=201)
    draft = {"answers": ANSWERS, "birth_year": 1995, "publish_consent": True, **changes}
    await call(service, candidate, "PUT", f"/v1/applications/{made['application_id']}", draft)
    return UUID(made["application_id"])


async def applied(service: Service, candidate: Principal = CANDIDATE, **changes: Any) -> UUID:
    """An application in review."""
    race = {name: changes.pop(name) for name in ("district", "ballot_name") if name in changes}
    application_id = await drafted(service, await confirmed(service, candidate, **race), candidate, **changes)
    await call(service, candidate, "POST", f"/v1/applications/{application_id}/submission")
    return application_id


async def scored(service: Service, application_id: UUID, reviewer: Principal) -> None:
    """A reviewer without conflict hands in a scorecard."""
    path = f"/v1/reviews/{application_id}"
    await call(service, reviewer, "POST", f"{path}/declaration", {"has_conflict": False})
    body = {"scores": SCORES, "recommendation": "endorse", "comment": "Ready."}
    await call(service, reviewer, "POST", f"{path}/scorecard", body, status=201)


async def reviewed(service: Service, candidate: Principal = CANDIDATE, **changes: Any) -> UUID:
    """An application with a quorum of scorecards."""
    application_id = await applied(service, candidate, **changes)
    await scored(service, application_id, OUTSIDER)
    await scored(service, application_id, INSIDER)
    return application_id


def endorse(application_id: UUID, **changes: Any) -> dict[str, Any]:
    """The body of a decision to endorse."""
    return {"application_id": str(application_id), "outcome": "endorse", "note": "Strong.", **changes}


async def decided(service: Service, candidate: Principal = CANDIDATE, **changes: Any) -> UUID:
    """A decision to endorse, by STAFF; returns the decision's id."""
    application_id = await reviewed(service, candidate, **changes)
    made = await call(service, STAFF, "POST", "/v1/decisions", endorse(application_id), status=201)
    return UUID(made["decision_id"])


async def announced(
    service: Service, database: Database, candidate: Principal = CANDIDATE, **changes: Any
) -> dict[str, Any]:
    """An announced endorsement, by SECOND, after the embargo."""
    decision_id = await decided(service, candidate, **changes)
    await database.advance_clock(dt.timedelta(hours=73))
    made: dict[str, Any] = await call(service, SECOND, "POST", f"/v1/decisions/{decision_id}/announcement", status=201)
    return made
