"""The leader: one worker at a time that starts rounds of matching.

Leadership is a session advisory lock on a connection of its own: it ends with the connection, so a killed leader is
replaced at once. A leader that lost its lock without noticing is fenced by its epoch at commit.
"""

import asyncio
import contextlib
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import asyncpg

from services.matching.actions import rounds
from services.matching.actions.rounds import Committed, Snapshot
from services.matching.domain.model import Solution
from services.matching.settings import Settings
from services.matching.solver.batch import Options
from services.matching.solver.child import Child, end, solve_in_child, start
from services.matching.store.rounds import take_epoch
from shared.log import get_logger
from shared.program import Program
from shared.work import Workshop

log = get_logger("matching.leader")

LOCK_KEY = 0x6D617463
MANY_PEOPLE = 10_000
MORE_SECONDS = 25.0


class Leader:
    """Waits for leadership, then looks every `batch_seconds` whether a round is due, until cancelled."""

    def __init__(self, workshop: Workshop, settings: Settings) -> None:
        self._workshop = workshop
        self._settings = settings
        self._minutes = rounds.effective_minutes(workshop.program, settings.batch_minutes, settings.environment)

    async def run(self) -> None:
        """Lead whenever nobody else does."""
        while True:
            async with self.leadership() as epoch:
                while epoch is not None:
                    await self.round_if_due(epoch)
                    await asyncio.sleep(self._settings.batch_seconds)
                    if not await self._still_locked():
                        break
            await asyncio.sleep(self._settings.batch_seconds)

    @asynccontextmanager
    async def leadership(self) -> AsyncIterator[int | None]:
        """The epoch of a new leadership that lasts as long as the block; None while somebody else leads."""
        self._connection = await asyncpg.connect(self._settings.database_url.get_secret_value(), timeout=5)
        try:
            if not await self._connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY):
                yield None
                return
            async with self._workshop.begin() as work:
                epoch = await take_epoch(work.connection, work.now)
            log.info("leadership_taken", epoch=epoch)
            yield epoch
        finally:
            with contextlib.suppress(asyncpg.PostgresError, OSError, TimeoutError):
                await asyncio.shield(self._connection.close(timeout=2))

    async def _still_locked(self) -> bool:
        """The lock is the connection's: while it answers, it holds."""
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            return bool(await self._connection.fetchval("SELECT true", timeout=5))
        return False

    async def round_if_due(self, epoch: int) -> Committed | None:
        """Run one round if it is due; None if it is not."""
        async with self._workshop.begin() as work:
            if not await rounds.due(work, self._minutes):
                return None
        return await self.round(epoch)

    async def round(self, epoch: int) -> Committed:
        """Read, solve, commit. Raises `Superseded` when another leader took over meanwhile."""
        taken, solution, committed = await round_of(self._workshop, epoch, self._settings.solver_seconds)
        log.info(
            "round_done",
            method=solution.method,
            waiting=len(taken.problem.candidates),
            volunteers=len(taken.problem.volunteers),
            held=len(committed.held),
            lost=committed.lost,
        )
        return committed


async def round_of(workshop: Workshop, epoch: int, solver_seconds: float) -> tuple[Snapshot, Solution, Committed]:
    """One round: read, solve, commit. The solver's process starts, and loads its libraries, while we read."""
    child = start()
    try:
        with without_collector():
            async with workshop.begin() as work:
                taken = await rounds.snapshot(work)
    except BaseException:
        end(child)
        raise
    many = len(taken.problem.candidates) > MANY_PEOPLE
    deadline = solver_seconds + (MORE_SECONDS if many else 0.0)
    solution = await solved(taken, deadline, options_of(workshop.program), child)
    with without_collector():
        async with workshop.begin() as work:
            committed = await rounds.commit(work, epoch, taken, solution)
    return taken, solution, committed


@contextmanager
def without_collector() -> Iterator[None]:
    """Not a look for reference cycles until the block ends.

    Reading and committing make hundreds of thousands of objects and no cycle; looking took a quarter of their time. For
    seconds only: what others leave in cycles meanwhile stays as long.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def options_of(program: Program) -> Options:
    """How to solve, as the program says."""
    fairness = program.one_on_one.fairness
    return Options(floors=fairness.floors, floor=fairness.floor_percent / 100)


async def solved(taken: Snapshot, deadline_seconds: float, options: Options, child: Child | None = None) -> Solution:
    """The solver's answer, awaited, from this child, or from one that is started for it.

    On a daemon thread of its own: a service that is told to stop must not wait for the deadline, as it would for a
    thread of the loop's executor. The child process dies with its parent.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Solution] = loop.create_future()

    def settle(solution: Solution | None, error: Exception | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        elif solution is not None:
            answer.set_result(solution)

    def work() -> None:
        solution: Solution | None = None
        failure: Exception | None = None
        try:
            solution = solve_in_child(taken.problem, deadline_seconds, options, child)
        except Exception as error:  # noqa: BLE001 (handed on to whoever awaits)
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop was closed while we solved
            loop.call_soon_threadsafe(settle, solution, failure)

    threading.Thread(target=work, name="solver", daemon=True).start()
    return await answer
