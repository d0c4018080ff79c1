"""Group calls: seats, the waiting list, links, and answers that race."""

import asyncio
import datetime as dt
from uuid import UUID

from services.matching.actions import intro_calls as actions
from services.matching.web.intro_calls_messages import answer_path
from shared.events.envelope import new_id
from shared.events.matching import (
    IntroCallAnswered,
    IntroCallCancelled,
    IntroCallDropped,
    IntroCallInvited,
    IntroCallPromoted,
    IntroCallReminderDue,
)
from shared.web.sessions import Principal
from tests.component.matching.intro_stage import Stage, only
from tests.harness import (
    client_of,
    fire_timers,
    take_outbox,
)


async def test_fifty_people_racing_for_ten_seats(stage: Stage) -> None:
    ids = await stage.people(50)
    call = await stage.schedule(capacity=10)
    await take_outbox(stage.service)
    answers = await asyncio.gather(*(stage.answer(call, person_id) for person_id in ids))
    assert {a.status_code for a in answers} == {200}
    outcome = dict(zip(ids, (a.json()["answer"] for a in answers), strict=True))
    assert sorted(outcome.values()) == ["going"] * 10 + ["waiting"] * 40
    assert await stage.going(call) == (10, 10)
    waiting = await stage.database.fetch(
        "SELECT person_id FROM intro_seats WHERE state = 'waiting' ORDER BY waiting_number"
    )
    events = await take_outbox(stage.service)
    in_order = [e.person_id for e in events if isinstance(e, IntroCallAnswered) and e.answer == "waiting"]
    assert [row[0] for row in waiting] == in_order
    # Fifteen change their minds at once: four who had seats, eleven who waited.
    seated = [p for p in ids if outcome[p] == "going"][:4]
    leaving = in_order[:11]
    await asyncio.gather(*(stage.answer(call, p, "declined") for p in (*seated, *leaving)))
    assert await stage.going(call) == (10, 10)
    events = await take_outbox(stage.service)
    declined = only(events, IntroCallAnswered)
    assert {e.answer for e in declined} == {"declined"}
    assert len(declined) == 15
    # Each of the four seats came to one person; whoever was promoted and left again made room once more.
    promoted = [e.person_id for e in only(events, IntroCallPromoted)]
    assert len(promoted) == len(set(promoted)) >= 4
    stayed = [p for p in promoted if p not in leaving]
    assert stayed == in_order[11 : 11 + 4]


async def test_free_seat_goes_to_the_first_who_waits(stage: Stage) -> None:
    first, second, third, fourth = await stage.people(4)
    call = await stage.schedule(capacity=1)
    answers = [(await stage.answer(call, p)).json() for p in (first, second, third, fourth)]
    assert [(a["answer"], a["place"]) for a in answers] == [
        ("going", None), ("waiting", 1), ("waiting", 2), ("waiting", 3)]  # fmt: skip
    assert answers[0]["join_url"] == "https://calls.example/abc"
    assert answers[1]["join_url"] is None
    await take_outbox(stage.service)
    await stage.answer(call, second, "declined")
    await stage.answer(call, first, "declined")
    [_answered, declined, promoted] = await take_outbox(stage.service)
    assert isinstance(declined, IntroCallAnswered)
    assert promoted == IntroCallPromoted(
        intro_call_id=call["intro_call_id"], person_id=third, starts_at=call["starts_at"]
    )
    # The first comes back to the end of the line.
    back = (await stage.answer(call, first)).json()
    assert (back["answer"], back["place"]) == ("waiting", 2)
    assert await stage.going(call) == (1, 1)


async def test_same_answer_again_says_nothing_new(stage: Stage) -> None:
    [person] = await stage.people(1)
    call = await stage.schedule()
    await take_outbox(stage.service)
    for _ in range(3):
        assert (await stage.answer(call, person)).status_code == 200
    assert len(await take_outbox(stage.service)) == 1
    assert await stage.going(call) == (1, 1)


async def test_full_call_without_waiting_list_refuses(stage: Stage) -> None:
    first, second = await stage.people(2)
    call = await stage.schedule(capacity=1)
    await stage.database.execute("UPDATE intro_calls SET waiting_list = false")
    await stage.answer(call, first)
    refused = await stage.answer(call, second)
    assert (refused.status_code, refused.json()["code"]) == (409, "full")
    assert await stage.going(call) == (1, 1)


async def test_prospect_may_choose_a_call_without_invitation(stage: Stage) -> None:
    [person] = await stage.people(1, language="es")
    call = await stage.schedule()
    async with client_of(stage.service, Principal(person)) as client:
        seen = (await client.get("/v1/intro-calls/mine")).json()
        assert (seen["mine"], [c["intro_call_id"] for c in seen["open"]]) == ([], [call["intro_call_id"]])
        assert "join_url" not in seen["open"][0]
        assert (await stage.answer(call, person)).json()["answer"] == "going"
        seen = (await client.get("/v1/intro-calls/mine")).json()
    assert ([c["answer"] for c in seen["mine"]], seen["open"]) == (["going"], [])


async def test_stranger_may_not_answer(stage: Stage) -> None:
    call = await stage.schedule()
    refused = await stage.answer(call, new_id())
    assert (refused.status_code, refused.json()["code"]) == (409, "not_a_prospect")
    async with client_of(stage.service) as client:
        unsigned = await client.post(f"/v1/intro-calls/{call['intro_call_id']}/answer", json={"answer": "going"})
        assert unsigned.status_code == 401
    [person] = await stage.people(1)
    assert (await stage.answer(call, person, "maybe")).status_code == 422
    assert (await stage.answer({"intro_call_id": str(new_id())}, person)).status_code == 404


async def test_link_shows_on_get_and_acts_on_post(stage: Stage) -> None:
    [person] = await stage.people(1)
    call = await stage.schedule()
    path = answer_path(stage.settings, UUID(call["intro_call_id"]), person)
    await take_outbox(stage.service)
    async with client_of(stage.service, Accept="text/html") as client:
        page = await client.get(path)
        assert page.status_code == 200
        assert "Eastern" in page.text or "EST" in page.text or "EDT" in page.text
        assert call["join_url"] not in page.text
        assert await take_outbox(stage.service) == []
        done = await client.post(path, data={"answer": "going"})
        assert (done.status_code, done.headers["location"]) == (303, path)
        assert call["join_url"] in (await client.get(path)).text
        assert (await client.post(path, data={"answer": "perhaps"})).status_code == 422
    assert [e.answer for e in only(await take_outbox(stage.service), IntroCallAnswered)] == ["going"]


async def test_altered_and_foreign_links_open_nothing(stage: Stage) -> None:
    one, other = await stage.people(2)
    call, second = await stage.schedule(), await stage.schedule(days=8)
    path = answer_path(stage.settings, UUID(call["intro_call_id"]), one)
    token = path.rpartition(".")[2]
    base = f"/intro-calls/{call['intro_call_id']}"
    altered = token[:-1] + ("A" if token[-1] != "A" else "B")
    foreign = [
        f"{base}/answer/{one}.{altered}",
        f"{base}/answer/{other}.{token}",
        f"/intro-calls/{second['intro_call_id']}/answer/{one}.{token}",
        f"{base}/answer/{token}",
        f"{base}/answer/{one}.",
        f"/intro-calls/nothing/answer/{one}.{token}",
        # A true token for a call that the person was never asked to.
        answer_path(stage.settings, UUID(second["intro_call_id"]), one),
        f"{base}/calendar.ics?person={other}&token={token}",
    ]
    await take_outbox(stage.service)
    async with client_of(stage.service) as client:
        assert [(await client.get(p)).status_code for p in foreign] == [404] * len(foreign)
        posted = [(await client.post(p, data={"answer": "going"})).status_code for p in foreign[:-1]]
    assert posted == [404] * (len(foreign) - 1)
    assert await take_outbox(stage.service) == []


async def test_answers_close_when_the_call_begins(stage: Stage) -> None:
    [person] = await stage.people(1)
    call = await stage.schedule(days=2)
    await stage.answer(call, person)
    await stage.database.advance_clock(dt.timedelta(days=4))
    refused = await stage.answer(call, person, "declined")
    assert (refused.status_code, refused.json()["code"]) == (410, "over")
    path = answer_path(stage.settings, UUID(call["intro_call_id"]), person)
    async with client_of(stage.service, Accept="text/html") as client:
        assert "This call is over" in (await client.get(path)).text
        assert (await client.post(path, data={"answer": "declined"})).status_code == 410
    assert await stage.going(call) == (1, 1)


async def test_cancelling_tells_everybody_and_offers_the_next(stage: Stage) -> None:
    ids = await stage.people(4)
    call = await stage.schedule(days=3, capacity=1)
    following = await stage.schedule(days=6)
    await stage.answer(call, ids[0])
    await stage.answer(call, ids[1])
    await stage.answer(call, ids[2], "declined")
    await take_outbox(stage.service)
    path = f"/v1/intro-calls/{call['intro_call_id']}/cancel"
    first, second = await stage.staff(path), await stage.staff(path)
    assert (first.json()["told"], second.json()["told"], first.json()["status"]) == (3, 0, "cancelled")
    events = await take_outbox(stage.service)
    told = sorted([ids[0], ids[1], ids[3]])
    assert len(only(events, IntroCallCancelled)) == 1
    assert [e.person_id for e in only(events, IntroCallDropped)] == told
    invited = only(events, IntroCallInvited)
    assert [(e.person_id, str(e.intro_call_id)) for e in invited] == [(p, following["intro_call_id"]) for p in told]
    refused = await stage.answer(call, ids[3])
    assert (refused.status_code, refused.json()["code"]) == (410, "cancelled")
    assert (await stage.said("intro_cancelled", ids[0], call)).status == "ok"
    assert (await stage.said("intro_invitation", ids[0], call)).reason == "cancelled"
    await stage.database.advance_clock(dt.timedelta(days=5))
    await fire_timers(stage.service)
    assert only(await take_outbox(stage.service), IntroCallReminderDue) == []


async def test_merged_person_answers_the_older_invitation(stage: Stage) -> None:
    old, new = await stage.people(2)
    call = await stage.schedule()
    await stage.database.execute(
        "INSERT INTO person_aliases (alias_id, person_id, merged_at) VALUES ($1, $2, now())", old, new
    )
    path = answer_path(stage.settings, UUID(call["intro_call_id"]), old)
    async with client_of(stage.service) as client:
        assert (await client.post(path, data={"answer": "going"})).status_code == 303
    second = await stage.schedule(days=20)
    assert (second["invited_now"], await stage.going(call)) == (0, (1, 1))


async def test_erased_people_leave_their_seats_to_others(stage: Stage) -> None:
    gone, waiting, leaves = await stage.people(3)
    call = await stage.schedule(capacity=1)
    for person in (gone, leaves, waiting):
        await stage.answer(call, person)
    await take_outbox(stage.service)
    async with stage.service.context.workshop.begin() as work:
        await actions.forget(work, [gone, leaves])
    [promoted] = only(await take_outbox(stage.service), IntroCallPromoted)
    assert (promoted.person_id, await stage.going(call)) == (waiting, (1, 1))
    assert await stage.database.fetch("SELECT person_id FROM intro_people") == [(waiting,)]
    assert await stage.database.fetch("SELECT person_id FROM intro_seats") == [(waiting,)]
