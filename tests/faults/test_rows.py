"""Every row of the fault table once, with a small crowd, on one stack: what continuous integration plays.

The rows of a group share a crowd and a ledger; a group is played when the first of its tests is asked for. A row of a
group that was not chosen by `-k` is played all the same.
"""

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.faults.crowd import Size
from tests.faults.rows import Row, table
from tests.faults.session import Played, Session, open_session

SEED = 2017
CROWD = Size(people=40, walkers=6, rate=10)
MORE = Size(people=20, walkers=6, rate=10)
# Kill points wait for people to pass them, and are played at once where their services differ; the others in turn.
GROUPS: dict[str, list[Row]] = {}
for _row in table().values():
    GROUPS.setdefault("kills" if _row.name.startswith("kill.") else _row.act.__module__.rpartition(".")[2], []).append(
        _row
    )


class Stage:
    """One stand for every group; a stand whose ledger complained, or which is not whole, is replaced."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._held = AsyncExitStack()
        self._session: Session | None = None
        self._stands = 0
        self.played: dict[str, Played] = {}

    async def of(self, group: str) -> Played:
        """What came of a group; played now if it has not been."""
        if group not in self.played:
            if self._session is None:
                self._stands += 1
                evidence = self._directory / str(self._stands)
                self._session = await self._held.enter_async_context(open_session(evidence, seed=SEED, brief=True))
            self.played[group] = await self._session.play(GROUPS[group], CROWD, MORE)
            if not self.played[group].clean:
                await self.close()
        return self.played[group]

    async def close(self) -> None:
        """Stop the stand; its evidence stays."""
        self._session = None
        await self._held.aclose()


@pytest.fixture(scope="module")
async def stage() -> AsyncIterator[Stage]:
    """The stands of this module. Their evidence is in the system's directory for such things."""
    stage = Stage(Path(tempfile.mkdtemp(prefix="hustings-faults-")))
    try:
        yield stage
    finally:
        await stage.close()


@pytest.mark.parametrize("group", GROUPS)
async def test_nothing_is_lost_and_nothing_doubled(stage: Stage, group: str) -> None:
    played = await stage.of(group)
    assert played.ledger_code == 0, played.ledger_said
    assert played.problems == []


@pytest.mark.parametrize(("group", "name"), [(group, row.name) for group, rows in GROUPS.items() for row in rows])
async def test_row_holds(stage: Stage, group: str, name: str) -> None:
    assert (await stage.of(group)).broken.get(name) is None


def test_table_has_every_family_of_the_promises() -> None:
    assert list(GROUPS) == [
        "kills",
        "broker",
        "database",
        "providers",
        "records",
        "consumers",
        "clock",
        "webhooks",
        "deploys",
    ]
    assert all(row.does for row in table().values())
