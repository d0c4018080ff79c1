"""The service starts from its migrations."""

from services.matching.app import SERVICE
from services.matching.settings import Settings
from tests.conftest import DatabaseFactory
from tests.harness import client_of, make_settings, running


async def test_service_answers_when_its_database_does(databases: DatabaseFactory) -> None:
    async with running(SERVICE, make_settings(Settings, await databases("matching"))) as service:
        answer = await client_of(service).get("/livez")
    assert answer.status_code == 200
