"""Entering the queue."""

from uuid import UUID

from services.matching.store import people, queue
from shared.events.matching import Purpose
from shared.people import resolve
from shared.work import Work


async def enqueue(work: Work, person_id: UUID, purpose: Purpose = "one_on_one") -> bool:
    """Put a person in the queue now; false when they are there already, in whatever state.

    The wait counts from now. A person this service has not heard of yet is fetched first; asking them for hours
    happens once their profile is known.
    """
    current = (await resolve(work.connection, [person_id]))[person_id]
    await people.ensure(work.connection, [current])
    return await queue.insert_entry(work.connection, current, purpose, work.now, work.now)
