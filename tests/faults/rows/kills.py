"""`kill -9` at named points: the process of a service kills itself at the very moment (see `tests.faults.hooks`)."""

from collections.abc import Callable, Coroutine
from typing import Any

from tests.faults.hooks.sitecustomize import POINTS, Point
from tests.faults.rows import Scene, row

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


def killing(point: Point) -> Callable[[Scene], Coroutine[Any, Any, None]]:
    """The row of a point."""

    async def kill(scene: Scene) -> None:
        stand, service = scene.stand, service_of(point, scene.number)
        await stand.ready(service)
        before = int(stand.known(service)["restarts"])
        stand.arm(point.name, service)
        try:
            await stand.until(
                lambda: stand.has_fired(point.name, service), f"{service} to pass {point.name}", seconds=400
            )
        finally:
            stand.disarm(point.name, service)
        stand.tell(f"{point.name} killed {service}")
        await stand.restarted(service, before)

    kill.__doc__ = f"A process dies of SIGKILL when {point.meaning}. It is started again and goes on."
    return kill


WALKED = ("matching.", "endorsement.", "webhook.")

for _point in POINTS:
    _walks = _point.name.startswith(WALKED) or "matching" in service_of(_point, 0) or "endorse" in service_of(_point, 0)
    row(lane=service_of(_point, 0), name=f"kill.{_point.name}", walkers=_walks)(killing(_point))
