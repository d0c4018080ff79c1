"""The way of a sign-up as processes: web, relay, the worker of notifications with its senders, a relay host."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from deploy.embedded.processes import Process
from shared.broker import create_topics
from shared.events import ALL_TOPICS
from tests.bench.intake import UNLIMITED
from tests.bench.serving import environment_of, free_ports, process
from tests.bench.stage import Stage
from tests.bench.worker import PARTITIONS
from tests.harness import Database


@dataclass
class System:
    """Databases, ports, and the processes that run now."""

    stage: Stage
    bootstrap: str
    signup: Database
    notifications: Database
    ports: dict[str, int]
    running: dict[str, Process] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str) -> Iterator[Process]:
        """One of `sink`, `web`, `relay`, `worker`, for as long as the block lasts."""
        kafka, stage = self.bootstrap, self.stage
        if name == "sink":
            argv, environment, ready = ["-m", "tests.bench.mail_sink", str(self.ports["smtp"])], {}, None
        elif name == "worker":
            argv = ["-m", "services.notifications", "worker"]
            environment = environment_of(
                "notifications", self.notifications, kafka=kafka, ports=self.ports,
                smtp_host="127.0.0.1", smtp_port=self.ports["smtp"],
            )  # fmt: skip
            ready = f"http://127.0.0.1:{self.ports['notifications']}/readyz"
        else:
            # The relay's pages are its probes only; the addresses that others call are the web process's.
            own = {"signup_port": self.ports[name]} if name == "relay" else {}
            argv = ["-m", "services.signup", name]
            environment = environment_of("signup", self.signup, kafka=kafka, ports=self.ports, **UNLIMITED)
            environment |= {key.upper(): str(value) for key, value in own.items()}
            port = self.ports["relay" if name == "relay" else "signup"]
            ready = f"http://127.0.0.1:{port}/readyz"
        with process(argv, environment, log=stage.directory / f"{name}.log", ready=ready) as child:
            self.running[name] = child
            try:
                yield child
            finally:
                del self.running[name]

    @contextmanager
    def parts(self, *names: str) -> Iterator[None]:
        """Several of them."""
        with ExitStack() as stack:
            for name in names:
                stack.enter_context(self.part(name))
            yield

    def pids(self) -> list[int]:
        """Of what runs now."""
        return [child.pid for child in self.running.values()]

    async def forget(self) -> None:
        """Leave nothing to do in any of the stages, and nothing stored of those before."""
        await self.signup.execute("TRUNCATE people, outbox, streams, intents CASCADE")
        await self.notifications.execute("TRUNCATE messages, message_steps, outbox, contact_hashes")

    def ask_sink(self, *commands: str) -> list[float]:
        """What the relay host answers to SIZE and to NOTE <recipient>."""
        with socket.create_connection(("127.0.0.1", self.ports["smtp"]), timeout=10) as connection:
            lines = connection.makefile("rb")
            lines.readline()
            connection.sendall("".join(f"{command}\r\n" for command in commands).encode())
            return [float(lines.readline()) for _ in commands]

    async def handed_over(self, count: int, seconds: float = 300.0) -> None:
        """Wait until the relay host has so many mails."""
        deadline = time.monotonic() + seconds
        while (size := self.ask_sink("SIZE")[0]) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{size:.0f} of {count} mails were handed over in {seconds:.0f} s.")
            await asyncio.sleep(0.05)


@asynccontextmanager
async def open_system(stage: Stage) -> AsyncIterator[System]:
    """Databases and topics; no process yet."""
    async with AsyncExitStack() as stack:
        bootstrap = stack.enter_context(stage.empty_kafka()).bootstrap
        await create_topics(bootstrap, list(ALL_TOPICS), partitions=PARTITIONS)
        signup = await stack.enter_async_context(stage.databases.clone("signup"))
        notifications = await stack.enter_async_context(stage.databases.clone("notifications"))
        yield System(stage, bootstrap, signup, notifications, free_ports("signup", "notifications", "relay", "smtp"))
