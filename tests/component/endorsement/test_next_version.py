"""A next version's migration has added a column to every table while this version still runs."""

from uuid import UUID

import asyncpg
import pytest

from shared.db import is_transient
from tests.component.endorsement.scenes import STAFF, announced, call, opened
from tests.conftest import DatabaseFactory
from tests.harness import Database

ADD_COLUMNS = """
    DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
            EXECUTE format('ALTER TABLE %I ADD COLUMN of_the_next_version text NOT NULL DEFAULT %L', name, '');
        END LOOP;
    END $$
"""


async def test_path_is_walked_on_tables_that_have_grown(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    await database.execute(ADD_COLUMNS)
    async with opened(database) as service:
        made = await announced(service, database)
        found = await call(service, STAFF, "GET", f"/v1/endorsements/{made['endorsement_id']}")
        assert UUID(found["endorsement_id"]) == UUID(made["endorsement_id"])


async def test_stale_statement_is_refused_once_and_counts_as_transient(databases: DatabaseFactory) -> None:
    database: Database = await databases("endorsement")
    async with opened(database) as service, service.context.pool.acquire() as connection:
        statement = "SELECT * FROM decisions WHERE false"
        await connection.fetch(statement)
        await database.execute(ADD_COLUMNS)
        with pytest.raises(asyncpg.InvalidCachedStatementError) as refused:
            async with connection.transaction():
                await connection.fetch(statement)
        assert is_transient(refused.value)
        async with connection.transaction():
            assert await connection.fetch(statement) == []
