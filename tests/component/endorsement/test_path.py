"""From a declared candidacy to an endorsement that is announced, and taken back."""

import datetime as dt
from uuid import UUID

from shared.events.endorsement import (
    ApplicationSubmitted,
    CandidacyDeclared,
    EligibilityDecided,
    Endorsed,
    EndorsementAnnounced,
    EndorsementDecided,
    EndorsementRescinded,
    EndorsementState,
    EndorsementWithdrawn,
    FilingConfirmed,
)
from tests.component.endorsement.scenes import (
    CANDIDATE,
    SECOND,
    STAFF,
    announced,
    call,
    decided,
    opened,
    refused,
)
from tests.conftest import DatabaseFactory
from tests.harness import fire_timers, take_outbox


async def test_path_from_candidacy_to_announcement_emits_each_event_once(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database) as service:
        made = await announced(service, database)
        events = await take_outbox(service)
        assert sorted(event.type for event in events) == sorted(
            [
                CandidacyDeclared.type,
                FilingConfirmed.type,
                ApplicationSubmitted.type,
                EligibilityDecided.type,
                EndorsementDecided.type,
                Endorsed.type,
                EndorsementState.type,
                EndorsementAnnounced.type,
            ]
        )
        public = next(event for event in events if isinstance(event, Endorsed))
        assert public.endorsement_id == UUID(made["endorsement_id"])
        assert (public.ballot_name, public.office, public.state, public.district) == (
            "Ana Ruiz",
            "city_council",
            "WI",
            "3",
        )
        for event in events:
            if event.topic.public:
                assert str(CANDIDATE.person_id) not in event.model_dump_json()


async def test_announcement_before_the_embargo_is_refused(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        decision_id = await decided(service)
        assert await refused(service, SECOND, "POST", f"/v1/decisions/{decision_id}/announcement") == (409, "embargoed")


async def test_announcement_is_in_the_audit_log(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database) as service:
        made = await announced(service, database)
        rows = await service.context.pool.fetch(
            "SELECT person_id, details FROM audit_entries WHERE action = 'announced'"
        )
        assert [tuple(row) for row in rows] == [(SECOND.person_id, {"endorsement": made["endorsement_id"]})]


async def test_announcement_by_the_decider_is_refused(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database) as service:
        decision_id = await decided(service)
        await database.advance_clock(dt.timedelta(hours=73))
        for act in ("approval", "announcement"):
            assert await refused(service, STAFF, "POST", f"/v1/decisions/{decision_id}/{act}") == (409, "same_person")


async def test_approved_announcement_fires_at_the_end_of_the_embargo(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database) as service:
        decision_id = await decided(service)
        await call(service, SECOND, "POST", f"/v1/decisions/{decision_id}/approval")
        assert await fire_timers(service) == 0
        await database.advance_clock(dt.timedelta(hours=71))
        assert await fire_timers(service) == 0
        await take_outbox(service)
        await database.advance_clock(dt.timedelta(hours=1, minutes=1))
        assert await fire_timers(service) == 1
        types = [event.type for event in await take_outbox(service)]
        assert types == [Endorsed.type, EndorsementState.type, EndorsementAnnounced.type]
        assert await refused(service, SECOND, "POST", f"/v1/decisions/{decision_id}/announcement") == (
            409,
            "already_announced",
        )


async def test_unapproved_announcement_waits_for_a_person(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database) as service:
        await decided(service)
        await take_outbox(service)
        await database.advance_clock(dt.timedelta(hours=80))
        assert await fire_timers(service) == 1
        assert await take_outbox(service) == []


async def test_announcement_needs_the_candidates_consent(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database) as service:
        decision_id = await decided(service, publish_consent=False)
        await database.advance_clock(dt.timedelta(hours=73))
        path = f"/v1/decisions/{decision_id}/announcement"
        assert await refused(service, SECOND, "POST", path) == (409, "no_consent")
        decision = await call(service, STAFF, "GET", f"/v1/decisions/{decision_id}")
        consent = f"/v1/applications/{decision['application_id']}/publish-consent"
        await call(service, CANDIDATE, "PUT", consent, {"granted": True})
        await call(service, SECOND, "POST", path, status=201)


async def test_consent_given_after_the_embargo_lets_the_approved_announcement_go(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database) as service:
        decision_id = await decided(service)
        decision = await call(service, STAFF, "GET", f"/v1/decisions/{decision_id}")
        consent = f"/v1/applications/{decision['application_id']}/publish-consent"
        await call(service, SECOND, "POST", f"/v1/decisions/{decision_id}/approval")
        await call(service, CANDIDATE, "PUT", consent, {"granted": False})
        await database.advance_clock(dt.timedelta(hours=80))
        await fire_timers(service)
        assert (await call(service, STAFF, "GET", f"/v1/decisions/{decision_id}"))["endorsement"] is None
        await call(service, CANDIDATE, "PUT", consent, {"granted": True})
        await fire_timers(service)
        assert (await call(service, STAFF, "GET", f"/v1/decisions/{decision_id}"))["endorsement"][
            "status"
        ] == "endorsed"


async def test_rescission_takes_two_people_and_reaches_the_public_topics(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database) as service:
        made = await announced(service, database)
        path = f"/v1/endorsements/{made['endorsement_id']}/rescission"
        await take_outbox(service)
        assert await refused(service, STAFF, "POST", f"{path}/confirmation") == (409, "not_requested")
        await call(service, STAFF, "POST", path, {"reason": "left_race", "note": "Withdrew on Monday."}, status=201)
        assert await take_outbox(service) == []
        assert await refused(service, STAFF, "POST", f"{path}/confirmation") == (409, "same_person")
        assert (await call(service, SECOND, "POST", f"{path}/confirmation"))["status"] == "rescinded"
        assert await refused(service, SECOND, "POST", f"{path}/confirmation") == (409, "already_rescinded")
        events = await take_outbox(service)
        assert [type(event) for event in events] == [EndorsementRescinded, EndorsementState, EndorsementWithdrawn]
        assert [event.status for event in events if isinstance(event, EndorsementState)] == ["rescinded"]
        feed = await call(service, None, "GET", "/v1/endorsements/feed")
        assert [(entry["cursor"], entry["event"]["type"]) for entry in feed["events"]] == [
            (1, Endorsed.type),
            (2, EndorsementRescinded.type),
        ]
