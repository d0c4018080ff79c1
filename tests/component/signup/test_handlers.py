"""Events in: the journey, repeated and out of order, and consent that was stopped and restored elsewhere."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from services.signup.handlers import ROUTES
from shared.events import Event
from shared.events import endorsement as e
from shared.events import matching as m
from shared.events import notifications as n
from shared.events.signup import ConsentChanged
from shared.service import Service
from shared.web.sessions import Principal
from tests.component.signup.conftest import confirmed_person
from tests.harness import CLUSTER, as_records, client_of, deliver, take_outbox

AT = datetime(2026, 3, 1, 18, tzinfo=UTC)


def path_of(person: UUID, helper: UUID) -> list[Event]:
    """Every event that this service reads, as one person's way to a withdrawn endorsement."""
    intro, candidacy, application, decision, endorsement = (uuid4() for _n in range(5))
    first, call = ({"call_id": uuid4(), "prospect_id": person, "volunteer_id": helper, "purpose": "one_on_one"}
                   for _n in range(2))  # fmt: skip
    times = {"starts_at": AT, "ends_at": AT}
    who = {"candidacy_id": candidacy, "person_id": person}
    return [
        m.IntroCallInvited(intro_call_id=intro, person_id=person, starts_at=AT),
        m.IntroCallAttended(intro_call_id=intro, person_id=person),
        m.MatchOffered(**first, **times, expires_at=AT),
        m.CallBooked(**first, **times),
        m.CallMissed(**first, missed_by="volunteer"),
        m.CallBooked(**call, **times),
        m.CallCancelled(**call, by="prospect"),
        m.CallCompleted(**call, outcome="will_run"),
        e.CandidacyDeclared(**who, office="mayor", office_level="local", state="TX"),
        e.FilingConfirmed(**who, verified_by=uuid4()),
        e.ApplicationSubmitted(**who, application_id=application, application_class="spring_2026"),
        e.EligibilityDecided(**who, application_id=application, rule_version="x", outcome="eligible"),
        e.EndorsementDeclined(**who, application_id=application, decision_id=decision, reason="values",
                              reapply_from=date(2026, 5, 1)),
        e.EndorsementDecided(**who, application_id=application, decision_id=decision, embargo_until=AT),
        e.EndorsementAnnounced(**who, endorsement_id=endorsement, decision_id=decision),
        e.EndorsementWithdrawn(**who, endorsement_id=endorsement, reason="conduct"),
        n.ContactSuppressed(person_id=person, channel="email", reason="stop"),
        n.ContactRestored(person_id=person, channel="email", reason="start"),
    ]  # fmt: skip


async def test_every_event_delivered_twice_has_one_effect(service: Service, client: httpx.AsyncClient) -> None:
    person = await confirmed_person(service, client, consents=[{"channel": "email"}])
    helper = await confirmed_person(service, client, email="vic@example.org", name="Vic Lee")
    await take_outbox(service)
    events = path_of(person, helper)
    assert {type(event) for event in events} == set(ROUTES)
    records = await as_records(service, events, None)
    assert await service._inbox.take(records, cluster_id=CLUSTER) == len(events)
    steps = await service.context.pool.fetch("SELECT person_id, step FROM journey_steps")
    assert len(steps) == 17
    told = await take_outbox(service)
    changes = [(c.granted, c.reason) for c in told if isinstance(c, ConsentChanged)]
    assert changes == [(False, "stop"), (True, "start")]
    assert await service._inbox.take(records, cluster_id=CLUSTER) == 0
    await service.context.pool.execute("UPDATE inbox_offsets SET next_offset = 0")
    assert await service._inbox.take(records, cluster_id=CLUSTER) == 0
    await service.context.pool.execute("DELETE FROM inbox_seen")
    await service.context.pool.execute("UPDATE inbox_offsets SET next_offset = 0")
    steps_only = [
        r
        for r, event in zip(records, events, strict=True)
        if not isinstance(event, n.ContactSuppressed | n.ContactRestored)
    ]
    await service._inbox.take(steps_only, cluster_id=CLUSTER)
    assert await service.context.pool.fetch("SELECT person_id, step FROM journey_steps") == steps
    assert await take_outbox(service) == []
    assert await service.context.pool.fetchval("SELECT count(*) FROM parked") == 0


async def test_person_sees_more_of_the_path_than_staff(
    service: Service, client: httpx.AsyncClient, staff_client: httpx.AsyncClient
) -> None:
    person = await confirmed_person(service, client)
    helper = await confirmed_person(service, client, email="vic@example.org", name="Vic Lee")
    events = path_of(person, helper)[:13]
    await deliver(service, *events)
    async with client_of(service, Principal(person)) as own:
        mine = (await own.get("/v1/me")).json()
    seen = (await staff_client.get(f"/v1/people/{person}")).json()
    reached = {s["id"]: s["state"] for s in mine["stages"]}
    assert reached == {
        **dict.fromkeys(
            ["signed_up", "confirmed", "intro_call", "one_on_one", "filed", "applied", "eligible", "decided"], "done"
        ),
        "endorsed": "current",
        "elected": "upcoming",
        "alum": "upcoming",
    }
    assert mine["helpers"] == ["Vic"]
    assert [s["state"] for s in seen["stages"] if s["id"] in ("applied", "eligible", "decided")] == [
        "done", "current", "upcoming"
    ]  # fmt: skip
    assert not {"endorsement_declined", "eligible"} & {s["step"] for s in seen["journey"]}
    rows = await service.context.pool.fetch("SELECT action, subject FROM audit_entries")
    assert [tuple(row) for row in rows] == [("person_read", str(person))]


async def test_steps_of_a_person_not_known_yet_are_kept(service: Service) -> None:
    person = uuid4()
    await deliver(service, *path_of(person, uuid4())[:4])
    assert await service.context.pool.fetchval("SELECT count(*) FROM journey_steps") == 4


async def test_stop_of_a_person_not_known_yet_waits(service: Service) -> None:
    await deliver(service, n.ContactSuppressed(person_id=uuid4(), channel="sms", reason="stop"))
    assert await service.context.pool.fetchval("SELECT count(*) FROM parked") == 1


async def test_completed_call_moves_the_stage_and_an_older_step_does_not(
    service: Service, client: httpx.AsyncClient
) -> None:
    person = await confirmed_person(service, client)
    events = path_of(person, uuid4())
    await deliver(service, events[9])
    await deliver(service, events[1])
    assert await service.context.pool.fetchval("SELECT stage FROM people") == "filed"


async def test_stop_said_again_withdraws_what_a_form_gave_in_between_and_nothing_twice(
    service: Service, client: httpx.AsyncClient
) -> None:
    person = await confirmed_person(service, client, consents=[{"channel": "email"}])
    await take_outbox(service)
    stop = n.ContactSuppressed(person_id=person, channel="email", reason="unsubscribed")
    await deliver(service, stop, stop)
    assert await confirmed_person(service, client, consents=[{"channel": "email"}]) == person
    await deliver(service, stop, stop)
    assert [(c.granted, c.reason) for c in await take_outbox(service) if isinstance(c, ConsentChanged)] == [
        (False, "unsubscribed"), (True, "form"), (False, "unsubscribed"),
    ]  # fmt: skip


RESTORED = [(reason, channel) for reason in ("start", "preference") for channel in ("sms", "email")]


@pytest.mark.parametrize(("reason", "channel"), RESTORED)
async def test_stop_taken_back_gives_no_consent_that_never_was(
    service: Service, client: httpx.AsyncClient, reason: Any, channel: Any
) -> None:
    """Somebody with a number who left the boxes unticked."""
    person = await confirmed_person(service, client, phone="(512) 555-0100")
    await take_outbox(service)
    await deliver(
        service,
        n.ContactSuppressed(person_id=person, channel=channel, reason="preference"),
        n.ContactRestored(person_id=person, channel=channel, reason=reason),
    )
    assert await take_outbox(service) == []
    assert await service.context.pool.fetchval("SELECT count(*) FROM consents") == 0


@pytest.mark.parametrize(("reason", "channel"), RESTORED)
async def test_stop_taken_back_gives_the_consent_again_that_the_stop_took(
    service: Service, client: httpx.AsyncClient, reason: Any, channel: Any
) -> None:
    other = "email" if channel == "sms" else "sms"
    stop: Any = "stop" if reason == "start" else "preference"
    person = await confirmed_person(service, client, phone="(512) 555-0100", consents=[{"channel": channel}])
    await take_outbox(service)
    await deliver(
        service,
        n.ContactSuppressed(person_id=person, channel=channel, reason=stop),
        n.ContactRestored(person_id=person, channel=other, reason=reason),
        n.ContactRestored(person_id=person, channel=channel, reason=reason),
        n.ContactRestored(person_id=person, channel=channel, reason=reason),
    )
    assert [(c.channel, c.granted, c.reason) for c in await take_outbox(service) if isinstance(c, ConsentChanged)] == [
        (channel, False, stop), (channel, True, "start" if reason == "start" else "restored"),
    ]  # fmt: skip


@pytest.mark.parametrize("stop", ["preference", "unsubscribed", "complaint"])
async def test_start_gives_no_consent_again_that_no_stop_by_text_took(
    service: Service, client: httpx.AsyncClient, stop: Any
) -> None:
    person = await confirmed_person(service, client, phone="(512) 555-0100", consents=[{"channel": "sms"}])
    await take_outbox(service)
    await deliver(
        service,
        n.ContactSuppressed(person_id=person, channel="sms", reason=stop),
        n.ContactSuppressed(person_id=person, channel="sms", reason="stop"),
        n.ContactRestored(person_id=person, channel="sms", reason="start"),
    )
    assert [(c.granted, c.reason) for c in await take_outbox(service) if isinstance(c, ConsentChanged)] == [
        (False, stop)
    ]


async def say(service: Service, person: UUID, *, granted: bool) -> None:
    """What the person says about e-mail on their own page."""
    async with client_of(service, Principal(person)) as own:
        answer = await own.post("/v1/me/consents", json={"channel": "email", "granted": granted})
        assert answer.status_code == 200


async def test_own_page_says_how_a_stop_by_text_is_taken_back(service: Service, client: httpx.AsyncClient) -> None:
    person = await confirmed_person(service, client, phone="(512) 555-0100", consents=[{"channel": "sms"}])
    said = []
    async with client_of(service, Principal(person)) as own:
        for event in (
            n.ContactSuppressed(person_id=person, channel="sms", reason="stop"),
            n.ContactRestored(person_id=person, channel="sms", reason="start"),
            n.ContactSuppressed(person_id=person, channel="sms", reason="preference"),
        ):
            await deliver(service, event)
            page = await own.get("/me", headers={"Accept": "text/html"})
            said.append("text START from it" in page.text)
    assert said == [True, False, False]


async def test_start_does_not_undo_what_somebody_took_back_on_their_own_page(
    service: Service, client: httpx.AsyncClient
) -> None:
    """The number's START is another person's word where a household shares it; the page's choice is their own."""
    person = await confirmed_person(service, client, consents=[{"channel": "email"}])
    await say(service, person, granted=False)
    await take_outbox(service)
    await deliver(service, n.ContactRestored(person_id=person, channel="email", reason="start"))
    assert await take_outbox(service) == []
    await deliver(service, n.ContactRestored(person_id=person, channel="email", reason="preference"))
    assert [(c.granted, c.reason) for c in await take_outbox(service) if isinstance(c, ConsentChanged)] == [
        (True, "restored")
    ]


async def test_stop_taken_back_before_the_own_page_said_no_gives_nothing(
    service: Service, client: httpx.AsyncClient
) -> None:
    person = await confirmed_person(service, client, consents=[{"channel": "email"}])
    late = await as_records(service, [n.ContactRestored(person_id=person, channel="email", reason="preference")], None)
    await say(service, person, granted=False)
    await take_outbox(service)
    assert await service._inbox.take(late, cluster_id=CLUSTER) == 1
    assert await take_outbox(service) == []
