"""What the tests of group calls start from."""

from collections.abc import AsyncIterator

import pytest

from services.matching.app import SERVICE
from services.matching.settings import Settings
from tests.component.matching.intro_stage import Stage
from tests.conftest import DatabaseFactory
from tests.harness import make_settings, running


@pytest.fixture
async def stage(databases: DatabaseFactory) -> AsyncIterator[Stage]:
    """The service under the program of 2025."""
    database = await databases("matching")
    async with running(SERVICE, make_settings(Settings, database)) as service:
        yield Stage(service, database)
