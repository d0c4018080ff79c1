"""A running matching service for the tests of group calls, and what they do again and again."""

import datetime as dt
from typing import Any, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from services.matching.store.intro_calls_people import IntroPerson, upsert_people
from services.matching.web.intro_calls_messages import message_data
from shared.events import Event
from shared.events.envelope import new_id
from shared.events.signup import PersonConfirmed
from shared.inbox import Record
from shared.messages import Item
from shared.service import Service
from shared.web.sessions import Principal
from tests.harness import (
    CLUSTER,
    Database,
    as_records,
    client_of,
)

E = TypeVar("E", bound=Event)

STAFF = Principal(new_id(), frozenset({"staff"}), account_id=new_id())


class Stage:
    """A running service, its database, and what tests do again and again."""

    def __init__(self, service: Service, database: Database) -> None:
        self.service = service
        self.database = database
        self.settings = service.context.settings

    async def now(self) -> dt.datetime:
        moment: dt.datetime = await self.service.context.pool.fetchval("SELECT business_now()")
        return moment

    async def schedule(self, *, days: int = 7, **changes: Any) -> dict[str, Any]:
        """A call so many days ahead at 18:30 in Chicago, counted by Chicago's days."""
        day = (await self.now()).astimezone(ZoneInfo("America/Chicago")).date() + dt.timedelta(days=days)
        body = {
            "title": "Thinking about running?",
            "date": day.isoformat(),
            "time": "18:30",
            "time_zone": "America/Chicago",
            "join_url": "https://calls.example/abc",
            **changes,
        }
        async with client_of(self.service, STAFF) as client:
            answer = await client.post("/v1/intro-calls", json=body)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def staff(self, path: str, body: dict[str, Any] | None = None) -> Any:
        async with client_of(self.service, STAFF) as client:
            return await client.post(path, json=body)

    async def people(self, count: int, **changes: Any) -> list[UUID]:
        """So many prospects who have confirmed, invited to nothing."""
        ids = [new_id() for _ in range(count)]
        facts = {"language": "en", "tracks": (), "time_zone": "America/New_York", "prospect": True, **changes}
        async with self.service.context.workshop.begin() as work:
            await upsert_people(work.connection, [IntroPerson(i, confirmed_at=work.now, **facts) for i in ids])
        return ids

    async def confirm(self, *ids: UUID, **changes: Any) -> list[Record]:
        """Deliver `PersonConfirmed` of these people through the inbox; the records, to deliver them again."""
        facts = {"roles": ("prospect",), "language": "en", "time_zone": "America/New_York", **changes}
        events = [PersonConfirmed(person_id=i, signup_id=i, **facts) for i in ids]
        records = await as_records(self.service, events)
        await self.service._inbox.take(records, cluster_id=CLUSTER)
        return records

    async def answer(self, call: dict[str, Any], person_id: UUID, answer: str = "going") -> Any:
        async with client_of(self.service, Principal(person_id)) as client:
            return await client.post(f"/v1/intro-calls/{call['intro_call_id']}/answer", json={"answer": answer})

    async def going(self, call: dict[str, Any]) -> tuple[int, int]:
        """The counter, and the rows it counts."""
        [(counter, rows)] = await self.database.fetch(
            "SELECT going, (SELECT count(*) FROM intro_seats WHERE intro_call_id = $1 AND state = 'going')"
            " FROM intro_calls WHERE intro_call_id = $1",
            UUID(call["intro_call_id"]),
        )
        return counter, rows

    async def said(self, template: str, person_id: UUID, call: dict[str, Any]) -> Any:
        item = Item(id="1", template=template, person_id=person_id, reference=call["intro_call_id"])
        async with self.service.context.workshop.begin() as work:
            return await message_data(work.connection, item, settings=self.settings, program=work.program, now=work.now)


def only(events: list[Event], kind: type[E]) -> list[E]:
    """The events of one type."""
    return [event for event in events if isinstance(event, kind)]
