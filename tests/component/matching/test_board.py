"""The staff's board: who sees it, what it says, what it changes."""

from collections.abc import Mapping
from uuid import UUID

import pytest

from shared.web.sessions import Principal
from tests.component.matching.world import STAFF, World, me, world
from tests.conftest import DatabaseFactory
from tests.harness import client_of


async def test_board_shows_counts_reasons_and_explanations(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        prospect, volunteer, call_id = await w.pair()
        waiting = await w.add("Solo", "prospect", languages=("ko",))
        await w.refresh()
        assert await w.round() == []
        async with client_of(w.service, STAFF) as client:
            board = (await client.get("/v1/matching/board")).json()
            page = await client.get("/matching/board", headers={"accept": "text/html"})
            spanish = await client.get("/matching/board?lang=es", headers={"accept": "text/html"})
        assert board["counts"] == {"held": 1, "waiting": 1}
        assert (board["coverage"], board["calls_a_week"]) == (0.5, 2)
        (active,) = board["active"]
        assert (active["call_id"], active["prospect_id"], active["volunteer_id"], active["rank"]) == (
            str(call_id), str(prospect), str(volunteer), 1,
        )  # fmt: skip
        assert sum(active["parts"].values()) == active["utility"]
        (left,) = board["waiting"]
        assert (left["person_id"], left["unmatched"]["code"]) == (str(waiting), "no_shared_language")
        assert (page.status_code, spanish.status_code) == (200, 200)
        assert "No volunteer with room shares a language" in page.text


@pytest.mark.parametrize("roles", [frozenset(), frozenset({"reviewer"})])
async def test_board_is_for_staff_alone(databases: DatabaseFactory, roles: frozenset[str]) -> None:
    async with world(databases) as w:
        person, _volunteer, call_id = await w.pair()
        async with client_of(w.service, Principal(person, roles)) as client:
            answers = [
                await client.get("/v1/matching/board"),
                await client.get("/matching/board"),
                await client.post("/v1/matching/blocks", json={"person_id": str(person), "other_id": str(person)}),
                await client.delete(f"/v1/matching/blocks/{person}/{person}"),
                await client.post(f"/v1/matching/calls/{call_id}/cancel"),
                await client.post(f"/matching/calls/{call_id}/cancel"),
                await client.post(f"/v1/matching/concerns/{call_id}/close"),
            ]
        assert [answer.status_code for answer in answers] == [403] * 7
        assert (await w.call(call_id))["state"] == "held"


async def test_people_kept_apart_are_not_matched_until_they_may(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        prospect, volunteer = await w.add("Ana", "prospect"), await w.add("Bo", "volunteer")
        await w.refresh()
        async with client_of(w.service, STAFF) as client:
            body = {"person_id": str(volunteer), "other_id": str(prospect), "kind": "block", "note": "asked"}
            assert (await client.post("/v1/matching/blocks", json=body)).status_code == 201
            assert await w.round() == []
            async with client_of(w.service, me(prospect)) as own:
                told = (await own.get("/v1/calls")).json()["queue"]
            assert (told["waits_for"], told["state"]) == ("waiting_for_volunteers", "waiting")
            assert (await client.delete(f"/v1/matching/blocks/{volunteer}/{prospect}")).status_code == 204
            assert (await client.delete(f"/v1/matching/blocks/{volunteer}/{prospect}")).status_code == 404
            same = await client.post("/v1/matching/blocks", json={**body, "other_id": str(volunteer)})
            assert (same.status_code, same.json()["code"]) == (422, "people_unknown")
        assert len(await w.round()) == 1
        audit = await w.database.fetch("SELECT action, details FROM audit_entries ORDER BY id")
        assert [action for action, _ in audit] == ["keep_apart", "let_meet"]
        assert "asked" not in str(audit)
        chain = await w.database.fetch("SELECT hash, previous_hash FROM audit_entries ORDER BY id")
        assert chain[1][1] == chain[0][0]


async def call_that_was_had(w: World, said: Mapping[str, object]) -> tuple[UUID, UUID, UUID]:
    """A call that its volunteer has said this of: prospect, volunteer, call."""
    prospect, volunteer, call_id = await w.pair()
    async with client_of(w.service, me(prospect)) as client:
        await client.post(f"/v1/calls/{call_id}/accept")
    await w.pass_until((await w.call(call_id))["ends_at"])
    async with client_of(w.service, me(volunteer)) as client:
        assert (await client.post(f"/v1/calls/{call_id}/attest", json=said)).status_code == 200
    return prospect, volunteer, call_id


async def test_staff_read_what_volunteers_said_of_their_calls(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        said = {"outcome": "needs_time", "follow_ups": ["training"], "notes": "Wants to talk\n<b>in spring</b>"}
        prospect, volunteer, call_id = await call_that_was_had(w, said)
        async with client_of(w.service, STAFF) as client:
            (call,) = (await client.get("/v1/matching/board")).json()["attested"]
            page = await client.get("/matching/board", headers={"accept": "text/html"})
        assert {name: call[name] for name in ("call_id", "missed_by", "prospect_id", "volunteer_id", *said)} == {
            **said, "call_id": str(call_id), "missed_by": None, "prospect_id": str(prospect),
            "volunteer_id": str(volunteer),
        }  # fmt: skip
        for shown in ("Interested, needs time", "Wants to talk<br>&lt;b&gt;in spring&lt;/b&gt;"):
            assert shown in page.text
        async with client_of(w.service, me(prospect)) as client:
            assert "in spring" not in (await client.get("/v1/calls")).text


async def test_safety_concern_reaches_the_staff_and_is_closed_by_them(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        _prospect, _volunteer, call_id = await call_that_was_had(
            w, {"outcome": "will_run", "concern": "Threats at home"}
        )
        async with client_of(w.service, STAFF) as client:
            (concern,) = (await client.get("/v1/matching/board")).json()["concerns"]
            page = await client.get("/matching/board", headers={"accept": "text/html"})
            assert concern["concern"] == "Threats at home"
            assert "Threats at home" in page.text
            assert (await client.post(f"/v1/matching/concerns/{call_id}/close")).status_code == 200
            assert (await client.get("/v1/matching/board")).json()["concerns"] == []
            assert (await client.post(f"/v1/matching/concerns/{call_id}/close")).status_code == 404
