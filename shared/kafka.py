"""Kafka connections that are lost are told as lost: what aiokafka leaves out on uvloop.

A connection that its other end has reset is closed by uvloop at once, and told to be closed a moment later. Who writes
in between meets a RuntimeError, where asyncio's own loop takes the bytes and says nothing. aiokafka expects an OSError
(`AIOKafkaConnection.send`), so the RuntimeError ends whatever task was writing. If that is the client's metadata task,
every later request waits for it without end: a worker that looks well and reads nothing any more.
"""

from typing import Any

import aiokafka.conn
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError, KafkaError


class Connection(AIOKafkaConnection):  # type: ignore[misc]
    """A connection whose `send` fails as aiokafka expects."""

    def send(self, request: Any, expect_response: bool = True) -> Any:
        """As aiokafka's; raises `KafkaConnectionError` also for a transport that uvloop has closed."""
        try:
            return super().send(request, expect_response)
        except KafkaError:
            raise
        except RuntimeError as closed:
            self.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(f"Connection at {self.host}:{self.port} broken: {closed}") from closed


def mend_connections() -> None:
    """Have every client of this process make such connections."""
    aiokafka.conn.AIOKafkaConnection = Connection
