"""One correlation id runs from a form to its mail, through events that are taken in one batch."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from services.matching.app import SERVICE as MATCHING
from services.matching.settings import Settings as MatchingSettings
from services.notifications.app import SERVICE as NOTIFICATIONS
from services.notifications.settings import Settings as NotificationsSettings
from services.signup.app import SERVICE as SIGNUP
from services.signup.settings import Settings as SignupSettings
from shared.events.envelope import new_id
from shared.events.matching import CallCompleted
from shared.events.notifications import ContactSuppressed
from shared.events.signup import PersonConfirmed
from shared.inbox import Record
from shared.service import Service
from shared.web.sessions import Principal
from tests.component.endorsement.scenes import INSIDER, OUTSIDER, applied, opened, scored
from tests.component.matching.intro_stage import Stage
from tests.component.signup.conftest import a_signup, link_token
from tests.conftest import DatabaseFactory
from tests.harness import CLUSTER, as_records, client_of, make_settings, running, take_outbox


async def relayed(service: Service) -> list[Record]:
    """The outbox as Kafka records of partition 0, headers and all; the outbox is emptied."""
    rows = await service.context.pool.fetch("SELECT topic, key, headers, payload FROM outbox ORDER BY id")
    await service.context.pool.execute("DELETE FROM outbox")
    offsets: dict[str, int] = {}
    records = []
    for row in rows:
        offsets[row["topic"]] = offsets.get(row["topic"], -1) + 1
        headers = [(name, value.encode()) for name, value in json.loads(row["headers"])]
        records.append(Record(row["topic"], 0, offsets[row["topic"]], row["key"].encode(), headers, row["payload"]))
    return records


def with_correlation(records: Sequence[Record], *ids: str) -> list[Record]:
    """The same records, each under a correlation id of its own."""
    changed = []
    for record, correlation_id in zip(records, ids, strict=True):
        headers = [(name, value) for name, value in record.headers if name != "correlation_id"]
        headers.append(("correlation_id", correlation_id.encode()))
        changed.append(Record(record.topic, 0, record.offset, record.key, headers, record.value))
    return changed


async def emitted(service: Service, event_type: str) -> list[tuple[Any, ...]]:
    """(person, correlation id, whether a cause is named) of the events of a type in the outbox, by person."""
    rows = await service.context.pool.fetch("SELECT headers, payload FROM outbox ORDER BY id")
    found = []
    for row in rows:
        headers = dict(json.loads(row["headers"]))
        if headers["ce_type"] == event_type:
            person = json.loads(row["payload"])["person_id"]
            found.append((person, headers.get("correlation_id"), "ce_causationid" in headers))
    return sorted(found)


async def test_correlation_id_of_a_form_reaches_its_message(databases: DatabaseFactory) -> None:
    signup = make_settings(SignupSettings, await databases("signup"), form_min_seconds=0)
    database = await databases("notifications")
    urls = dict.fromkeys(("signup", "matching", "endorsement"), "http://127.0.0.1:1")
    notifications = make_settings(
        NotificationsSettings, database, internal_urls=urls, smtp_host="127.0.0.1", smtp_port=1, smtp_security="none"
    )
    async with running(SIGNUP, signup) as forms, running(NOTIFICATIONS, notifications) as mails:
        async with client_of(forms) as client:
            for number in (1, 2):
                answer = await client.post(
                    "/v1/signups",
                    json=a_signup(email=f"p{number}@example.org"),
                    headers={"Idempotency-Key": str(uuid4()), "X-Correlation-Id": f"form-number-{number}"},
                )
                assert (answer.status_code, answer.headers["X-Correlation-Id"]) == (202, f"form-number-{number}")
        ids = sorted(correlation for _person, correlation, _cause in await emitted(forms, "signup.signed_up.v1"))
        assert ids == ["form-number-1", "form-number-2"]
        await mails._inbox.take(await relayed(forms), cluster_id=CLUSTER)
        assert await database.fetch("SELECT template, correlation_id FROM messages ORDER BY correlation_id") == [
            ("welcome_confirm", "form-number-1"),
            ("welcome_confirm", "form-number-2"),
        ]


async def test_batch_of_confirmations_invites_each_under_its_own_id(databases: DatabaseFactory) -> None:
    database = await databases("matching")
    async with running(MATCHING, make_settings(MatchingSettings, database)) as service:
        await Stage(service, database).schedule()
        await take_outbox(service)
        people = sorted((new_id(), new_id()))
        events = [
            PersonConfirmed(person_id=p, signup_id=p, roles=("prospect",), language="en", time_zone="America/Chicago")
            for p in people
        ]
        records = with_correlation(await as_records(service, events), "confirmation-1", "confirmation-2")
        await service._inbox.take(records, cluster_id=CLUSTER)
        assert await emitted(service, "matching.intro_call_invited.v1") == [
            (str(people[0]), "confirmation-1", True),
            (str(people[1]), "confirmation-2", True),
        ]


async def test_batch_of_stops_withdraws_each_consent_under_its_own_id(databases: DatabaseFactory) -> None:
    async with running(SIGNUP, make_settings(SignupSettings, await databases("signup"), form_min_seconds=0)) as service:
        people = []
        async with client_of(service) as client:
            for number in (1, 2):
                body = a_signup(email=f"p{number}@example.org", consents=[{"channel": "email"}])
                answer = await client.post("/v1/signups", json=body, headers={"Idempotency-Key": str(uuid4())})
                token = await link_token(service, answer.json()["signup_id"])
                confirmed = await client.post("/v1/confirmations", json={"token": token})
                people.append(UUID(confirmed.json()["person_id"]))
        await take_outbox(service)
        events = [ContactSuppressed(person_id=p, channel="email", reason="unsubscribed") for p in people]
        records = with_correlation(await as_records(service, events), "stop-number-1", "stop-number-2")
        await service._inbox.take(records, cluster_id=CLUSTER)
        assert await emitted(service, "signup.consent_changed.v1") == sorted(
            [(str(people[0]), "stop-number-1", True), (str(people[1]), "stop-number-2", True)]
        )


async def test_batch_of_calls_recuses_each_reviewer_under_its_own_id(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        candidates = [Principal(uuid4()), Principal(uuid4())]
        for candidate, reviewer, seat in zip(candidates, (OUTSIDER, INSIDER), ("3", "4"), strict=True):
            await scored(service, await applied(service, candidate, district=seat), reviewer)
        await take_outbox(service)
        events = [
            CallCompleted(
                call_id=uuid4(),
                prospect_id=candidate.person_id,
                volunteer_id=reviewer.person_id,
                purpose="one_on_one",
                outcome="will_run",
            )
            for candidate, reviewer in zip(candidates, (OUTSIDER, INSIDER), strict=True)
        ]
        records = with_correlation(await as_records(service, events), "advice-number-1", "advice-number-2")
        await service._inbox.take(records, cluster_id=CLUSTER)
        assert await emitted(service, "endorsement.reviewer_recused.v1") == sorted(
            (str(candidate.person_id), f"advice-number-{number}", True)
            for number, candidate in enumerate(candidates, start=1)
        )
