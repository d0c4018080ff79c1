"""`kill -9` at named points: the process of a service kills itself at the very moment (see `tests.faults.hooks`)."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import Any

import httpx

from tests.faults.hooks.sitecustomize import POINTS, Point
from tests.faults.rows import Scene, row
from tests.faults.rows.webhooks import Subscriber
from tests.faults.stand import Broken, Stand

PASSED_SECONDS = 400.0

# Under way, or handed over once with an end that nobody knows, and to be handed over again.
IN_DOUBT = """
    SELECT count(*) FROM messages
    WHERE channel = 'email' AND delivery <> 'bulk' AND (
        state = 'handing'
        OR state = 'unknown' AND hands = 1 AND due_at <= business_now()
        OR state IN ('queued', 'claimed') AND hands = 1 AND delivery = 'link')
"""

# Where a point that every service has is tried first; the seeds after it take the others in turn.
FIRST = {
    "relay.before_send": "signup",
    "relay.after_send": "matching",
    "relay.after_ack": "notifications",
    "relay.after_delete": "signup",
    "consumer.after_poll": "endorsement",
    "consumer.in_transaction": "matching",
    "consumer.after_commit": "signup",
    "timer.in_transaction": "signup",
}


def service_of(point: Point, number: int) -> str:
    """The service whose process dies at the point, for the seed of that number (from 0)."""
    services = point.services
    first = services.index(FIRST.get(point.name, services[0]))
    return services[(first + number) % len(services)]


async def sign_in(scene: Scene) -> None:
    """Somebody asks for a sign-in link, which a timer of signup mails."""
    url = f"{scene.stand.endpoints['signup']}/v1/account/sign-in"
    await scene.stand.http.post(url, json={"email": scene.knock.last_email})


async def take_back(scene: Scene) -> None:
    """Two of the staff rescind an endorsement, if one is announced: of a crowd only few are."""
    stand = scene.stand
    standing = await stand.fetch("endorsement", "SELECT id FROM endorsements WHERE status = 'endorsed' LIMIT 1")
    if not standing:
        return
    url = f"{stand.endpoints['endorsement']}/v1/endorsements/{standing[0][0]}/rescission"
    asking, confirming = ({"Authorization": f"Bearer {stand.session('staff')}"} for _ in range(2))
    body = {"reason": "facts_wrong", "note": f"Knocker{scene.knock.seed} says so."}
    await stand.http.post(url, json=body, headers=asking)
    answer = await stand.http.post(f"{url}/confirmation", headers=confirming)
    if answer.status_code == 200:
        detail = {"endorsement_id": str(standing[0][0])}
        stand.note(
            {"kind": "act", "act": "rescind", "who": "staff", "person_id": None, "outcome": "ack", "detail": detail}
        )


async def send_test(scene: Scene) -> None:
    """A subscriber of the harness's own is sent test events."""
    known = await scene.stand.fetch(
        "endorsement", "SELECT id FROM webhook_subscribers WHERE url LIKE '%/hooks/kills-%'"
    )
    if not known:
        await Subscriber(scene, "kills").register()
        return
    headers = {"Authorization": f"Bearer {scene.stand.session('admin', 'staff')}"}
    await scene.stand.http.post(
        f"{scene.stand.endpoints['endorsement']}/v1/webhooks/{known[0][0]}/test", headers=headers
    )


# What a crowd does too seldom to wait for.
SELDOM = {
    "timer.in_transaction": sign_in,
    "endorsement.before_rescission_commit": take_back,
    "webhook.after_claim": send_test,
    "webhook.after_send": send_test,
    "webhook.after_settle": send_test,
}


async def recovered(stand: Stand) -> None:
    """Wait until what the sender killed before had in hand is sent again.

    A link goes out twice at most: those that meet two kills are left to be asked for again, which a crowd does not do.
    """

    async def all_sent() -> bool:
        return await stand.count("notifications", IN_DOUBT) == 0

    await stand.until(all_sent, "what a killed sender had in hand to be sent again", seconds=120)


def killing(point: Point) -> Callable[[Scene], Coroutine[Any, Any, None]]:
    """The row of a point."""

    async def kill(scene: Scene) -> None:
        stand, service = scene.stand, service_of(point, scene.number)
        await stand.ready(service)
        if point.name.startswith("sender."):
            await recovered(stand)
        before = int(stand.known(service)["restarts"])
        stand.arm(point.name, service)
        try:
            deadline = time.monotonic() + PASSED_SECONDS
            while not stand.has_fired(point.name, service):
                if time.monotonic() > deadline:
                    raise Broken(f"{service} did not pass {point.name} within {PASSED_SECONDS:.0f} s")
                if point.name in SELDOM:
                    with contextlib.suppress(httpx.HTTPError, OSError, Broken):
                        await SELDOM[point.name](scene)
                await asyncio.sleep(0.5)
        finally:
            stand.disarm(point.name, service)
        stand.tell(f"{point.name} killed {service}")
        await stand.restarted(service, before)

    kill.__doc__ = f"A process dies of SIGKILL when {point.meaning}. It is started again and goes on."
    return kill


WALKED = ("matching.", "endorsement.", "webhook.")

for _point in POINTS:
    _walks = _point.name.startswith(WALKED) or len(_point.services) > 1
    row(lane=service_of(_point, 0), name=f"kill.{_point.name}", walkers=_walks)(killing(_point))
