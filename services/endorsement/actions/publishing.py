"""Publishing: one transaction writes the public events, the feed entry and a delivery per subscriber."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from services.endorsement.store import publication as store
from services.endorsement.store.decisions import Endorsement
from shared import outbox
from shared.events import Event
from shared.events.endorsement import Endorsed, EndorsementRescinded, EndorsementState
from shared.outbox import Outgoing
from shared.work import Work


def endorsed_event(endorsement: Endorsement) -> Endorsed:
    """The public event of an announcement."""
    return Endorsed(
        endorsement_id=endorsement.id,
        ballot_name=endorsement.ballot_name,
        office=endorsement.office,
        office_label=endorsement.office_label,
        office_level=endorsement.office_level,
        state=endorsement.state,
        district=endorsement.district,
        election_date=endorsement.election_date,
        organization=endorsement.organization,
        legal_body=endorsement.legal_body,
        program_version=endorsement.program_version,
        announced_at=endorsement.announced_at,
    )


def state_event(endorsement: Endorsement) -> EndorsementState:
    """The current state of an endorsement, as the compacted topic and the snapshot show it."""
    public = endorsed_event(endorsement).model_dump()
    return EndorsementState(
        **public,
        status="rescinded" if endorsement.status == "rescinded" else "endorsed",
        rescinded_at=endorsement.rescinded_at,
    )


async def publish(work: Work, endorsement: Endorsement, event: Endorsed | EndorsementRescinded) -> int:
    """Append the event and the state to their topics, the feed and the deliveries; returns the feed's cursor.

    The event has one id everywhere: on Kafka, in the feed, and as the webhook id, so whoever reads two of them can
    tell. The public streams are appended here rather than at the end, since the id is needed; their keys belong to
    this endorsement alone, whose candidacy is locked.
    """
    event_id, _state_id = await _append(work, event, state_event(endorsement))
    sequence = await store.get_sequence(work.connection, event.topic.name, event.key)
    structured = structured_event(event, event_id, work.source, work.now, sequence)
    body = orjson.dumps(structured).decode()
    cursor = await store.take_cursor(work.connection)
    await store.insert_entry(work.connection, cursor, event_id, endorsement.id, body, work.now)
    await store.insert_deliveries(work.connection, str(event_id), endorsement.id, event.type, body, work.now)
    return cursor


async def _append(work: Work, event: Event, state: Event) -> tuple[UUID, UUID]:
    outgoing = [Outgoing(each, work.now, work.correlation_id, work.causation_id) for each in (event, state)]
    # Topics sort as endorsements, state: the ids come back in that order.
    first, second = await outbox.append(work.connection, work.source, outgoing)
    return first, second


def structured_event(event: Event, event_id: UUID, source: str, time: datetime, sequence: int) -> dict[str, Any]:
    """CloudEvents 1.0 in structured JSON: the attributes that Kafka has as headers, and the same data."""
    return {
        "specversion": "1.0",
        "id": str(event_id),
        "source": f"/hustings/{source}",
        "type": event.type,
        "subject": event.key,
        "time": time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "dataschema": f"/schemas/{event.type}.json",
        "partitionkey": event.key,
        "sequence": f"{sequence:020d}",
        "data": event.model_dump(mode="json"),
    }
