"""What notifications learns at the moment of sending: the facts, or that the message no longer applies."""

import datetime as dt
from typing import Any
from uuid import UUID, uuid4

from shared import messages
from shared.service import Service
from tests.component.endorsement.scenes import (
    CANDIDATE,
    SECOND,
    STAFF,
    announced,
    call,
    candidacy_body,
    decided,
    declared,
    opened,
    reviewed,
)
from tests.conftest import DatabaseFactory
from tests.harness import client_of, internal_client


async def ask(service: Service, template: str, reference: object, person: UUID = CANDIDATE.person_id) -> dict[str, Any]:
    item = {"id": "1", "template": template, "person_id": str(person), "reference": str(reference)}
    async with internal_client(service, "notifications") as client:
        answer = await client.post(messages.PATH, json={"items": [item]})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["items"][0]
    if found["status"] == "ok":
        messages.Data.registry[template].model_validate(found["data"])
    return found


def gone(reason: str) -> dict[str, Any]:
    return {"id": "1", "status": "gone", "reason": reason, "data": {}, "attachments": []}


async def test_filing_messages_follow_the_filings_state(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        candidacy_id = await declared(service)
        path = f"/v1/candidacies/{candidacy_id}"
        await call(service, STAFF, "POST", f"{path}/return", {"reason": "other_name", "note": "Anna?"})
        returned = await ask(service, "filing_returned", candidacy_id)
        assert (returned["data"]["reason"], returned["data"]["note"]) == ("other_name", "Anna?")
        assert await ask(service, "filing_confirmed", candidacy_id) == gone("no_longer_confirmed")
        await call(service, CANDIDATE, "PUT", path, await candidacy_body(service))
        assert await ask(service, "filing_returned", candidacy_id) == gone("no_longer_returned")
        await call(service, STAFF, "POST", f"{path}/confirmation")
        assert (await ask(service, "filing_confirmed", candidacy_id))["data"] == {
            "office": "city_council",
            "state": "WI",
            "district": "3",
            "page_url": "http://endorsement.test/candidacy",
        }


async def test_decision_messages_end_with_the_announcement_and_the_rescission(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database) as service:
        decision_id = await decided(service)
        decision = await call(service, STAFF, "GET", f"/v1/decisions/{decision_id}")
        application_id = decision["application_id"]
        assert (await ask(service, "eligibility_result", application_id))["data"]["outcome"] == "eligible"
        assert await ask(service, "application_received", application_id) == gone("already_answered")
        told = await ask(service, "decision_endorsed", application_id)
        assert told["data"]["embargo_until"] == decision["embargo_until"]
        assert await ask(service, "decision_declined", application_id) == gone("not_declined")
        await database.advance_clock(dt.timedelta(hours=73))
        made = await call(service, SECOND, "POST", f"/v1/decisions/{decision_id}/announcement", status=201)
        endorsement_id = made["endorsement_id"]
        assert await ask(service, "decision_endorsed", application_id) == gone("announced")
        public = await ask(service, "endorsement_announced", endorsement_id)
        assert public["data"]["public_url"] == f"http://endorsement.test/endorsements/{endorsement_id}"
        assert await ask(service, "endorsement_rescinded", endorsement_id) == gone("not_rescinded")
        path = f"/v1/endorsements/{endorsement_id}/rescission"
        await call(service, STAFF, "POST", path, {"reason": "left_race", "note": "Out."}, status=201)
        await call(service, SECOND, "POST", f"{path}/confirmation")
        assert await ask(service, "endorsement_announced", endorsement_id) == gone("rescinded")
        rescinded = await ask(service, "endorsement_rescinded", endorsement_id)
        assert rescinded["data"]["reason"] == "left_race"


async def test_decline_message_carries_the_code_and_the_day(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        application_id = await reviewed(service)
        assert "answer_by" in (await ask(service, "application_received", application_id))["data"]
        body = {"application_id": str(application_id), "outcome": "decline", "reason": "conduct", "note": "No."}
        await call(service, STAFF, "POST", "/v1/decisions", body, status=201)
        told = (await ask(service, "decision_declined", application_id))["data"]
        election = await service.context.pool.fetchval("SELECT election_date FROM candidacies")
        assert (told["reason"], told["reapply_from"]) == ("conduct", (election + dt.timedelta(days=1)).isoformat())


async def test_foreign_and_unknown_references_are_gone(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database) as service:
        made = await announced(service, database)
        for template, reference, person in (
            ("endorsement_announced", made["endorsement_id"], uuid4()),
            ("filing_confirmed", uuid4(), CANDIDATE.person_id),
            ("decision_endorsed", "no-id", CANDIDATE.person_id),
        ):
            assert await ask(service, template, reference, person) == gone("unknown_reference")
        assert await ask(service, "sign_in", uuid4()) == gone("unknown_template")
        rows = await service.context.pool.fetch("SELECT DISTINCT caller, scope FROM internal_accesses")
        assert [tuple(row) for row in rows] == [("notifications", "message-data")]


async def test_message_data_is_for_services(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service, client_of(service, STAFF) as client:
        assert (await client.post(messages.PATH, json={"items": []})).status_code == 401
