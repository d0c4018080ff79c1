"""Entering the queue, asking for hours, coming back."""

from uuid import UUID

from services.matching.store import people, queue
from shared.errors import Rejected, TryAgain
from shared.events.matching import AvailabilityRequested, Purpose
from shared.people import resolve
from shared.web.text import _
from shared.work import Work

# Locks the people that are asked, so that two who ask at once ask once. Served by the primary key.
MARK_ASKED = """
    UPDATE people SET hours_asked_at = $2
    WHERE person_id = ANY($1::uuid[]) AND hours_asked_at IS NULL AND confirmed_at IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM availability_windows w WHERE w.person_id = people.person_id)
      AND ('volunteer' = ANY(roles) OR EXISTS (SELECT 1 FROM queue_entries q WHERE q.person_id = people.person_id
                                               AND q.state = 'waiting'))
    RETURNING person_id, 'volunteer' = ANY(roles) AS gives
"""


async def enqueue(work: Work, person_id: UUID, purpose: Purpose = "one_on_one") -> bool:
    """Put a person in the queue; false when they are there already, in whatever state.

    The wait counts from the sign-up. A person this service has not heard of yet is fetched first; they are asked
    for their hours once their profile is known.
    """
    current = (await resolve(work.connection, [person_id]))[person_id]
    await people.ensure(work.connection, [current])
    known = (await people.get_people(work.connection, [current]))[current]
    entered = await queue.insert_entry(work.connection, current, purpose, known["signed_up_at"] or work.now, work.now)
    if entered:
        await ask_for_hours(work, [current])
    return entered


async def ask_for_hours(work: Work, person_ids: list[UUID]) -> None:
    """Ask those whose turn it is and who have stated none: once in their life."""
    for row in await work.connection.fetch(MARK_ASKED, person_ids, work.now):
        role = "volunteer" if row["gives"] else "prospect"
        work.emit(AvailabilityRequested(person_id=row["person_id"], role=role))


def needs_intro_call(work: Work) -> bool:
    """Whether the program wants a group call before a one-on-one."""
    return any(stage.id == "one_on_one" and "intro_call" in stage.requires for stage in work.program.stages)


async def request(work: Work, person_id: UUID, purpose: Purpose = "one_on_one") -> None:
    """A prospect asks for a call, for the first time or after they were parked.

    Raises Rejected, or TryAgain while what signup says of the person is on its way.
    """
    current = (await resolve(work.connection, [person_id]))[person_id]
    known = (await people.get_people(work.connection, [current])).get(current)
    if known is None or known["confirmed_at"] is None or "prospect" not in known["roles"]:
        if known is not None and known["stale_version"] > known["fetched_version"]:
            raise TryAgain("the person's profile is not fetched yet")
        raise Rejected(
            "not_a_prospect",
            _("One-on-one calls are for people who think about running. Sign up for that first, and confirm it."),
            status=403,
        )
    entry = await queue.lock_entry(work.connection, current, purpose)
    if entry is None and needs_intro_call(work):
        raise Rejected("intro_call_first", _("Come to an intro call first; your one-on-one call follows it."))
    if entry is None:
        await enqueue(work, current, purpose)
    elif entry["state"] == "parked":
        await queue.mark_waiting(work.connection, entry, work.now, no_shows=0)
        await ask_for_hours(work, [current])
    elif entry["state"] == "done":
        raise Rejected("already_had", _("You have had your one-on-one call. Write to us if you need another one."))
    else:
        raise Rejected("already_waiting", _("You are already in line. We write to you as soon as we have a time."))
