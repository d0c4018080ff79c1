"""Declaring a candidacy, and having the filing checked by somebody else."""

import asyncio
import datetime as dt
from uuid import uuid4

import pytest

from shared.events.endorsement import CandidacyDeclared, FilingConfirmed, FilingReturned
from shared.web.sessions import Principal
from tests.component.endorsement.scenes import (
    CANDIDATE,
    INSIDER,
    STAFF,
    call,
    candidacy_body,
    confirmed,
    declared,
    opened,
    refused,
    today,
)
from tests.conftest import DatabaseFactory
from tests.harness import client_of, take_outbox


async def test_filing_that_goes_back_is_corrected_and_confirmed(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        candidacy_id = await declared(service)
        path = f"/v1/candidacies/{candidacy_id}"
        body = {"reason": "other_name", "note": "The list says Anna."}
        await call(service, STAFF, "POST", f"{path}/return", body)
        mine = await call(service, CANDIDATE, "GET", path)
        assert (mine["status"], mine["return_reason"], mine["return_note"]) == (
            "returned",
            "other_name",
            "The list says Anna.",
        )
        assert await refused(service, STAFF, "POST", f"{path}/confirmation") == (409, "filing_settled")
        await call(service, CANDIDATE, "PUT", path, await candidacy_body(service, ballot_name="Anna Ruiz"))
        await call(service, STAFF, "POST", f"{path}/confirmation")
        assert await refused(service, CANDIDATE, "PUT", path, await candidacy_body(service)) == (409, "filing_settled")
        events = await take_outbox(service)
        assert [type(event) for event in events] == [CandidacyDeclared, FilingReturned, FilingConfirmed]
        assert "Anna" not in "".join(event.model_dump_json() for event in events)


async def test_name_of_one_letter_is_taken(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        candidacy_id = await declared(service, ballot_name="X")
        mine = await call(service, CANDIDATE, "GET", f"/v1/candidacies/{candidacy_id}")
        assert mine["ballot_name"] == "X"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"office": "emperor"}, "office"),
        ({"state": "ZZ"}, "state"),
        ({"official_link": "http://elections.example.org/list"}, "official_link"),
        ({"official_link": "https://user@elections.example.org/"}, "official_link"),
        ({"ballot_name": ""}, "ballot_name"),
        ({"term": ""}, "term"),
        ({"election_date": "2020-11-03"}, "election_date"),
        ({"district": "x" * 81}, "district"),
    ],
)
async def test_declaration_names_the_field_that_is_wrong(
    databases: DatabaseFactory, changes: dict[str, str], field: str
) -> None:
    async with opened(await databases("endorsement")) as service, client_of(service, CANDIDATE) as client:
        answer = await client.post("/v1/candidacies", json=await candidacy_body(service, **changes))
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_filing_day_in_the_future_is_refused(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        later = (await today(service) + dt.timedelta(days=3)).isoformat()
        body = await candidacy_body(service, filed_on=later)
        assert await refused(service, CANDIDATE, "POST", "/v1/candidacies", body) == (422, "invalid")


async def test_unknown_field_is_refused(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        body = await candidacy_body(service, scan="data:")
        status, _code = await refused(service, CANDIDATE, "POST", "/v1/candidacies", body)
        assert status == 422


async def test_same_race_twice_is_refused_even_at_once(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        body = await candidacy_body(service)
        async with client_of(service, CANDIDATE) as client:
            answers = await asyncio.gather(*(client.post("/v1/candidacies", json=body) for _ in range(6)))
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409, 409]
        assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"already_declared"}


async def test_withdrawn_candidacy_makes_room_for_another(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        first = await declared(service)
        await call(service, CANDIDATE, "POST", f"/v1/candidacies/{first}/withdrawal")
        assert await declared(service) != first


async def test_own_filing_is_not_checked_by_the_applicant(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database) as service:
        candidacy_id = await declared(service, STAFF)
        path = f"/v1/candidacies/{candidacy_id}/confirmation"
        assert await refused(service, STAFF, "POST", path) == (403, "own_filing")
        alias = Principal(uuid4(), frozenset({"staff"}), uuid4())
        await database.execute("INSERT INTO person_aliases VALUES ($1, $2, now())", alias.person_id, STAFF.person_id)
        assert await refused(service, alias, "POST", path) == (403, "own_filing")


async def test_foreign_candidacy_looks_like_none(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        candidacy_id = await confirmed(service)
        other = Principal(uuid4())
        path = f"/v1/candidacies/{candidacy_id}"
        assert await refused(service, other, "GET", path) == (404, "not_found")
        assert await refused(service, other, "PUT", path, await candidacy_body(service)) == (404, "not_found")
        body = {"candidacy_id": str(candidacy_id)}
        assert await refused(service, other, "POST", "/v1/applications", body) == (404, "not_found")
        async with client_of(service, other, Accept="text/html") as client:
            assert (await client.get(f"/candidacy/{candidacy_id}/edit")).status_code == 404


async def test_only_staff_check_filings(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        path = f"/v1/candidacies/{await declared(service)}/confirmation"
        assert await refused(service, None, "POST", path) == (401, "http_401")
        for somebody in (Principal(uuid4()), INSIDER):
            assert await refused(service, somebody, "POST", path) == (403, "forbidden")
