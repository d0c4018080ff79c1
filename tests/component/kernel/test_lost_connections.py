"""A connection to Kafka that is lost at the worst moment, and a consumer that can't be stopped any more."""

import asyncio
import signal
from types import SimpleNamespace
from typing import Any, cast

import aiokafka.conn
import pytest
import uvloop
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from deploy.embedded.kafka import Kafka
from shared import service
from shared.broker import Consumer
from shared.kafka import mend_connections
from shared.service import Service


def write_to_closed(bootstrap: str) -> None:
    """Send a request on a connection that uvloop has closed, before aiokafka is told so."""

    async def send() -> None:
        host, _, port = bootstrap.partition(":")
        connection = await create_conn(host, int(port))
        # Who reads would be told at the next turn of the loop; whoever writes before is not.
        connection._read_task.cancel()
        connection._writer.transport.abort()
        await asyncio.sleep(0.05)
        try:
            await connection.send(MetadataRequest([]))
        finally:
            connection.close()
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(send())


def test_write_to_a_connection_that_uvloop_has_closed_is_told_as_a_lost_connection(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiokafka.conn, "AIOKafkaConnection", aiokafka.conn.AIOKafkaConnection)
    # What it is without: the day this stops to raise, the mending may go.
    with pytest.raises(RuntimeError, match="the handler is closed"):
        write_to_closed(kafka.bootstrap)
    mend_connections()
    with pytest.raises(KafkaConnectionError, match="broken"):
        write_to_closed(kafka.bootstrap)


class Stuck:
    """A consumer of which some task waits for what never comes."""

    async def stop(self) -> None:
        """Never returns."""
        await asyncio.Event().wait()


async def test_consumer_that_does_not_stop_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LEAVE_SECONDS", 0.05)
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, asked.set)
    try:
        await Service._leave(cast(Any, SimpleNamespace()), cast(Consumer, Stuck()))
        async with asyncio.timeout(5):
            await asked.wait()
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
