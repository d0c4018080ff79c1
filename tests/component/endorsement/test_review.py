"""Reviewing and deciding: conflicts first, independent scores, derived recusal, quorum, one decision."""

import asyncio
from uuid import UUID, uuid4

from services.endorsement.store.audit import verify_chain
from shared.events.endorsement import EndorsementDecided, EndorsementDeclined, ReviewerRecused
from shared.events.matching import CallCompleted
from shared.events.signup import AccountChanged
from shared.web.sessions import Principal
from tests.component.endorsement.scenes import (
    CANDIDATE,
    INSIDER,
    OUTSIDER,
    SCORES,
    SECOND,
    STAFF,
    applied,
    call,
    endorse,
    opened,
    refused,
    reviewed,
    scored,
)
from tests.conftest import DatabaseFactory
from tests.harness import client_of, deliver, take_outbox


def advised(volunteer: UUID, prospect: UUID = CANDIDATE.person_id) -> CallCompleted:
    return CallCompleted(
        call_id=uuid4(), prospect_id=prospect, volunteer_id=volunteer, purpose="one_on_one", outcome="ready"
    )


async def test_file_opens_only_after_the_declaration(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        application_id = await applied(service)
        path = f"/v1/reviews/{application_id}"
        closed = await call(service, OUTSIDER, "GET", path)
        assert (closed["open"], closed["closed_because"]["code"]) == (False, "undeclared")
        assert "answers" not in closed
        body = {"scores": SCORES, "recommendation": "endorse"}
        assert await refused(service, OUTSIDER, "POST", f"{path}/scorecard", body) == (409, "undeclared")
        await call(service, OUTSIDER, "POST", f"{path}/declaration", {"has_conflict": False})
        opened_file = await call(service, OUTSIDER, "GET", path)
        assert opened_file["answers"]["plan"] == "Doors from August, mail in October."


async def test_others_scores_show_after_ones_own(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        application_id = await applied(service)
        await scored(service, application_id, OUTSIDER)
        path = f"/v1/reviews/{application_id}"
        await call(service, INSIDER, "POST", f"{path}/declaration", {"has_conflict": False})
        before = await call(service, INSIDER, "GET", path)
        assert (before["scorecards"], before["mean_score"]) == ([], None)
        await call(
            service, INSIDER, "POST", f"{path}/scorecard", {"scores": SCORES, "recommendation": "unsure"}, status=201
        )
        after = await call(service, INSIDER, "GET", path)
        assert [card["reviewer_id"] for card in after["scorecards"]] == [
            str(OUTSIDER.person_id),
            str(INSIDER.person_id),
        ]
        again = {"scores": SCORES, "recommendation": "decline"}
        assert await refused(service, INSIDER, "POST", f"{path}/scorecard", again) == (409, "already_scored")


async def test_scores_out_of_range_or_missing_are_refused(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        path = f"/v1/reviews/{await applied(service)}"
        await call(service, OUTSIDER, "POST", f"{path}/declaration", {"has_conflict": False})
        for scores, code in (
            ({**SCORES, "plan": 6}, "score_out_of_range"),
            ({"plan": 3}, "score_missing"),
            ({**SCORES, "hair": 3}, "score_unknown"),
        ):
            body = {"scores": scores, "recommendation": "endorse"}
            assert await refused(service, OUTSIDER, "POST", f"{path}/scorecard", body) == (409, code)


async def test_declared_conflict_recuses_for_good(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        application_id = await applied(service)
        path = f"/v1/reviews/{application_id}"
        await take_outbox(service)
        await call(service, INSIDER, "POST", f"{path}/declaration", {"has_conflict": True, "note": "My cousin."})
        assert await refused(service, INSIDER, "POST", f"{path}/declaration", {"has_conflict": False}) == (
            409,
            "declared",
        )
        events = await take_outbox(service)
        assert [(type(e), e.reviewer_id, e.reason) for e in events if isinstance(e, ReviewerRecused)] == [
            (ReviewerRecused, INSIDER.person_id, "declared")
        ]
        assert "cousin" not in "".join(event.model_dump_json() for event in events)


async def test_advisor_is_recused_by_the_call_whatever_id_it_was_under(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database) as service:
        volunteer, prospect = uuid4(), uuid4()
        for alias, person in ((volunteer, INSIDER.person_id), (prospect, CANDIDATE.person_id)):
            await database.execute("INSERT INTO person_aliases VALUES ($1, $2, now())", alias, person)
        await deliver(service, advised(volunteer, prospect))
        application_id = await applied(service)
        await take_outbox(service)
        path = f"/v1/reviews/{application_id}"
        assert await refused(service, INSIDER, "POST", f"{path}/declaration", {"has_conflict": False}) == (
            409,
            "advised",
        )
        for _ in range(2):
            closed = await call(service, INSIDER, "GET", path)
            assert closed["closed_because"]["code"] == "advised"
        told = [(e.reviewer_id, e.reason) for e in await take_outbox(service) if isinstance(e, ReviewerRecused)]
        assert told == [(INSIDER.person_id, "advised")]


async def test_call_that_becomes_known_later_voids_the_scorecard_once(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        application_id = await reviewed(service)
        await take_outbox(service)
        event = advised(OUTSIDER.person_id)
        assert await deliver(service, event, first_offset=0) == 1
        assert await deliver(service, event) == 1
        told = [
            (type(e), e.reviewer_id, e.reason) for e in await take_outbox(service) if isinstance(e, ReviewerRecused)
        ]
        assert told == [(ReviewerRecused, OUTSIDER.person_id, "advised")]
        rows = await service.context.pool.fetch("SELECT reviewer_id, void_reason FROM scorecards ORDER BY submitted_at")
        assert [tuple(row) for row in rows] == [(OUTSIDER.person_id, "advised"), (INSIDER.person_id, None)]
        assert await refused(service, STAFF, "POST", "/v1/decisions", endorse(application_id)) == (409, "no_quorum")


async def test_own_application_is_not_reviewed_by_oneself(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        application_id = await applied(service, INSIDER)
        path = f"/v1/reviews/{application_id}/declaration"
        assert await refused(service, INSIDER, "POST", path, {"has_conflict": False}) == (409, "own_file")


async def test_deciding_needs_two_scorecards_one_from_outside(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        application_id = await applied(service)
        assert await refused(service, STAFF, "POST", "/v1/decisions", endorse(application_id)) == (409, "no_quorum")
        await scored(service, application_id, INSIDER)
        await scored(service, application_id, SECOND)
        assert await refused(service, STAFF, "POST", "/v1/decisions", endorse(application_id)) == (409, "no_quorum")
        await scored(service, application_id, OUTSIDER)
        await call(service, STAFF, "POST", "/v1/decisions", endorse(application_id), status=201)


async def test_outsider_whose_account_turned_inside_does_not_count_as_outside(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        assert OUTSIDER.account_id is not None
        turned = AccountChanged(
            person_id=OUTSIDER.person_id, account_id=OUTSIDER.account_id, roles=("reviewer",), outside=False
        )
        await deliver(service, turned)
        application_id = await reviewed(service)
        assert await refused(service, STAFF, "POST", "/v1/decisions", endorse(application_id)) == (409, "no_quorum")


async def test_closed_account_reviews_no_more_though_its_session_lasts(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        assert OUTSIDER.account_id is not None
        closed = AccountChanged(person_id=OUTSIDER.person_id, account_id=OUTSIDER.account_id, roles=(), outside=True)
        await deliver(service, closed)
        assert await refused(service, OUTSIDER, "GET", "/v1/reviews") == (403, "forbidden")


async def test_recused_staff_do_not_decide(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        application_id = await reviewed(service)
        await deliver(service, advised(STAFF.person_id))
        assert await refused(service, STAFF, "POST", "/v1/decisions", endorse(application_id)) == (403, "advised")
        await call(service, SECOND, "POST", "/v1/decisions", endorse(application_id), status=201)


async def test_reviewers_do_not_decide(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        application_id = await reviewed(service)
        assert await refused(service, OUTSIDER, "POST", "/v1/decisions", endorse(application_id)) == (403, "forbidden")


async def test_deciders_in_a_race_make_one_decision(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database) as service:
        application_id = await reviewed(service)
        await take_outbox(service)
        # Whoever is first takes long over it: the others have begun when it commits.
        await database.execute(
            "CREATE FUNCTION think() RETURNS trigger LANGUAGE plpgsql"
            " AS $$ BEGIN PERFORM pg_sleep(0.7); RETURN NEW; END $$"
        )
        await database.execute("CREATE TRIGGER think BEFORE INSERT ON decisions FOR EACH ROW EXECUTE FUNCTION think()")
        decline = {"application_id": str(application_id), "outcome": "decline", "reason": "values", "note": "No."}
        async with client_of(service, STAFF) as one, client_of(service, SECOND) as two:
            answers = await asyncio.gather(
                *(one.post("/v1/decisions", json=endorse(application_id)) for _ in range(2)),
                *(two.post("/v1/decisions", json=decline) for _ in range(2)),
            )
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
        assert {a.json()["code"] for a in answers if a.status_code == 409} == {"already_decided"}
        events = [e for e in await take_outbox(service) if isinstance(e, EndorsementDecided | EndorsementDeclined)]
        assert len(events) == 1


async def test_embargo_outside_its_limits_is_refused(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        application_id = await reviewed(service)
        for until, code in (("2020-01-01T00:00:00Z", "embargo_past"), ("2999-01-01T00:00:00Z", "embargo_too_long")):
            body = endorse(application_id, embargo_until=until)
            assert await refused(service, STAFF, "POST", "/v1/decisions", body) == (409, code)


async def test_decision_needs_a_note_and_a_known_reason(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        application_id = await reviewed(service)
        body = {"application_id": str(application_id), "outcome": "decline", "reason": "hair", "note": "No."}
        assert await refused(service, STAFF, "POST", "/v1/decisions", body) == (409, "reason_unknown")
        assert await refused(service, STAFF, "POST", "/v1/decisions", endorse(application_id, note=" ")) == (
            422,
            "note_missing",
        )


async def test_account_event_of_an_unknown_person_is_kept_and_an_older_one_changes_nothing(
    databases: DatabaseFactory,
) -> None:
    async with opened(await databases("endorsement")) as service:
        person, account = uuid4(), uuid4()
        events = [
            AccountChanged(person_id=person, account_id=account, roles=roles, outside=False)
            for roles in (("staff",), ("reviewer",))
        ]
        await deliver(service, *events)
        await deliver(service, events[0], first_offset=0)
        row = await service.context.pool.fetchrow("SELECT roles FROM accounts WHERE account_id = $1", account)
        assert row is not None
        assert row["roles"] == ["reviewer"]


async def test_every_privileged_act_is_in_a_whole_audit_chain(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database) as service:
        application_id = await reviewed(service)
        await call(service, OUTSIDER, "GET", f"/v1/reviews/{application_id}")
        await call(service, STAFF, "POST", "/v1/decisions", endorse(application_id), status=201)
        async with service.context.pool.acquire() as connection:
            assert await verify_chain(connection) is None
            actions = [row["action"] for row in await connection.fetch("SELECT action FROM audit_entries ORDER BY id")]
        assert actions == [
            "filing_confirmed",
            "conflict_declared",
            "scored",
            "conflict_declared",
            "scored",
            "application_read",
            "decided",
        ]
        await database.execute("ALTER TABLE audit_entries DISABLE TRIGGER USER")
        await database.execute("UPDATE audit_entries SET action = 'nothing' WHERE action = 'decided'")
        async with service.context.pool.acquire() as connection:
            assert await verify_chain(connection) is not None


async def test_session_without_account_events_is_taken_by_its_own_roles(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        stranger = Principal(uuid4(), frozenset({"reviewer"}), uuid4(), outside=True)
        assert (await call(service, stranger, "GET", "/v1/reviews"))["applications"] == []
