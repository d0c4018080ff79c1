"""People for the tests of matching, brought in the way the service gets them: by events and fetched profiles."""

import datetime as dt
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx

from services.matching import profiles
from services.matching.app import SERVICE
from services.matching.leader import Leader
from services.matching.settings import Settings
from shared.directory import AvailabilityWindow, Contact, Contacts, Profile, Profiles
from shared.events.envelope import new_id
from shared.events.signup import PersonConfirmed
from shared.service import Service
from shared.web.internal import InternalClient
from shared.web.sessions import Principal
from tests.conftest import DatabaseFactory
from tests.harness import PROGRAM_2017, Database, deliver, make_settings, running

EVENINGS = tuple((day, "17:00", "21:00") for day in range(7))
STAFF = Principal(new_id(), frozenset({"staff"}), account_id=new_id())


class Signup:
    """Signup's internal interface, answering from memory over HTTP."""

    def __init__(self) -> None:
        self.profiles: dict[UUID, Profile] = {}
        self.asked: list[int] = []

    def client(self) -> InternalClient:
        """A client of the kind the service uses, with this as its far end."""
        client = InternalClient("http://signup.test", "token")
        client._client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer), base_url="http://signup.test")
        return client

    def _answer(self, request: httpx.Request) -> httpx.Response:
        ids = [UUID(text) for text in json.loads(request.content)["person_ids"]]
        self.asked.append(len(ids))
        found = [self.profiles[person_id] for person_id in ids if person_id in self.profiles]
        if request.url.path == "/internal/profiles":
            return httpx.Response(200, json=Profiles(profiles=tuple(found)).model_dump(mode="json"))
        contacts = tuple(
            Contact(
                person_id=p.person_id,
                current_id=p.current_id,
                name=f"{p.name} Whole",
                email=f"{p.name.lower()}@example.org",
                phone="+13125550100",
                language=p.language,
                time_zone=p.time_zone,
                state=p.state,
                confirmed=True,
                consents={"email": True},
                legal_body="political",
            )
            for p in found
        )
        return httpx.Response(200, json=Contacts(contacts=contacts).model_dump(mode="json"))


class World:
    """A running matching service with people in it."""

    def __init__(self, service: Service, database: Database) -> None:
        self.service = service
        self.database = database
        self.signup = Signup()
        self.client = self.signup.client()
        settings = service.context.settings
        assert isinstance(settings, Settings)
        self.leader = Leader(service.context.workshop, settings)
        service.web_app.state.signup = self.client

    async def add(
        self,
        name: str,
        *roles: str,
        hours: Sequence[tuple[int, str, str]] = EVENINGS,
        zone: str = "America/Chicago",
        signed_up: dt.timedelta = dt.timedelta(days=3),
        languages: tuple[str, ...] = ("en",),
        **facts: Any,
    ) -> UUID:
        """A confirmed person whose profile is known to signup, and told of by an event."""
        now = await self.now()
        person_id = new_id()
        self.signup.profiles[person_id] = Profile(
            person_id=person_id,
            current_id=person_id,
            name=name,
            roles=roles,
            state=facts.get("state", "IL"),
            zip=None,
            birth_year=1990,
            office=facts.get("office"),
            tracks=facts.get("tracks", ()),
            language="en",
            spoken_languages=languages,
            time_zone=zone,
            availability=tuple(AvailabilityWindow(dow=d, start=s, end=e) for d, s, e in hours),
            signed_up_at=now - signed_up,
            confirmed_at=now - signed_up,
            answers=facts.get("answers", {}),
        )
        await deliver(self.service, self.confirmed(person_id))
        return person_id

    def confirmed(self, person_id: UUID) -> PersonConfirmed:
        """The event that tells of them."""
        roles = self.signup.profiles[person_id].roles
        return PersonConfirmed(person_id=person_id, signup_id=new_id(), roles=roles, language="en")

    async def now(self) -> dt.datetime:
        """Business time."""
        now: dt.datetime = await self.service.context.pool.fetchval("SELECT business_now()")
        return now

    async def refresh(self) -> int:
        """What the worker does with stale people."""
        return await profiles.refresh(self.service.context.workshop, self.client)

    async def round(self) -> list[UUID]:
        """One round of matching under a leadership of its own; the calls that are held."""
        async with self.leader.leadership() as epoch:
            assert epoch is not None
            return list((await self.leader.round(epoch)).held)

    async def call(self, call_id: UUID) -> dict[str, Any]:
        """A booking as it is stored."""
        row = await self.service.context.pool.fetchrow(
            "SELECT *, lower(during) AS starts_at, upper(during) AS ends_at FROM bookings WHERE call_id = $1", call_id
        )
        assert row is not None
        return dict(row)

    async def pair(self) -> tuple[UUID, UUID, UUID]:
        """A prospect, a volunteer, and the call held for them."""
        prospect, volunteer = await self.add("Ana", "prospect"), await self.add("Bo", "volunteer")
        await self.refresh()
        (call_id,) = await self.round()
        return prospect, volunteer, call_id

    async def pass_until(self, moment: dt.datetime) -> None:
        """Move the business clock to just after a moment."""
        await self.database.advance_clock(moment - await self.now() + dt.timedelta(seconds=1))


@asynccontextmanager
async def world(databases: DatabaseFactory, **changes: Any) -> AsyncIterator[World]:
    """A world under the program of 2017, which promises a call to all."""
    database = await databases("matching")
    values = {"program": PROGRAM_2017, **changes}
    async with running(SERVICE, make_settings(Settings, database, **values)) as service:
        made = World(service, database)
        try:
            yield made
        finally:
            await made.client.close()


def me(person_id: UUID) -> Principal:
    """A signed-in person without an account."""
    return Principal(person_id)
