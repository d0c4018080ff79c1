"""Stating hours: as JSON, as a page by the link of a mail, and every way to get it wrong."""

from typing import Any

from services.matching.web.addresses import Addresses
from shared.events.envelope import new_id
from tests.component.matching.world import me, world
from tests.conftest import DatabaseFactory
from tests.harness import client_of

HOURS = {
    "time_zone": "America/Denver",
    "windows": [{"dow": 1, "start": "18:00", "end": "20:30"}, {"dow": 5, "start": "22:00", "end": "24:00"}],
    "away": [],
    "weekly_cap": 3,
    "paused": False,
}


async def test_own_hours_replace_those_of_the_form_for_good(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        person = await w.add("Ana", "prospect", "volunteer")
        await w.refresh()
        async with client_of(w.service, me(person)) as client:
            first = (await client.get("/v1/availability")).json()
            assert (first["stated"], first["time_zone"], len(first["windows"])) == (True, "America/Chicago", 7)
            saved = await client.put("/v1/availability", json=HOURS)
            assert saved.json() == {**HOURS, "stated": True}
            w.signup.profiles[person] = w.signup.profiles[person].model_copy(update={"name": "Anna"})
            await w.database.execute("UPDATE people SET stale_version = stale_version + 1")
            assert await w.refresh() == 1
            assert (await client.get("/v1/availability")).json() == {**HOURS, "stated": True}


WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"time_zone": "Mars/Olympus"}, "time_zone"),
    ({"windows": [{"dow": 1, "start": "20:00", "end": "18:00"}]}, "windows"),
    ({"windows": [{"dow": 1, "start": "20:00", "end": "20:15"}]}, "windows"),
    ({"windows": [{"dow": 1, "start": f"{h}:00", "end": f"{h + 1}:00"} for h in (10, 14, 18)]}, "windows"),
    (
        {"windows": [{"dow": 1, "start": "10:00", "end": "12:00"}, {"dow": 1, "start": "11:00", "end": "13:00"}]},
        "windows",
    ),
    ({"windows": [{"dow": 7, "start": "10:00", "end": "12:00"}]}, "windows.0.dow"),
    ({"windows": [{"dow": 1, "start": "25:00", "end": "26:00"}]}, "windows.0.start"),
    ({"away": ["2020-01-01"]}, "away"),
    ({"weekly_cap": 11}, "weekly_cap"),
    ({"weekly_cap": -1}, "weekly_cap"),
    ({"notes": "x"}, "notes"),
)


async def test_wrong_hours_are_refused_with_the_field(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        person = await w.add("Ana", "volunteer")
        await w.refresh()
        async with client_of(w.service, me(person)) as client:
            answers = [await client.put("/v1/availability", json={**HOURS, **change}) for change, _ in WRONG]
            stated = (await client.get("/v1/availability")).json()
    found = [(a.status_code, field in [e["field"] for e in a.json()["errors"]], field) for a, (_, field) in zip(
        answers, WRONG, strict=True)]  # fmt: skip
    assert found == [(422, True, field) for _, field in WRONG]
    assert stated["time_zone"] == "America/Chicago"


async def test_mail_link_opens_one_persons_hours_and_saves_them(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        person, other = await w.add("Ana", "prospect", hours=()), await w.add("Bo", "volunteer")
        await w.refresh()
        link = Addresses.of(w.service.context.settings).availability(person)
        async with client_of(w.service, accept="text/html") as client:
            page = await client.get(link)
            wrong = await client.post(link, data={"time_zone": "America/Denver", "hours-mon-1-start": "18:00"})
            saved = await client.post(
                link,
                data={
                    "time_zone": "America/Denver",
                    "hours-mon-1-start": "18:00",
                    "hours-mon-1-end": "23:59",
                    "away": "",
                },
            )
            foreign = await client.get(link.replace(str(person), str(other)))
            signed_out = await client.get("/availability")
        assert [a.status_code for a in (page, wrong, saved, foreign, signed_out)] == [200, 422, 200, 404, 303]
        assert "govuk-error-summary" in wrong.text
        assert await w.database.fetch(
            "SELECT dow, starts::text, ends::text FROM availability_windows WHERE person_id = $1", person
        ) == [(0, "18:00:00", "00:00:00")]


async def test_unknown_person_has_no_hours_to_state(databases: DatabaseFactory) -> None:
    async with world(databases) as w, client_of(w.service, me(new_id())) as client:
        assert (await client.put("/v1/availability", json=HOURS)).status_code == 404


async def test_lower_cap_keeps_what_is_booked_and_stops_more(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        for number in range(3):
            await w.add(f"P{number}", "prospect", hours=((0, "18:00", "20:00"),))
        volunteer = await w.add("Bo", "volunteer", hours=((0, "18:00", "20:00"),))
        await w.refresh()
        assert len(await w.round()) == 3
        async with client_of(w.service, me(volunteer)) as client:
            assert (await client.put("/v1/availability", json={**HOURS, "weekly_cap": 0})).status_code == 200
        assert {used == cap for used, cap in await w.database.fetch("SELECT used, cap FROM volunteer_weeks")} == {True}
        await w.add("Late", "prospect", hours=((1, "18:00", "20:00"),))
        await w.refresh()
        assert await w.round() == []
