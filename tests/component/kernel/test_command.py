"""A service's commands for operators: whatever is wrong with settings or database is one sentence."""

import asyncio
from collections.abc import Sequence

import pytest
from pydantic import SecretStr

from shared.command import run_command
from shared.db import Pool
from shared.settings import ServiceSettings
from shared.work import Workshop
from tests.component.kernel.tinyservice.app import Settings
from tests.conftest import DatabaseFactory
from tests.harness import make_settings


async def nothing(_settings: ServiceSettings, _workshop: Workshop, _pool: Pool) -> Sequence[str]:
    """A command that has nothing to say."""
    return ["done"]


def test_secret_that_cannot_be_read_is_a_sentence() -> None:
    def unreadable() -> ServiceSettings:
        raise RuntimeError("TINY_DATABASE_URL_FILE names a file that can't be read.")

    with pytest.raises(SystemExit, match=r"^TINY_DATABASE_URL_FILE names a file that can't be read\.$"):
        run_command("tiny", unreadable, nothing)


@pytest.mark.parametrize(("part", "fault"), [("database", "InvalidCatalogName"), ("user", "InvalidPassword")])
async def test_database_that_lets_nobody_in_is_a_sentence(databases: DatabaseFactory, part: str, fault: str) -> None:
    database = await databases("notifications")
    dsn = database.dsn
    wrong = dsn.rsplit("/", 1)[0] + "/nowhere" if part == "database" else dsn.replace("//", "//nobody-", 1)
    settings = make_settings(Settings, database, tiny_url="http://tiny.test")
    settings = settings.model_copy(update={"database_url": SecretStr(wrong)})
    with pytest.raises(SystemExit) as ended:
        await asyncio.to_thread(run_command, "tiny", lambda: settings, nothing)
    said = str(ended.value)
    assert said.startswith(f"The database does not answer ({fault}")
    assert said.endswith("check TINY_DATABASE_URL.")
