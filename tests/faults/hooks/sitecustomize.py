"""Kill points: named moments at which a process of a service kills itself, wrapped around the product from outside.

Python imports a module of this name at its start when the directory is on PYTHONPATH; only the stand of the fault
tests puts it there, and no image has the directory. With HUSTINGS_FAULTS_DIR set and `-m services.<name>` on the
command line, the functions of `POINTS` are wrapped as their modules are loaded. At each pass a wrapper looks for the
file `<point>.<service>` in that directory (one `stat`). If it is there, it is taken away by a rename, so that it
fires once; a line is appended to `fired.jsonl` and flushed to the disk; and the process dies of SIGKILL.

A point whose function has gone ends the process at its start, with a sentence that says which.
"""

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

EVERYWHERE = ("signup", "matching", "notifications", "endorsement")


@dataclass(frozen=True)
class Point:
    """A moment: `when` the coroutine function `target` (`module:qualified.name`) is passed, in `services`.

    `only_truthy` lets an `after` point pass over calls that came to nothing, like a claim of no messages; `only_given`
    over calls whose last argument is empty, like a batch of events that the service does not read.
    """

    name: str
    target: str
    when: Literal["before", "after"]
    meaning: str
    services: tuple[str, ...]
    only_truthy: bool = False
    only_given: bool = False

    @property
    def module(self) -> str:
        """The module that has to be loaded."""
        return self.target.partition(":")[0]


_SENDER = "services.notifications.sending.sender:Sender."
_DECIDING = "services.endorsement.actions.deciding:"
_COURIER = "services.endorsement.delivery.loop:Courier."

POINTS = (
    Point("intake.before_commit", "services.signup.intake:store_batch", "after",
          "the rows of a batch of sign-ups are written, nothing is committed", ("signup",)),
    Point("intake.after_commit", "services.signup.intake:Intake._store", "after",
          "a batch of sign-ups is committed, nobody is answered", ("signup",)),
    Point("confirmation.before_commit", "services.signup.actions.people:confirm", "after",
          "a link is used and the person confirmed, nothing is committed", ("signup",)),
    Point("relay.before_send", "shared.relay:Relay._send", "before",
          "rows are read, nothing is sent", EVERYWHERE),
    Point("relay.after_send", "aiokafka.producer.producer:AIOKafkaProducer.commit_transaction", "before",
          "records lie in the log, their transaction is open", EVERYWHERE),
    Point("relay.after_ack", "shared.relay:Relay._send", "after",
          "the broker has committed the records, their rows are still there", EVERYWHERE),
    Point("relay.after_delete", "shared.relay:Relay._delete", "after",
          "the rows are deleted", EVERYWHERE),
    Point("consumer.after_poll", "shared.inbox:Inbox.take", "before",
          "a batch is read, no transaction has begun", EVERYWHERE),
    Point("consumer.in_transaction", "shared.inbox:Inbox._handle", "after",
          "the effects of a batch are written, the offsets are not", EVERYWHERE, only_given=True),
    Point("consumer.after_commit", "shared.inbox:Inbox.take", "after",
          "effects and offsets are committed, Kafka is not told", EVERYWHERE),
    Point("timer.in_transaction", "shared.timers:_fire", "after",
          "a timer is taken and has acted, nothing is committed", ("signup", "matching", "endorsement")),
    Point("sender.after_lease", "services.notifications.store.messages:claim", "after",
          "messages are leased", ("notifications",), only_truthy=True),
    Point("sender.before_handing_commit", _SENDER + "_mark_handing", "after",
          "messages are marked as handing, nothing is committed", ("notifications",)),
    Point("sender.after_handing", _SENDER + "_check", "after",
          "`handing` is committed, no byte has gone to the provider", ("notifications",), only_truthy=True),
    Point("sender.after_accept", _SENDER + "_in_turn", "after",
          "the provider has answered for one message, nothing is settled", ("notifications",)),
    Point("sender.after_settle", _SENDER + "_settle", "after",
          "the answers are committed, with their events", ("notifications",)),
    Point("matching.after_slot_picked", "services.matching.store.bookings:insert_held", "after",
          "hours are held for a round's matches, nothing is committed", ("matching",), only_truthy=True),
    Point("matching.before_round_commit", "services.matching.actions.rounds:commit", "after",
          "a round is written, with its events to come, nothing is committed", ("matching",)),
    Point("matching.before_accept_commit", "services.matching.actions.calls:accept", "after",
          "a prospect's yes is written, nothing is committed", ("matching",)),
    Point("endorsement.before_decision_commit", _DECIDING + "decide", "after",
          "a decision is written, nothing is committed", ("endorsement",)),
    Point("endorsement.before_announcement_commit", _DECIDING + "_publish_endorsement", "after",
          "an endorsement, its feed entry and its deliveries are written, nothing is committed", ("endorsement",)),
    Point("endorsement.before_rescission_commit", _DECIDING + "confirm_rescission", "after",
          "a rescission is written, nothing is committed", ("endorsement",)),
    Point("webhook.after_claim", _COURIER + "_deliver", "before",
          "a delivery is leased, nothing is sent", ("endorsement",)),
    Point("webhook.after_send", "services.endorsement.delivery.sender:Sender.send", "after",
          "the subscriber has answered, nothing is settled", ("endorsement",)),
    Point("webhook.after_settle", _COURIER + "_settle", "after",
          "a delivery is settled", ("endorsement",)),
)  # fmt: skip


def service_of(arguments: Sequence[str]) -> str | None:
    """`signup` for `python -m services.signup all`; None for whatever is no service's process."""
    for flag, module in itertools.pairwise(arguments):
        if flag == "-m" and module.startswith("services."):
            return module.partition(".")[2]
    return None


class Trap:
    """Where armed points are looked for, by the process of one service."""

    def __init__(self, directory: str, service: str) -> None:
        self.directory = directory
        self.service = service

    def pass_by(self, point: Point) -> None:
        """Die here if the point is armed."""
        armed = os.path.join(self.directory, f"{point.name}.{self.service}")  # noqa: PTH118 (on every hot path)
        try:
            os.stat(armed)  # noqa: PTH116
        except FileNotFoundError:
            return
        try:
            os.rename(armed, f"{armed}.{os.getpid()}.taken")  # noqa: PTH104
        except FileNotFoundError:
            return  # another process of the service was first
        told = {"point": point.name, "service": self.service, "pid": os.getpid(), "at": time.time()}
        with open(os.path.join(self.directory, "fired.jsonl"), "a", encoding="utf-8") as log:  # noqa: PTH118, PTH123
            log.write(json.dumps(told) + "\n")
            log.flush()
            os.fsync(log.fileno())
        os.kill(os.getpid(), signal.SIGKILL)

    def wrapped(self, point: Point, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with the point before or after it."""
        if not inspect.iscoroutinefunction(function):
            raise SystemExit(f"kill point {point.name}: {point.target} is no coroutine function any more")

        if point.when == "before":

            @functools.wraps(function)
            async def before(*arguments: Any, **named: Any) -> Any:
                self.pass_by(point)
                return await function(*arguments, **named)

            return before

        @functools.wraps(function)
        async def after(*arguments: Any, **named: Any) -> Any:
            result = await function(*arguments, **named)
            if (result or not point.only_truthy) and (not point.only_given or arguments[-1]):
                self.pass_by(point)
            return result

        return after

    def patch(self, module: ModuleType, points: Sequence[Point]) -> None:
        """Wrap the points of a module that has just been loaded."""
        for point in points:
            owner, name, function = find(module, point)
            setattr(owner, name, self.wrapped(point, function))


def find(module: ModuleType, point: Point) -> tuple[Any, str, Callable[..., Any]]:
    """The object that holds a point's function, its name there, and the function; ends the process if it has gone."""
    owner: Any = module
    *path, name = point.target.partition(":")[2].split(".")
    for part in path:
        owner = getattr(owner, part, None)
    function = vars(owner).get(name) if owner is not None else None
    if function is None:
        raise SystemExit(f"kill point {point.name}: {point.target} does not exist any more; say where it is now")
    return owner, name, function


class _Patching(importlib.abc.Loader):
    """Loads as the real loader does, then wraps."""

    def __init__(self, loader: importlib.abc.Loader, trap: Trap, points: Sequence[Point]) -> None:
        self._loader = loader
        self._trap = trap
        self._points = points

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._trap.patch(module, self._points)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of points first, and gives them the loader above."""

    def __init__(self, trap: Trap, points: Sequence[Point]) -> None:
        self._trap = trap
        self._by_module: dict[str, list[Point]] = {}
        for point in points:
            self._by_module.setdefault(point.module, []).append(point)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        points = self._by_module.get(fullname)
        if points is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        spec.loader = _Patching(spec.loader, self._trap, points)
        return spec


def install(directory: str, service: str) -> None:
    """Wrap the service's points from now on."""
    points = [point for point in POINTS if service in point.services]
    sys.meta_path.insert(0, _Finder(Trap(directory, service), points))


if __name__ == "sitecustomize":
    _directory = os.environ.get("HUSTINGS_FAULTS_DIR")
    _service = service_of(sys.orig_argv)
    if _directory and _service:
        install(_directory, _service)
