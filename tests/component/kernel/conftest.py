"""A service that is only a kernel: the backbone's tables, a counter per person, no pages of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
import structlog

from deploy.embedded.kafka import Kafka
from shared.broker import create_topics
from shared.db import Pool, create_pool
from shared.events.envelope import Received
from shared.events.topics import Topic
from shared.inbox import Inbox
from shared.program import Program, load
from shared.work import Work, Workshop
from tests.component.kernel.events import Counted, Noted
from tests.conftest import DatabaseFactory
from tests.harness import PROGRAM_2025, Database


@dataclass
class Kernel:
    """A pool on a fresh database, and ways to begin work on it."""

    database: Database
    pool: Pool
    workshop: Workshop

    @property
    def name(self) -> str:
        """A name of its own: for consumer groups and transactional ids."""
        return urlsplit(self.database.dsn).path.strip("/")

    async def count(self, table: str) -> int:
        """Rows in a table of the backbone."""
        return int(await self.pool.fetchval(f"SELECT count(*) FROM {table}"))

    def inbox(self, routes: dict[type, Callable[[Work, Sequence[Received]], Awaitable[None]]]) -> Inbox:
        """An inbox with these routes."""
        return Inbox(self.workshop, routes)


@pytest.fixture(scope="session", autouse=True)
def short_logs() -> None:
    """One line per log entry: the default renders every frame of a traceback with its variables."""
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.ExceptionRenderer(_name_only),
                    structlog.processors.KeyValueRenderer()]
    )  # fmt: skip


def _name_only(exc_info: tuple[type[BaseException], BaseException, object]) -> str:
    return repr(exc_info[1])


@pytest.fixture(scope="session")
def program() -> Program:
    """The 2025 program."""
    return load(PROGRAM_2025)


@pytest.fixture
async def kernel(databases: DatabaseFactory, program: Program) -> AsyncIterator[Kernel]:
    """A kernel on a clone of an empty service's database, with a table for effects."""
    database = await databases("notifications")
    await database.execute(
        "CREATE TABLE effects (event_id uuid NOT NULL, person_id uuid NOT NULL, note text,"
        " ordinal bigint GENERATED ALWAYS AS IDENTITY)"
    )
    pool = await create_pool(database.dsn, service="test", size=16)
    yield Kernel(database, pool, Workshop(pool, program, "test"))
    await pool.close()


_topic_count = 0


@pytest.fixture
async def topic(kafka: Kafka) -> Topic:
    """A topic of its own for one test, three partitions, keyed by person."""
    global _topic_count
    _topic_count += 1
    made = Topic(f"test.topic_{_topic_count}", key="person_id")
    await create_topics(kafka.bootstrap, [made], partitions=3)
    return made


@pytest.fixture
async def topics(kafka: Kafka) -> None:
    """The topics of the kernel's own events, which tests share."""
    await create_topics(kafka.bootstrap, [Noted.topic, Counted.topic], partitions=3)
