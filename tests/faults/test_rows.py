"""Every row of the fault table once, with a small crowd, on one stack: what `make test` plays.

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
from tests.faults.stand import forget

SEED = 2017
CROWD = Size(people=40, walkers=6, rate=10)
# What shares a crowd. Rows with a lane are played at once with those of other lanes: kill points of different services,
# and the faults of the text provider, to whom a crowd has little to say. All others are played in turn.
FAMILIES = {
    "servers": ("broker", "database"),
    "records": ("records", "providers"),
    "the rest": ("consumers", "clock", "webhooks", "deploys"),
}
GROUPS: dict[str, list[Row]] = {
    # Consumers pass their points from the first event on; behind others they would wait for the walk, and it for them.
    "kills": sorted(
        (row for row in table().values() if row.lane != "world"),
        key=lambda row: not row.name.startswith("kill.consumer."),
    ),
    **{
        group: [
            row for row in table().values() if row.lane == "world" and row.act.__module__.rpartition(".")[2] in families
        ]
        for group, families in FAMILIES.items()
    },
}


def more(rows: list[Row]) -> Size:
    """The crowds that follow the first while rows are still being played."""
    return Size(people=20, walkers=6 if any(row.walkers for row in rows) else 0, rate=10)


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
            self.played[group] = await self._session.play(GROUPS[group], CROWD, more(GROUPS[group]))
            if not self.played[group].clean:
                await self.close()
        return self.played[group]

    async def close(self) -> None:
        """Stop the stand; its evidence stays."""
        self._session = None
        await self._held.aclose()

    async def end(self) -> None:
        """Stop everything; only what was not clean leaves evidence."""
        await self.close()
        if all(played.clean for played in self.played.values()):
            forget(self._directory)


@pytest.fixture(scope="module")
async def stage() -> AsyncIterator[Stage]:
    """The stands of this module. Their evidence is in the system's directory for such things."""
    stage = Stage(Path(tempfile.mkdtemp(prefix="hustings-faults-")))
    try:
        yield stage
    finally:
        await stage.end()


@pytest.mark.parametrize("group", GROUPS)
async def test_nothing_is_lost_and_nothing_doubled(stage: Stage, group: str) -> None:
    played = await stage.of(group)
    assert played.ledger_code == 0, played.ledger_said
    assert played.problems == []


@pytest.mark.parametrize(("group", "name"), [(group, row.name) for group, rows in GROUPS.items() for row in rows])
async def test_row_holds(stage: Stage, group: str, name: str) -> None:
    assert (await stage.of(group)).broken.get(name) is None


def test_every_row_is_in_one_group_and_says_what_it_does() -> None:
    grouped = [row.name for rows in GROUPS.values() for row in rows]
    assert sorted(grouped) == sorted(table())
    assert all(row.does for row in table().values())
