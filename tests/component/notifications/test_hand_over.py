"""What a hand-over leaves behind that fails, is never answered, outlives its lease or its sender."""

import asyncio
import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest

from services.notifications.actions import COMMAND_LINE, settle
from services.notifications.sending.answers import Answer
from services.notifications.sending.sender import MARGIN_SECONDS, Sender
from tests.component.notifications.conftest import Station
from tests.component.notifications.events import confirmed, invited, signed_up
from tests.harness import deliver, take_outbox
from tests.unit.notifications.samples import contact


async def test_temporary_refusal_is_tried_again_at_once_and_then_later(station: Station) -> None:
    person = station.know()
    station.relay_host.on_rcpt = lambda _address: "451 4.3.0 Try again later"
    await deliver(station.service, confirmed(person))
    await station.send()
    assert await station.database.fetch("SELECT state, reason, tries, hands FROM messages") == [
        ("queued", "smtp_451", 2, 0)
    ]
    station.relay_host.on_rcpt = lambda _address: "250 OK"
    await station.send()
    assert station.relay_host.taken == []
    await station.database.advance_clock(dt.timedelta(seconds=301))
    await station.send()
    assert len(station.relay_host.to(person)) == 1


async def test_refusal_for_good_is_told_and_an_address_that_does_not_exist_is_suppressed(station: Station) -> None:
    missing, refused = station.know(), station.know()
    addresses = {contact(missing).email: "550 5.1.1 No such user", contact(refused).email: "554 5.7.1 Policy"}
    station.relay_host.on_rcpt = lambda address: addresses.get(address, "250 OK")
    await deliver(station.service, confirmed(missing), confirmed(refused))
    await station.send()
    assert [tuple(row[2:]) for row in await station.states()] == [("rejected", "bounced"), ("rejected", "smtp_554")]
    emitted = await take_outbox(station.service)
    assert {type(event).__name__ for event in emitted} == {"MessageFailed", "ContactSuppressed"}
    addresses.clear()
    await deliver(station.service, signed_up(missing, known=True), signed_up(refused, known=True))
    await station.send()
    assert [tuple(row[2:]) for row in (await station.states())[2:]] == [("dropped", "suppressed"), ("accepted", None)]


@pytest.mark.parametrize("how", ["hangs", "closes"])
async def test_answer_that_never_comes_is_unknown_and_resent_by_class(station: Station, how: str) -> None:
    link, transactional, bulk = station.know(), station.know(), station.know()
    setattr(station.relay_host, {"hangs": "hang_after_body", "closes": "close_after_body"}[how], True)
    await deliver(station.service, signed_up(link, known=True), confirmed(transactional), invited(bulk))
    await station.send()
    assert {row[2] for row in await station.states()} == {"unknown"}
    station.relay_host.hang_after_body = station.relay_host.close_after_body = False

    async def copies() -> list[int]:
        await station.upkeep.recover()
        await station.send()
        return [len(station.relay_host.to(person)) for person in (link, transactional, bulk)]

    assert await copies() == [2, 1, 1]
    await station.database.advance_clock(dt.timedelta(minutes=14))
    assert await copies() == [2, 1, 1]
    await station.database.advance_clock(dt.timedelta(minutes=2))
    assert await copies() == [2, 2, 1]
    await station.database.advance_clock(dt.timedelta(days=2))
    assert await copies() == [2, 2, 1]
    for person in (link, transactional):
        first, second = station.relay_host.to(person)
        assert first["Message-ID"] == second["Message-ID"]


async def test_unknown_twice_waits_for_an_operator(station: Station) -> None:
    person = station.know()
    station.relay_host.close_after_body = True
    await deliver(station.service, confirmed(person))
    for _ in range(4):
        await station.send()
        await station.database.advance_clock(dt.timedelta(minutes=20))
        await station.upkeep.recover()
    assert await station.database.fetch("SELECT state, hands, due_at FROM messages") == [("unknown", 2, None)]
    assert len(station.relay_host.to(person)) == 2


async def test_relay_host_that_closes_before_the_body_costs_a_try_and_nothing_else(station: Station) -> None:
    person = station.know()
    station.relay_host.on_rcpt = lambda _address: "421 4.3.2 Shutting down"
    await deliver(station.service, confirmed(person))
    assert await station.sender("transactional").send_batch() == 1
    assert await station.database.fetch("SELECT state, hands FROM messages") == [("queued", 0)]
    station.relay_host.on_rcpt = lambda _address: "250 OK"
    await station.send()
    assert len(station.relay_host.to(person)) == 1


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize(
    ("event_of", "lane", "mails"), [(signed_up, "link", 1), (confirmed, "transactional", 1), (invited, "bulk", 0)]
)
async def test_crash_after_handing_is_unknown_and_goes_by_class(
    station: Station, event_of: Any, lane: str, mails: int
) -> None:
    person = station.know()
    await deliver(station.service, event_of(person))
    sender = station.sender(lane)
    hand_over = sender._providers.hand_over

    async def die(_ready: Any) -> Any:
        raise Killed

    sender._providers.hand_over = die  # type: ignore[method-assign, assignment]
    with pytest.raises(Killed):
        await sender.send_batch()
    sender._providers.hand_over = hand_over  # type: ignore[method-assign]
    assert [row[2] for row in await station.states()] == ["handing"]
    await station.upkeep.recover()
    await station.send()
    assert [row[2] for row in await station.states()] == ["handing"]
    await station.database.execute("UPDATE messages SET lease_until = clock_timestamp()")
    await station.upkeep.recover()
    await station.database.advance_clock(dt.timedelta(minutes=16))
    await station.upkeep.recover()
    await station.send()
    assert len(station.relay_host.to(person)) == mails
    assert [row[2] for row in await station.states()] == ["accepted" if mails else "unknown"]


async def test_crash_before_handing_gives_the_claim_back(station: Station) -> None:
    person = station.know()
    await deliver(station.service, confirmed(person))
    sender = station.sender("transactional")
    fetch = sender._sources.fetch

    async def killed(_claimed: Any) -> Any:
        raise Killed

    sender._sources.fetch = killed  # type: ignore[assignment, method-assign]
    with pytest.raises(Killed):
        await sender.send_batch()
    sender._sources.fetch = fetch  # type: ignore[method-assign]
    assert [row[2] for row in await station.states()] == ["claimed"]
    await station.database.execute("UPDATE messages SET lease_until = clock_timestamp()")
    await station.upkeep.recover()
    await station.send()
    assert len(station.relay_host.to(person)) == 1


async def test_sender_whose_lease_ran_out_hands_nothing_over(station: Station) -> None:
    person = station.know()
    await deliver(station.service, confirmed(person))

    async def expire() -> None:
        station.outside.before_answer = None
        await station.database.execute("UPDATE messages SET lease_until = clock_timestamp()")
        await station.upkeep.recover()

    station.outside.before_answer = expire
    await station.sender("transactional").send_batch()
    assert station.relay_host.taken == []
    assert [row[2] for row in await station.states()] == ["queued"]
    await station.send()
    assert len(station.relay_host.to(person)) == 1


async def test_two_senders_never_send_the_same_message(station: Station) -> None:
    people = [station.know() for _ in range(60)]
    await deliver(station.service, *(confirmed(person) for person in people))
    one, other = station.sender("transactional"), station.sender("bulk")
    other.lane, other._name = one.lane, "other"
    one._batch = other._batch = 7

    async def drain(sender: Any) -> None:
        while await sender.send_batch():
            pass

    await asyncio.gather(drain(one), drain(other))
    assert [len(station.relay_host.to(person)) for person in people] == [1] * 60


async def test_stop_in_the_middle_of_a_batch_leaves_nothing_unknown(station: Station) -> None:
    """A deploy ends senders by cancelling them: what is under way is written down, the rest is not begun."""
    people = [station.know() for _ in range(40)]
    await deliver(station.service, *(invited(person) for person in people))
    sender, under_way, gate = station.sender("bulk"), asyncio.Event(), asyncio.Event()
    hand_over = sender._providers.hand_over

    async def slow(ready: Any) -> Any:
        answer = await hand_over(ready)
        under_way.set()
        await gate.wait()
        return answer

    sender._providers.hand_over = slow  # type: ignore[method-assign]
    running_lane = asyncio.create_task(sender.run())
    await under_way.wait()
    running_lane.cancel()
    await asyncio.sleep(0)
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await running_lane
    states = [row[2] for row in await station.states()]
    taken = len(station.relay_host.taken)
    assert (states.count("accepted"), states.count("queued")) == (taken, 40 - taken)
    assert 0 < taken < 40
    sender._providers.hand_over, sender._stopping = hand_over, False  # type: ignore[method-assign]
    await station.send("bulk")
    assert [len(station.relay_host.to(person)) for person in people] == [1] * 40


async def test_what_the_host_said_outlives_an_outage_of_the_database(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = station.know()
    await deliver(station.service, invited(person))
    sender, failures = station.sender("bulk"), 0
    settle = sender._settle

    async def away_at_first(answered: Any) -> None:
        nonlocal failures
        if failures < 2:
            failures += 1
            raise ConnectionRefusedError
        await settle(answered)

    monkeypatch.setattr(sender, "_settle", away_at_first)
    await sender.send_batch()
    assert (failures, await station.states()) == (2, [("intro_invitation", "email", "accepted", None)])


async def test_outage_that_ends_one_half_of_a_lane_leaves_the_answers_of_the_other(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = station.know()
    await deliver(station.service, invited(person))
    sender, settled, failed, failures = station.sender("bulk"), asyncio.Event(), asyncio.Event(), 0
    settle, fetch = sender._settle, sender._sources.fetch

    async def away_at_first(answered: Any) -> None:
        nonlocal failures
        await failed.wait()
        if failures < 2:
            failures += 1
            raise ConnectionRefusedError
        await settle(answered)
        settled.set()

    async def paused() -> bool:
        if sender_asked.is_set():
            failed.set()
            raise ConnectionRefusedError
        return False

    sender_asked = asyncio.Event()

    async def asked(claimed: Any) -> Any:
        sender_asked.set()
        return await fetch(claimed)

    monkeypatch.setattr(sender, "_settle", away_at_first)
    monkeypatch.setattr(sender, "bulk_paused", paused)
    monkeypatch.setattr(sender._sources, "fetch", asked)
    with pytest.raises(ConnectionRefusedError):
        await sender.run()
    assert settled.is_set()
    assert (failures, await station.states()) == (2, [("intro_invitation", "email", "accepted", None)])


async def test_two_halves_of_a_lane_leave_no_more_unknown_than_a_batch(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [station.know() for _ in range(12)]
    await deliver(station.service, *(invited(person) for person in people))
    sender, gate = station.sender("bulk"), asyncio.Event()
    hand_over = sender._providers.hand_over

    async def hangs(ready: Any) -> Any:
        await gate.wait()
        return await hand_over(ready)

    monkeypatch.setattr(sender, "_batch", 8)
    monkeypatch.setattr(sender._providers, "hand_over", hangs)
    running_lane = asyncio.create_task(sender.run())
    for state, count in (("handing", 8), ("accepted", 12)):
        async with asyncio.timeout(60):
            while [row[2] for row in await station.states()].count(state) < count:
                await asyncio.sleep(0.02)
        states = [row[2] for row in await station.states()]
        assert (states.count("handing") + states.count("claimed"), states.count(state)) in ((8, 8), (0, 12))
        gate.set()
    running_lane.cancel()
    await asyncio.gather(running_lane, return_exceptions=True)
    assert [len(station.relay_host.to(person)) for person in people] == [1] * 12


async def test_late_word_on_an_early_hand_over_never_settles_a_later_one(station: Station) -> None:
    """The first sender hung past its lease; the message was sent again by an operator and is under way anew."""
    person = station.know()
    await deliver(station.service, invited(person))
    sender, under_way, gate = station.sender("bulk"), asyncio.Event(), asyncio.Event()
    hand_over = sender._providers.hand_over

    async def hangs(_ready: Any) -> Any:
        under_way.set()
        await gate.wait()
        return Answer("temporary", "too_slow")

    sender._providers.hand_over = hangs  # type: ignore[method-assign, assignment]
    first = asyncio.create_task(sender.send_batch())
    await under_way.wait()
    await station.database.execute("UPDATE messages SET lease_until = clock_timestamp()")
    await station.upkeep.recover()
    ((message, state),) = await station.database.fetch("SELECT id, state FROM messages")
    assert state == "unknown"
    async with station.service.context.workshop.begin() as work:
        await settle(work, COMMAND_LINE, message, "retry", "The host never saw it")
    other = Sender(**_like(sender), name="other")
    second_under_way, second_gate = asyncio.Event(), asyncio.Event()

    async def slow(ready: Any) -> Any:
        second_under_way.set()
        await second_gate.wait()
        return await hand_over(ready)

    other._providers = SimpleNamespace(room=lambda batch: batch, hand_over=slow)  # type: ignore[assignment]
    second = asyncio.create_task(other.send_batch())
    await second_under_way.wait()
    gate.set()
    await first
    assert await station.database.fetch("SELECT state, hands FROM messages") == [("handing", 1)]
    second_gate.set()
    await second
    assert await station.states() == [("intro_invitation", "email", "accepted", None)]
    assert len(station.relay_host.to(person)) == 1


def _like(sender: Sender) -> dict[str, Any]:
    """What another process would make its sender of."""
    return {
        "lane": sender.lane, "workshop": sender._workshop, "sources": sender._sources, "renderer": sender._renderer,
        "providers": sender._providers, "contact_key": sender._contact_key, "batch": sender._batch, "at_once": 4,
        "lease_seconds": sender._lease_seconds, "timeout_seconds": sender._timeout_seconds,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("event_of", "copies"), [(signed_up, 2), (confirmed, 2), (invited, 1)], ids=["link", "transactional", "bulk"]
)
async def test_sender_that_sleeps_past_its_lease_in_mid_batch_keeps_the_rule_of_the_class(
    station: Station, event_of: Any, copies: int
) -> None:
    """A hand-over that outlives its lease is taken for lost by another process; nothing left of the batch is begun
    late, so no class gets more copies than its rule says."""
    people = [station.know() for _ in range(12)]
    await deliver(station.service, *(event_of(person) for person in people))
    lane = {signed_up: "link", confirmed: "transactional", invited: "bulk"}[event_of]
    sender, taken, gate = station.sender(lane), asyncio.Event(), asyncio.Event()
    hand_over = sender._providers.hand_over
    sender._free = asyncio.Semaphore(3)
    sender._lease_seconds = sender._timeout_seconds + MARGIN_SECONDS + 0.3

    async def hangs_after_it_was_taken(ready: Any) -> Any:
        answer = await hand_over(ready)
        if len(station.relay_host.taken) >= 3:
            taken.set()
        await gate.wait()
        return answer

    sender._providers.hand_over = hangs_after_it_was_taken  # type: ignore[method-assign]
    asleep = asyncio.create_task(sender.send_batch())
    await taken.wait()
    await station.database.execute("UPDATE messages SET lease_until = clock_timestamp()")
    other = Sender(**_like(sender), name="other")
    other._lease_seconds = 90
    other._providers = SimpleNamespace(room=lambda batch: batch, hand_over=hand_over)  # type: ignore[assignment]
    for _ in range(3):
        await station.upkeep.recover()
        while await other.send_batch():
            pass
        await station.database.advance_clock(dt.timedelta(minutes=16))
    await asyncio.sleep(0.4)
    gate.set()
    await asleep
    for _ in range(2):
        await station.upkeep.recover()
        while await other.send_batch():
            pass
        await station.database.advance_clock(dt.timedelta(minutes=16))
    counts = [len(station.relay_host.to(person)) for person in people]
    assert sorted(set(counts)) == ([1] if copies == 1 else [1, 2])
    assert counts.count(2) == (0 if copies == 1 else 3)
    assert {row[2] for row in await station.states()} == {"accepted"}
