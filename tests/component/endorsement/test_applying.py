"""Applications: drafts that survive, deadlines, completeness, verdicts and the facts they lack."""

import asyncio
import datetime as dt
import json
from typing import Any
from uuid import uuid4

import pytest

from services.endorsement.store.applications import get_stages
from shared.events.endorsement import ApplicationSubmitted, EligibilityDecided
from shared.events.matching import CallCompleted, IntroCallAttended
from tests.component.endorsement.receiver import receiving, reply
from tests.component.endorsement.scenes import (
    ANSWERS,
    CANDIDATE,
    OUTSIDER,
    STAFF,
    applied,
    call,
    confirmed,
    declared,
    drafted,
    opened,
    refused,
    reviewed,
)
from tests.conftest import DatabaseFactory
from tests.harness import PROGRAM_2017, client_of, deliver, take_outbox

JSON = {"Content-Type": "application/json"}


async def test_applying_before_the_filing_is_confirmed_is_refused(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        body = {"candidacy_id": str(await declared(service))}
        assert await refused(service, CANDIDATE, "POST", "/v1/applications", body) == (409, "filing_not_confirmed")


async def test_draft_keeps_what_was_typed_however_wrong(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        application_id = await drafted(service, await confirmed(service))
        path = f"/v1/applications/{application_id}"
        await call(service, CANDIDATE, "PUT", path, {"answers": {"plan": "Half a pl", "win_number": "many"}})
        kept = (await call(service, CANDIDATE, "GET", path))["answers"]
        assert (kept["plan"], kept["win_number"], kept["vision"]) == ("Half a pl", "many", None)
        async with client_of(service, CANDIDATE) as client:
            answer = await client.post(f"{path}/submission")
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == [
            "budget_cents",
            "win_number",
            "path_to_victory",
            "vision",
            "value_statements",
        ]
        assert (await call(service, CANDIDATE, "GET", path))["status"] == "draft"


@pytest.mark.parametrize(
    "typed", ["9e900000", "1e999999", "9" * 5000, 2**63], ids=["exponent", "overflow", "digits", "past_64_bits"]
)
async def test_amount_past_all_bounds_is_kept_in_the_draft(databases: DatabaseFactory, typed: str | int) -> None:
    async with opened(await databases("endorsement")) as service:
        application_id = await drafted(service, await confirmed(service))
        path = f"/v1/applications/{application_id}"
        answers = {**ANSWERS, "budget_cents": typed}
        await call(service, CANDIDATE, "PUT", path, {"answers": answers, "birth_year": 1995})
        kept = {**ANSWERS, "budget_cents": str(typed)}
        assert (await call(service, CANDIDATE, "GET", path))["answers"] == kept
        async with client_of(service, CANDIDATE, Accept="text/html") as client:
            page = await client.post(f"/applications/{application_id}", data={**kept, "act": "submit"})
        assert page.status_code == 422
        assert "Enter an amount in dollars, like 12,500 or 950.50." in page.text
        assert (await call(service, CANDIDATE, "GET", path))["answers"] == kept
        assert await refused(service, CANDIDATE, "POST", f"{path}/submission") == (422, "incomplete")


async def test_unseen_characters_are_left_out_of_a_draft(databases: DatabaseFactory) -> None:
    """Those that the database can't hold would else keep the whole draft from being saved."""
    async with opened(await databases("endorsement")) as service:
        application_id = await drafted(service, await confirmed(service))
        path = f"/v1/applications/{application_id}"
        typed = {"plan": "Do\x00ors", "budget_cents": "\x00much", "win_number": "\x00", "vision": "Side\ud800walks"}
        async with client_of(service, CANDIDATE) as client:
            answer = await client.put(path, content=json.dumps({"answers": typed}), headers=JSON)
        assert answer.status_code == 200, answer.text
        kept = answer.json()["answers"]
        assert [kept[name] for name in typed] == ["Doors", "much", "", "Sidewalks"]
        form = {"plan": "Do\x00ors", "budget_cents": "\x0012", "win_number": "4\x00"}
        async with client_of(service, CANDIDATE, Accept="text/html") as client:
            page = await client.post(f"/applications/{application_id}", data=form)
        assert page.status_code == 422
        kept = (await call(service, CANDIDATE, "GET", path))["answers"]
        assert [kept[name] for name in form] == ["Doors", 1200, 4]


async def test_year_past_all_bounds_is_refused_and_the_draft_stays(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        application_id = await drafted(service, await confirmed(service))
        path = f"/v1/applications/{application_id}"
        async with client_of(service, CANDIDATE) as client:
            for year in (3_000_000_000, 10**30, 0, -1):
                for method, target, body in (
                    ("PUT", path, {"answers": {}, "birth_year": year}),
                    ("POST", f"{path}/facts", {"birth_year": year}),
                ):
                    answer = await client.request(method, target, json=body)
                    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
                    assert [error["field"] for error in answer.json()["errors"]] == ["birth_year"]
        kept = await call(service, CANDIDATE, "GET", path)
        assert (kept["answers"], kept["birth_year"]) == (ANSWERS, 1995)


async def test_year_that_nobody_was_born_in_is_kept_in_a_draft(databases: DatabaseFactory) -> None:
    """And refused, with the rest kept, when it is handed in."""
    async with opened(await databases("endorsement")) as service:
        application_id = await drafted(service, await confirmed(service), birth_year=9999)
        path = f"/v1/applications/{application_id}"
        assert (await call(service, CANDIDATE, "GET", path))["birth_year"] == 9999
        assert await refused(service, CANDIDATE, "POST", f"{path}/submission") == (422, "incomplete")


async def test_beginning_twice_finds_the_same_draft(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        body = {"candidacy_id": str(await confirmed(service))}
        async with client_of(service, CANDIDATE) as client:
            answers = await asyncio.gather(*(client.post("/v1/applications", json=body) for _ in range(5)))
        assert len({answer.json()["application_id"] for answer in answers}) == 1


async def test_handing_in_twice_has_one_effect(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        application_id = await drafted(service, await confirmed(service))
        await take_outbox(service)
        async with client_of(service, CANDIDATE) as client:
            path = f"/v1/applications/{application_id}"
            answers = await asyncio.gather(*(client.post(f"{path}/submission") for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
        assert [type(e) for e in await take_outbox(service)] == [ApplicationSubmitted, EligibilityDecided]
        assert await refused(service, CANDIDATE, "PUT", path, {"answers": ANSWERS}) == (409, "already_submitted")
        mine = await call(service, CANDIDATE, "GET", path)
        body = {"candidacy_id": mine["candidacy_id"]}
        assert await refused(service, CANDIDATE, "POST", "/v1/applications", body) == (409, "already_applied")


async def test_deadline_counts_by_the_business_clock_and_the_draft_is_kept(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database) as service:
        candidacy_id = await confirmed(service, election_date="2029-11-06")
        application_id = await drafted(service, candidacy_id)
        path = f"/v1/applications/{application_id}"
        first = (await call(service, CANDIDATE, "GET", path))["application_class"]
        entry = next(entry for entry in service.context.program.application.classes if entry.id == first)
        deadline = service.context.program.deadline(entry)
        now: dt.datetime = await service.context.pool.fetchval("SELECT business_now()")
        await database.advance_clock(deadline - now + dt.timedelta(seconds=1))
        assert await refused(service, CANDIDATE, "POST", f"{path}/submission") == (409, "class_closed")
        kept = await call(service, CANDIDATE, "GET", path)
        assert (kept["status"], kept["answers"]) == ("draft", ANSWERS)
        open_now = service.context.program.classes_open_at(deadline + dt.timedelta(seconds=2))[0].id
        body = {"answers": ANSWERS, "birth_year": 1995, "application_class": open_now}
        await call(service, CANDIDATE, "PUT", path, body)
        assert (await call(service, CANDIDATE, "POST", f"{path}/submission"))["status"] == "in_review"


async def test_too_old_candidate_reads_why_and_is_not_reviewed(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        application_id = await applied(service, birth_year=1960)
        mine = await call(service, CANDIDATE, "GET", f"/v1/applications/{application_id}")
        assert (mine["status"], mine["eligibility"]["outcome"]) == ("ineligible", "ineligible")
        codes = [(check["test"], check["passed"], check["code"]) for check in mine["eligibility"]["checks"]]
        assert codes == [
            ("age_at_most", False, "age_above"),
            ("office_level_in", True, "office_within"),
            ("filing_confirmed", True, "filing_confirmed"),
        ]
        assert sorted(mine["eligibility"]["checks"][0]["text"]) == ["en", "es"]
        assert (await call(service, OUTSIDER, "GET", "/v1/reviews"))["applications"] == []
        path = f"/v1/reviews/{application_id}/declaration"
        assert await refused(service, OUTSIDER, "POST", path, {"has_conflict": False}) == (409, "not_in_review")
        body = {"candidacy_id": mine["candidacy_id"]}
        assert await refused(service, CANDIDATE, "POST", "/v1/applications", body) == (409, "already_applied")


async def test_missing_fact_is_named_and_can_be_supplied(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        candidacy_id = await confirmed(service)
        election = dt.date.fromisoformat(
            (await call(service, CANDIDATE, "GET", f"/v1/candidacies/{candidacy_id}"))["election_date"]
        )
        application_id = await drafted(service, candidacy_id, birth_year=None)
        path = f"/v1/applications/{application_id}"
        first = await call(service, CANDIDATE, "POST", f"{path}/submission")
        assert (first["status"], first["eligibility"]["missing"]) == ("undetermined", ["birth_year"])
        year = election.year - 41
        second = await call(service, CANDIDATE, "POST", f"{path}/facts", {"birth_year": year})
        assert (second["status"], second["eligibility"]["missing"]) == ("undetermined", ["birth_date"])
        wrong = {"birth_date": dt.date(year - 1, 1, 1).isoformat()}
        assert await refused(service, CANDIDATE, "POST", f"{path}/facts", wrong) == (422, "incomplete")
        third = await call(
            service, CANDIDATE, "POST", f"{path}/facts", {"birth_date": dt.date(year, 12, 31).isoformat()}
        )
        assert third["status"] == "in_review"
        outcomes = [event.outcome for event in await take_outbox(service) if isinstance(event, EligibilityDecided)]
        assert outcomes == ["undetermined", "undetermined", "eligible"]
        assert await refused(service, CANDIDATE, "POST", f"{path}/facts", {"birth_year": year}) == (
            409,
            "nothing_missing",
        )


async def test_birth_year_comes_from_signup_by_reference(databases: DatabaseFactory) -> None:
    profile: dict[str, Any] = {
        "person_id": str(CANDIDATE.person_id),
        "current_id": str(CANDIDATE.person_id),
        "name": "Ana",
        "roles": ["prospect"],
        "state": "WI",
        "zip": None,
        "birth_year": 1999,
        "office": None,
        "tracks": [],
        "language": "en",
        "spoken_languages": ["en"],
        "time_zone": None,
        "availability": [],
        "signed_up_at": "2026-01-05T12:00:00Z",
        "confirmed_at": None,
        "answers": {},
    }
    async with receiving() as signup:
        signup.answer = lambda _got: reply(
            200, "Content-Type: application/json", body=json.dumps({"profiles": [profile]})
        )
        urls = {"signup": f"http://127.0.0.1:{signup.port}"}
        async with opened(await databases("endorsement"), internal_urls=urls) as service:
            application_id = await applied(service, birth_year=None)
            mine = await call(service, CANDIDATE, "GET", f"/v1/applications/{application_id}")
            assert (mine["status"], mine["birth_year"]) == ("in_review", None)
            assert [json.loads(got.body) for got in signup.got] == [{"person_ids": [str(CANDIDATE.person_id)]}]
            sources = await service.context.pool.fetchval("SELECT sources FROM eligibility_verdicts")
            assert sources == {"birth_year": "signup", "signed_up_on": "signup"}


async def test_one_on_one_that_the_2017_rules_ask_for_is_known_from_the_call(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement"), program=PROGRAM_2017) as service:
        held = CallCompleted(
            call_id=uuid4(),
            prospect_id=CANDIDATE.person_id,
            volunteer_id=uuid4(),
            purpose="one_on_one",
            outcome="ready",
        )
        rules = service.context.program.eligibility[-1]
        assert [rule.test for rule in rules.rules][-1] == "stage_reached"
        await deliver(service, held)
        attended = IntroCallAttended(intro_call_id=uuid4(), person_id=CANDIDATE.person_id)
        assert await get_stages(service.context.pool, CANDIDATE.person_id) == {"one_on_one"}
        await deliver(service, attended, attended)
        assert await get_stages(service.context.pool, CANDIDATE.person_id) == {"one_on_one", "intro_call"}
        assert await get_stages(service.context.pool, held.volunteer_id) == set()


async def test_replay_lists_who_flips_under_another_version(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        stays = await applied(service, birth_year=1995)
        day = await service.context.pool.fetchval("SELECT business_now()::date")
        assert day.year - 1984 > 41, "born in 1984, older than 40 in any month of the year"
        flips = await applied(service, birth_year=1984, district="9")
        result = await call(service, STAFF, "GET", "/v1/applications/replay?version=2024-born-1984")
        assert result["applications"] == 2
        assert [(flip["application_id"], flip["before"], flip["after"]) for flip in result["flips"]] == [
            (str(flips), "ineligible", "eligible")
        ]
        same = await call(service, STAFF, "GET", "/v1/applications/replay?version=2025-age-40")
        assert same["flips"] == []
        assert (await call(service, CANDIDATE, "GET", f"/v1/applications/{stays}"))["status"] == "in_review"
        assert await refused(service, STAFF, "GET", "/v1/applications/replay?version=1999") == (404, "not_found")


async def test_reapplying_waits_for_the_day_the_decision_named(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database) as service:
        application_id = await reviewed(service)
        body = {"application_id": str(application_id), "outcome": "decline", "reason": "plan_not_ready", "note": "No."}
        await call(service, STAFF, "POST", "/v1/decisions", body, status=201)
        mine = await call(service, CANDIDATE, "GET", f"/v1/applications/{application_id}")
        again = {"candidacy_id": mine["candidacy_id"]}
        assert await refused(service, CANDIDATE, "POST", "/v1/applications", again) == (409, "too_early")
        await database.advance_clock(dt.timedelta(days=31))
        second = await call(service, CANDIDATE, "POST", "/v1/applications", again, status=201)
        assert (second["version"], second["status"]) == (2, "draft")


async def test_final_decline_ends_the_candidacys_applications(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database) as service:
        application_id = await reviewed(service)
        body = {"application_id": str(application_id), "outcome": "decline", "reason": "conduct", "note": "No."}
        await call(service, STAFF, "POST", "/v1/decisions", body, status=201)
        mine = await call(service, CANDIDATE, "GET", f"/v1/applications/{application_id}")
        await database.advance_clock(dt.timedelta(days=40))
        again = {"candidacy_id": mine["candidacy_id"]}
        assert await refused(service, CANDIDATE, "POST", "/v1/applications", again) == (409, "never_again")
