"""The public feed: gapless under rivals, the same content as on Kafka, cut at its retention; snapshot, CSV, Atom."""

import asyncio
import csv
import datetime as dt
import io
import json
from uuid import UUID, uuid4
from xml.etree import ElementTree

from services.endorsement.web.feed import ATOM, safe_cell
from shared.events.endorsement import Endorsed, EndorsementState
from shared.service import Service
from shared.web.sessions import Principal
from tests.component.endorsement.scenes import SECOND, STAFF, announced, call, decided, opened, refused
from tests.conftest import DatabaseFactory
from tests.harness import client_of, outbox_events


async def kafka_envelopes(service: Service, topic: str) -> list[tuple[dict[str, str], dict[str, object]]]:
    rows = await service.context.pool.fetch("SELECT headers, payload FROM outbox WHERE topic = $1 ORDER BY id", topic)
    return [(dict(json.loads(row["headers"])), json.loads(row["payload"])) for row in rows]


async def test_feed_has_the_ids_and_data_of_the_topic(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database) as service:
        await announced(service, database)
        feed = await call(service, None, "GET", "/v1/endorsements/feed")
        [(headers, data)] = await kafka_envelopes(service, "endorsement.endorsements")
        [entry] = feed["events"]
        event = entry["event"]
        assert event["data"] == data
        for name in ("id", "source", "type", "subject", "time", "dataschema", "sequence", "specversion"):
            assert event[name] == headers[f"ce_{name}"]
        assert (feed["next_cursor"], feed["more"]) == (1, False)
        assert await call(service, None, "GET", "/v1/endorsements/feed?cursor=1") == {
            "events": [],
            "next_cursor": 1,
            "more": False,
        }


async def test_sixteen_rival_announcements_leave_no_gap(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database) as service:
        people = [Principal(uuid4()) for _ in range(16)]
        found = [await decided(service, person, ballot_name=f"Person {n}") for n, person in enumerate(people)]
        await database.advance_clock(dt.timedelta(hours=73))
        seen: list[int] = []

        async def follow() -> None:
            cursor = 0
            while cursor < 16:
                page = await call(service, None, "GET", f"/v1/endorsements/feed?cursor={cursor}&limit=3")
                seen.extend(entry["cursor"] for entry in page["events"])
                cursor = page["next_cursor"]

        async with asyncio.timeout(30), client_of(service, SECOND) as client:
            following = asyncio.create_task(follow())
            answers = await asyncio.gather(*(client.post(f"/v1/decisions/{one}/announcement") for one in found))
            await following
        assert [answer.status_code for answer in answers] == [201] * 16
        assert seen == list(range(1, 17))
        events = [event for event in await outbox_events(service) if isinstance(event, Endorsed)]
        assert len({event.endorsement_id for event in events}) == 16


async def test_cursor_before_the_retention_points_to_the_snapshot(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database, feed_retention_days=1) as service:
        made = await announced(service, database)
        await database.advance_clock(dt.timedelta(days=2))
        await service.web_app.state.pruner.prune()
        async with client_of(service) as client:
            gone = await client.get("/v1/endorsements/feed?cursor=0")
        assert (gone.status_code, gone.json()["code"]) == (410, "cursor_expired")
        assert gone.headers["link"] == '<http://endorsement.test/v1/endorsements>; rel="alternate"'
        snapshot = await call(service, None, "GET", "/v1/endorsements")
        assert snapshot["cursor"] == 1
        assert [row["endorsement_id"] for row in snapshot["endorsements"]] == [made["endorsement_id"]]
        after = await call(service, None, "GET", f"/v1/endorsements/feed?cursor={snapshot['cursor']}")
        assert after == {"events": [], "next_cursor": 1, "more": False}


async def test_cursor_past_all_bounds_is_refused(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        feed = "/v1/endorsements/feed?cursor="
        assert (await call(service, None, "GET", f"{feed}{2**63 - 1}"))["next_cursor"] == 0
        assert await refused(service, None, "GET", f"{feed}{2**63}") == (422, "invalid")


async def test_snapshot_equals_the_compacted_topic(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database) as service:
        made = await announced(service, database)
        path = f"/v1/endorsements/{made['endorsement_id']}/rescission"
        await call(service, STAFF, "POST", path, {"reason": "conduct", "note": "Convicted."}, status=201)
        await call(service, SECOND, "POST", f"{path}/confirmation")
        states = [data for _headers, data in await kafka_envelopes(service, EndorsementState.topic.name)]
        snapshot = await call(service, None, "GET", "/v1/endorsements")
        assert snapshot["endorsements"] == [states[-1]]
        assert "Convicted" not in json.dumps(snapshot)


async def test_csv_holds_no_formula(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database) as service:
        await announced(service, database, ballot_name='=HYPERLINK("x")')
        async with client_of(service) as client:
            answer = await client.get("/v1/endorsements.csv")
        [row] = list(csv.DictReader(io.StringIO(answer.text)))
        assert (row["ballot_name"], row["status"], row["state"]) == ('\'=HYPERLINK("x")', "endorsed", "WI")
    assert [safe_cell(text) for text in ("+1", "-1", "@x", "\tx", "Ana", None)] == [
        "'+1",
        "'-1",
        "'@x",
        "'\tx",
        "Ana",
        "",
    ]


async def test_atom_lists_the_latest_events(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database) as service:
        await announced(service, database, ballot_name="Ana <Ruiz>")
        async with client_of(service) as client:
            answer = await client.get("/endorsements/feed.atom")
        root = ElementTree.fromstring(answer.content)
        titles = [node.text for node in root.findall(f"{{{ATOM}}}entry/{{{ATOM}}}title")]
        assert titles == ["Endorsed: Ana <Ruiz>, City or town council, 3, WI"]
        feed = await call(service, None, "GET", "/v1/endorsements/feed")
        ids = [node.text for node in root.findall(f"{{{ATOM}}}entry/{{{ATOM}}}id")]
        assert ids == [f"urn:uuid:{UUID(feed['events'][0]['event']['id'])}"]
