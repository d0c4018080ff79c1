"""Topics as an outsider reads them: with kcat, which shares no code with the product."""

import asyncio
import json
import shutil
from dataclasses import dataclass
from typing import Any

from shared.events.topics import ALL_TOPICS, Topic
from tests.flow.conftest import System
from tests.flow.visitor import until


@dataclass(frozen=True, slots=True)
class Seen:
    """One record."""

    key: str
    headers: dict[str, str]
    value: bytes
    partition: int
    offset: int

    @property
    def data(self) -> dict[str, Any]:
        """The event's own fields."""
        found: dict[str, Any] = json.loads(self.value)
        return found


async def read_topic(system: System, topic: Topic) -> list[Seen]:
    """Every committed record of a topic, from its beginning to its end."""
    program = shutil.which("kcat") or shutil.which("kafkacat")
    assert program, "kcat is missing: install it (Debian: apt-get install kcat), or run `make test`, which does"
    process = await asyncio.create_subprocess_exec(
        *(program, "-b", system.endpoints["kafka"], "-t", topic.name, "-C", "-o", "beginning", "-e", "-q", "-J"),
        *("-X", "isolation.level=read_committed"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    return [_seen(json.loads(line)) for line in output.decode().splitlines()]


def _seen(record: dict[str, Any]) -> Seen:
    pairs = record.get("headers") or []
    return Seen(
        key=record["key"],
        headers=dict(zip(pairs[::2], pairs[1::2], strict=True)),
        value=record["payload"].encode(),
        partition=record["partition"],
        offset=record["offset"],
    )


async def events_of(system: System, topic: Topic, subject: str, event_type: str) -> list[Seen]:
    """The events of one type about one subject."""
    return [
        seen
        for seen in await read_topic(system, topic)
        if (seen.headers["ce_subject"], seen.headers["ce_type"]) == (subject, event_type)
    ]


AT_REST = {
    "outbox": "SELECT count(*) FROM outbox",
    "parked": "SELECT count(*) FROM parked",
    "quarantined": "SELECT count(*) FROM quarantined",
    "dead timers": "SELECT count(*) FROM timers WHERE dead",
    "due timers": "SELECT count(*) FROM timers WHERE NOT dead AND due_at <= business_now()",
}
# What waits for longer (a text for the morning, after a clock that was moved into the night) goes nowhere by itself;
# what is unknown without a time to act on it waits for an operator: its class allows no second copy.
UNSENT = """
    SELECT state, reason, count(*) FROM messages
    WHERE state IN ('claimed', 'handing')
       OR (state IN ('queued', 'deferred', 'unknown') AND due_at <= business_now() + interval '1 minute')
    GROUP BY 1, 2
"""
POSITIONS = "SELECT topic, partition, next_offset FROM inbox_offsets"


async def at_rest(system: System, *, seconds: float = 60) -> None:
    """Wait until nothing is under way any more: what is counted afterwards stays so.

    No event waits to be published or handled, none was set aside, no timer is due, no message within a minute.
    """
    left: dict[str, Any] = {}

    async def is_quiet() -> bool:
        left.clear()
        records = await asyncio.gather(*(read_topic(system, topic) for topic in ALL_TOPICS))
        ends: dict[tuple[str, int], int] = {}
        for topic, seen in zip(ALL_TOPICS, records, strict=True):
            for record in seen:
                place = (topic.name, record.partition)
                ends[place] = max(ends.get(place, 0), record.offset + 1)
        for service in ("signup", "matching", "notifications", "endorsement"):
            taken = {(topic, part): offset for topic, part, offset in await system.fetch(service, POSITIONS)}
            topics = {topic for topic, _part in taken}
            behind = [place for place, end in ends.items() if place[0] in topics and taken.get(place, 0) < end]
            if behind:
                left[f"{service} has to read"] = behind
            for what, sql in AT_REST.items():
                if (count := (await system.fetch(service, sql))[0][0]) > 0:
                    left[f"{service} {what}"] = count
        if unsent := await system.fetch("notifications", UNSENT):
            left["unsent messages"] = unsent
        return not left

    try:
        await until(is_quiet, "the system to come to rest", seconds=seconds)
    except AssertionError:
        raise AssertionError(f"the system does not come to rest: {left}") from None
