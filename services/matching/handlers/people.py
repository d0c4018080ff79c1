"""What signup tells about people: it only marks them stale, the worker then fetches them by reference.

Both parts of the service live on this projection; whoever needs to act on a newly confirmed person does so in
`actions.people.take_profiles`, after the profile arrived, whatever the order of events.
"""

from collections.abc import Sequence

from services.matching.store import people
from shared.events.envelope import Received
from shared.events.signup import PersonConfirmed, ProfileChanged, RoleAdded
from shared.inbox import Routes
from shared.people import resolve
from shared.work import Work


async def on_person_changed(work: Work, events: Sequence[Received]) -> None:
    """Mark the people stale. A repeat marks them once more, which costs one fetch and changes nothing."""
    told = {event.event.person_id for event in events}  # type: ignore[attr-defined]
    current = await resolve(work.connection, told)
    await people.mark_stale(work.connection, sorted(set(current.values())))


PEOPLE_ROUTES: Routes = {
    PersonConfirmed: on_person_changed,
    RoleAdded: on_person_changed,
    ProfileChanged: on_person_changed,
}
