"""Subscribers that hang, redirect, have gone, or ask for patience. Each row registers a subscriber of its own and has
test events sent to it, so that it does not depend on an announcement of the crowd.
"""

import datetime as dt
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from tests.faults.mail import lines, met
from tests.faults.rows import Scene, row
from tests.faults.stand import Broken

EVENTS = 3
RETRY_AFTER_SECONDS = 7200
DELIVERIES = """
    SELECT status, dead_reason, attempts, next_attempt_at FROM webhook_deliveries WHERE subscriber_id = $1 ORDER BY id
"""
ATTEMPTS = """
    SELECT a.attempted_at, a.status_code, a.error, d.next_attempt_at FROM webhook_attempts a
    JOIN webhook_deliveries d ON d.id = a.delivery_id WHERE d.subscriber_id = $1 ORDER BY a.id
"""


class Subscriber:
    """A webhook that this row registered."""

    def __init__(self, scene: Scene, name: str) -> None:
        self._scene = scene
        self.path = f"/hooks/{name}-{scene.rng.randrange(10**9)}"
        self._headers = {"Authorization": f"Bearer {scene.stand.session('admin', 'staff')}"}
        self.id = UUID(int=0)

    async def register(self, *, events: int = EVENTS) -> None:
        """Register it and have so many test events sent."""
        stand = self._scene.stand
        body = {"url": f"{stand.sinks['control']}{self.path}", "description": "a row of the fault table"}
        made = await self._post("/v1/webhooks", body)
        self.id = UUID(made["webhook_id"])
        detail = {"subscriber_id": str(self.id), "path": self.path, "secret": made["secret"]}
        who = f"Knocker{self._scene.knock.seed}"
        stand.note(
            {"kind": "act", "act": "subscribe", "who": who, "person_id": None, "outcome": "ack", "detail": detail}
        )
        await self.send_tests(events)

    async def send_tests(self, events: int) -> None:
        """Have test events sent; `Broken` if it is disabled."""
        for _ in range(events):
            await self._post(f"/v1/webhooks/{self.id}/test", None)

    async def _post(self, path: str, body: Any) -> Any:
        stand = self._scene.stand
        answer = await stand.http.post(f"{stand.endpoints['endorsement']}{path}", json=body, headers=self._headers)
        if answer.status_code >= 300:
            raise Broken(f"{path} was answered {answer.status_code}: {answer.text[:300]}")
        return answer.json()

    async def enable(self) -> None:
        """What an administrator does when the receiver works again."""
        await self._post(f"/v1/webhooks/{self.id}/enabling", None)

    async def attempts(self) -> list[tuple[Any, ...]]:
        """Every try so far: when, status, error, when the next is due."""
        return await self._scene.stand.fetch("endorsement", ATTEMPTS, self.id)

    async def tried(self, *, times: int = 1) -> None:
        """Wait for so many tries."""

        async def often_enough() -> bool:
            return len(await self.attempts()) >= times

        await self._scene.stand.until(often_enough, f"{times} tries to reach {self.path}", seconds=60)

    async def demand_delivered(self) -> None:
        """Every event, those of the crowd too, is delivered under one webhook id, in order, and none was skipped."""
        found = await self._scene.stand.fetch("endorsement", DELIVERIES, self.id)
        states = [status for status, *_ in found]
        if len(states) < EVENTS or set(states) != {"delivered"}:
            raise Broken(f"{len(states)} deliveries to {self.path} ended as {sorted(set(states))}")
        taken: list[str] = []
        for line in lines(self._scene.stand, "webhook"):
            if line["path"] == self.path and str(line["answer"]).startswith("2") and line["webhook_id"] not in taken:
                taken.append(line["webhook_id"])
        wanted = [
            row[0]
            for row in await self._scene.stand.fetch(
                "endorsement", "SELECT webhook_id FROM webhook_deliveries WHERE subscriber_id = $1 ORDER BY id", self.id
            )
        ]
        if taken != wanted:
            raise Broken(f"{self.path} took {taken}, in this order, instead of {wanted}")


@row()
async def webhook_hangs(scene: Scene) -> AsyncIterator[None]:
    """A subscriber takes connections and never answers. It is tried again later, with growing waits; when it answers
    again everything is delivered, in order."""
    subscriber = Subscriber(scene, "hangs")
    await scene.stand.plan({"name": "hang", "sink": "webhook", "to": subscriber.path, "act": "hang"})
    await subscriber.register()
    await subscriber.tried()
    await met(scene.stand, "hang")
    await scene.stand.plan()
    yield
    errors = {error for _at, status, error, _next in await subscriber.attempts() if status is None}
    if errors != {"timeout"}:
        raise Broken(f"a subscriber that hangs was recorded as {errors}")
    await subscriber.demand_delivered()


@row()
async def webhook_redirects(scene: Scene) -> AsyncIterator[None]:
    """A subscriber answers 302 to another address. Nobody goes there; the delivery is tried again and arrives."""
    subscriber = Subscriber(scene, "redirects")
    elsewhere = f"/hooks/elsewhere-{scene.rng.randrange(10**9)}"
    await scene.stand.plan(
        {"name": "redirect", "sink": "webhook", "to": subscriber.path, "act": "answer", "code": 302, "times": 2,
         "location": f"{scene.stand.sinks['control']}{elsewhere}"}
    )  # fmt: skip
    await subscriber.register()
    await subscriber.tried()
    await met(scene.stand, "redirect")
    await scene.stand.plan()
    yield
    if any(line["path"] == elsewhere for line in lines(scene.stand, "webhook")):
        raise Broken("a redirect was followed")
    await subscriber.demand_delivered()


@row()
async def webhook_gone(scene: Scene) -> AsyncIterator[None]:
    """A subscriber answers 410. It is disabled and nothing more is sent; enabled again, it gets what it missed."""
    subscriber = Subscriber(scene, "gone")
    await scene.stand.plan({"name": "gone", "sink": "webhook", "to": subscriber.path, "act": "answer", "code": 410})
    # The first is refused, perhaps before a second could be asked for.
    await subscriber.register(events=1)
    await subscriber.tried()
    stand = scene.stand

    async def disabled() -> bool:
        found = await stand.fetch(
            "endorsement", "SELECT status, disabled_reason FROM webhook_subscribers WHERE id = $1", subscriber.id
        )
        return found == [("disabled", "gone")]

    await stand.until(disabled, "the subscriber that has gone to be disabled", seconds=30)
    tries = len(await subscriber.attempts())
    if tries != 1:
        raise Broken(f"a subscriber that has gone was tried {tries} times")
    states = {status for status, *_ in await stand.fetch("endorsement", DELIVERIES, subscriber.id)}
    if states != {"dead"}:
        raise Broken(f"the deliveries to a subscriber that has gone are {states}, not dead-lettered")
    await stand.plan()
    await subscriber.enable()
    await subscriber.send_tests(EVENTS - 1)
    yield
    await subscriber.demand_delivered()


@row()
async def webhook_too_many(scene: Scene) -> AsyncIterator[None]:
    """A subscriber answers 429 with Retry-After of two hours. It is not tried before; then everything is delivered."""
    subscriber = Subscriber(scene, "patience")
    await scene.stand.plan(
        {"name": "patience", "sink": "webhook", "to": subscriber.path, "act": "answer", "code": 429, "times": 1,
         "retry_after_seconds": RETRY_AFTER_SECONDS}
    )  # fmt: skip
    await subscriber.register()
    await subscriber.tried()
    at, status, _error, following = (await subscriber.attempts())[0]
    if status != 429 or following - at < dt.timedelta(seconds=RETRY_AFTER_SECONDS):
        raise Broken(f"after {status} the next try is due in {following - at}, not in two hours")
    await scene.stand.plan()
    yield
    await subscriber.demand_delivered()
