"""Watching the outbox: a copy of every row that was ever appended, so that nothing can leave it unseen.

The relay deletes what it has sent; afterwards only a copy tells that a row existed. A trigger makes it, in the
transaction of the append, with the owner's rights: the service needs none on the copies. `ledger_streams` holds how
far each key was counted when the watch began, so that earlier events are told apart.
"""

from collections.abc import Mapping

import psycopg

from cli.ledger.databases import connect

# Rows that wait in the outbox at that moment are copied too: they will be on a topic later. EXCLUSIVE keeps writers
# out between the copies and the trigger.
INSTALL = """
    LOCK TABLE outbox, streams IN EXCLUSIVE MODE;
    CREATE TABLE ledger_outbox (
        topic    text NOT NULL,
        key      text NOT NULL,
        event_id uuid NOT NULL,
        headers  text NOT NULL,
        payload  bytea,
        at       timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    CREATE TABLE ledger_streams AS SELECT topic, key, version FROM streams;
    INSERT INTO ledger_outbox (topic, key, event_id, headers, payload)
        SELECT topic, key, event_id, headers, payload FROM outbox ORDER BY shard, id;
    CREATE FUNCTION ledger_copy() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ BEGIN
        INSERT INTO ledger_outbox (topic, key, event_id, headers, payload)
            SELECT topic, key, event_id, headers, payload FROM appended;
        RETURN NULL;
    END $$;
    CREATE TRIGGER ledger_copy_trg AFTER INSERT ON outbox REFERENCING NEW TABLE AS appended
        FOR EACH STATEMENT EXECUTE FUNCTION ledger_copy();
"""
REMOVE = """
    DROP TRIGGER IF EXISTS ledger_copy_trg ON outbox;
    DROP FUNCTION IF EXISTS ledger_copy();
    DROP TABLE IF EXISTS ledger_streams, ledger_outbox;
"""


def install(owner_dsns: Mapping[str, str]) -> list[str]:
    """Begin to watch, as the owner, in each service's database; the services that were not watched before."""
    begun = []
    for service, dsn in owner_dsns.items():
        with connect(service, dsn, read_only=False) as connection:
            if not is_watched(connection):
                connection.execute(INSTALL)
                begun.append(service)
    return begun


def remove(owner_dsns: Mapping[str, str]) -> list[str]:
    """Stop watching and drop the copies; the services that were watched."""
    ended = []
    for service, dsn in owner_dsns.items():
        with connect(service, dsn, read_only=False) as connection:
            if is_watched(connection):
                ended.append(service)
            connection.execute(REMOVE)
    return ended


def is_watched(connection: psycopg.Connection) -> bool:
    """Whether the copies are there."""
    row = connection.execute("SELECT to_regclass('public.ledger_outbox') IS NOT NULL").fetchone()
    return bool(row and row[0])
