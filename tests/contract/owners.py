"""The owners of facts that messages need: the real services on databases of their own, and the tests' fake.

Both answer notifications' own client. The real ones are walked along one person's path, from the sign-up to an
endorsement that is withdrawn; `moments` tells each message at the moment when it applies.
"""

import datetime as dt
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from uuid import UUID, uuid4

import httpx

from services.endorsement.app import SERVICE as ENDORSEMENT
from services.endorsement.profiles import ProfileReader
from services.endorsement.settings import Settings as EndorsementSettings
from services.matching import profiles
from services.matching.app import SERVICE as MATCHING
from services.matching.domain.calls import FOLLOW_UPS
from services.matching.leader import Leader
from services.matching.settings import Settings as MatchingSettings
from services.signup.app import SERVICE as SIGNUP
from services.signup.settings import Settings as SignupSettings
from shared.events import Event
from shared.events.matching import CallBooked, MatchOffered
from shared.events.signup import PersonConfirmed, ProfileChanged, RoleAdded, SignedUp, SignInRequested
from shared.messages import Data
from shared.service import Service
from shared.web.internal import InternalClient
from shared.web.sessions import Principal
from tests.component.endorsement import scenes
from tests.component.notifications.conftest import Outside
from tests.component.signup.conftest import a_signup, link_token
from tests.conftest import DatabaseFactory
from tests.harness import Database, client_of, deliver, fire_timers, internal_token, make_settings, running, take_outbox
from tests.unit.notifications.samples import contact

OWNERS = ("signup", "matching", "endorsement")
E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class Moment:
    """A message that applies now."""

    template: str
    person_id: UUID
    reference: str


class Owners(Protocol):
    """Who answers notifications, and when there is something to say."""

    @property
    def clients(self) -> Mapping[str, InternalClient]:
        """A client of each, with the credential of notifications."""

    def moments(self) -> AsyncIterator[Moment]:
        """Every template at least once, each told while it applies."""

    def forget(self, reference: str) -> None:
        """Have a reference unknown."""


def client_to(app: Any, name: str, caller: str) -> InternalClient:
    """The client that `caller` uses, with the application as its far end."""
    return InternalClient(
        f"http://{name}.test",
        internal_token(caller),
        transport=httpx.ASGITransport(app=app, raise_app_exceptions=False),
    )


class Fake:
    """What component tests of notifications put in the owners' place: a sample for every template."""

    def __init__(self) -> None:
        self._outside = Outside()
        app = self._outside.app()
        self.clients = {name: client_to(app, name, "notifications") for name in OWNERS}

    async def moments(self) -> AsyncIterator[Moment]:
        """Each template about a person of its own."""
        for template in Data.registry:
            person = uuid4()
            self._outside.know(contact(person))
            yield Moment(template, person, str(uuid4()))

    def forget(self, reference: str) -> None:
        """Answer that it is gone."""
        self._outside.gone.add(reference)


class Real:
    """The services, wired as production wires them, without their background loops."""

    def __init__(self, services: Mapping[str, Service], databases: Mapping[str, Database], language: str) -> None:
        self.signup, self.matching, self.endorsement = (services[name] for name in OWNERS)
        self.databases = databases
        self.language = language
        self.clients = {name: client_to(service.web_app, name, "notifications") for name, service in services.items()}
        self._profiles = client_to(self.signup.web_app, "signup", "matching")
        self.matching.web_app.state.signup = self._profiles
        self.endorsement.web_app.state.profiles = ProfileReader(client_to(self.signup.web_app, "signup", "endorsement"))
        settings = self.matching.context.settings
        assert isinstance(settings, MatchingSettings)
        self._leader = Leader(self.matching.context.workshop, settings)

    def forget(self, reference: str) -> None:
        """Nothing to do: no service ever heard of it."""

    async def moments(self) -> AsyncIterator[Moment]:
        """From the sign-up to the end."""
        for part in (self._signing_up, self._group_calls, self._one_on_one, self._endorsing):
            async for moment in part():
                yield moment

    # ------------------------------------------------------------ signup

    async def _sign_up(self, name: str, form: str = "run") -> tuple[UUID, str]:
        """Person and sign-up."""
        body = a_signup(
            form=form,
            name=f"{name} Ortiz-Núñez",
            email=f"{name.lower()}@example.org",
            language=self.language,
            time_zone="America/Chicago",
            office="city_council" if form == "run" else None,
            consents=[{"channel": "email"}],
        )
        async with client_of(self.signup) as client:
            answer = await client.post("/v1/signups", json=body, headers={"Idempotency-Key": str(uuid4())})
        assert answer.status_code == 202, answer.text
        told = [event for event in await take_outbox(self.signup) if isinstance(event, SignedUp)]
        return told[0].person_id, answer.json()["signup_id"]

    async def _confirm(self, signup_id: str) -> None:
        token = await link_token(self.signup, signup_id)
        async with client_of(self.signup) as client:
            answer = await client.post("/v1/confirmations", json={"token": token})
        assert answer.status_code == 200, answer.text
        await self._relay()

    async def _relay(self) -> None:
        """What signup told, to matching, which then fetches the profiles."""
        read = (PersonConfirmed, ProfileChanged, RoleAdded)
        await deliver(self.matching, *(event for event in await take_outbox(self.signup) if isinstance(event, read)))
        while await profiles.refresh(self.matching.context.workshop, self._profiles):
            pass

    async def _signing_up(self) -> AsyncIterator[Moment]:
        self.ana, signup_id = await self._sign_up("Ana")
        yield Moment("welcome_confirm", self.ana, signup_id)
        await self._confirm(signup_id)
        yield Moment("confirmed_welcome", self.ana, str(self.ana))
        _person, again = await self._sign_up("Ana")
        yield Moment("already_known", self.ana, again)
        async with client_of(self.signup) as client:
            asked = await client.post("/v1/account/sign-in", json={"email": "ana@example.org"})
        assert asked.status_code == 202, asked.text
        await fire_timers(self.signup)
        link = _one(await take_outbox(self.signup), SignInRequested)
        yield Moment("sign_in", self.ana, str(link.link_id))

    # ------------------------------------------------------------ matching

    async def _ask(self, who: Principal, method: str, path: str, body: Any = None) -> Any:
        async with client_of(self.matching, who) as client:
            answer = await client.request(method, path, json=body)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    async def _now(self) -> dt.datetime:
        moment: dt.datetime = await self.matching.context.pool.fetchval("SELECT business_now()")
        return moment

    async def _until(self, moment: dt.datetime) -> None:
        await self.databases["matching"].advance_clock(moment - await self._now() + dt.timedelta(minutes=1))
        await fire_timers(self.matching)

    async def _schedule(self, days: int, capacity: int) -> Any:
        day = (await self._now()).date() + dt.timedelta(days=days)
        body = {
            "title": "Thinking about running?",
            "date": day.isoformat(),
            "time": "18:30",
            "time_zone": "America/Chicago",
            "join_url": "https://calls.example/abc",
            "language": self.language,
            "capacity": capacity,
        }
        return await self._ask(scenes.STAFF, "POST", "/v1/intro-calls", body)

    async def _group_calls(self) -> AsyncIterator[Moment]:
        self.bea, signup_id = await self._sign_up("Bea")
        await self._confirm(signup_id)
        ana, bea = Principal(self.ana), Principal(self.bea)
        call = await self._schedule(3, capacity=1)
        reference = call["intro_call_id"]
        path = f"/v1/intro-calls/{reference}/answer"
        yield Moment("intro_invitation", self.ana, reference)
        await self._ask(ana, "POST", path, {"answer": "going"})
        yield Moment("intro_confirmed", self.ana, reference)
        yield Moment("intro_reminder", self.ana, reference)
        await self._ask(bea, "POST", path, {"answer": "going"})
        yield Moment("intro_waiting", self.bea, reference)
        await self._ask(ana, "POST", path, {"answer": "declined"})
        yield Moment("intro_promoted", self.bea, reference)
        cancelled = await self._schedule(5, capacity=9)
        await self._ask(ana, "POST", f"/v1/intro-calls/{cancelled['intro_call_id']}/answer", {"answer": "going"})
        await self._ask(scenes.STAFF, "POST", f"/v1/intro-calls/{cancelled['intro_call_id']}/cancel")
        yield Moment("intro_cancelled", self.ana, cancelled["intro_call_id"])
        following = await self._schedule(7, capacity=9)
        await self._until(dt.datetime.fromisoformat(call["ends_at"]))
        await self._ask(scenes.STAFF, "POST", f"/v1/intro-calls/{reference}/attendance", {"missed": [str(self.bea)]})
        yield Moment("intro_missed", self.bea, reference)
        path = f"/v1/intro-calls/{following['intro_call_id']}"
        await self._ask(ana, "POST", f"{path}/answer", {"answer": "going"})
        await self._until(dt.datetime.fromisoformat(following["ends_at"]))
        await self._ask(scenes.STAFF, "POST", f"{path}/attendance", {"attended": [str(self.ana)]})

    async def _offer(self) -> MatchOffered:
        """One round of matching; what it offers."""
        await take_outbox(self.matching)
        async with self._leader.leadership() as epoch:
            assert epoch is not None
            await self._leader.round(epoch)
        return _one(await take_outbox(self.matching), MatchOffered)

    async def _book(self) -> CallBooked:
        """An offer that Ana says yes to."""
        offer = await self._offer()
        await self._ask(Principal(self.ana), "POST", f"/v1/calls/{offer.call_id}/accept")
        return _one(await take_outbox(self.matching), CallBooked)

    async def _one_on_one(self) -> AsyncIterator[Moment]:
        ana = Principal(self.ana)
        evenings = {
            "time_zone": "America/Chicago",
            "windows": [{"dow": day, "start": "17:00", "end": "21:00"} for day in range(7)],
            "away": [],
            "weekly_cap": None,
            "paused": False,
        }
        volunteers = []
        for name in ("Bo", "Cy", "Di"):
            volunteer, signup_id = await self._sign_up(name, "volunteer")
            await self._confirm(signup_id)
            volunteers.append(volunteer)
        yield Moment("availability_request", volunteers[0], str(volunteers[0]))
        for person in (*volunteers, self.ana):
            await self._ask(Principal(person), "PUT", "/v1/availability", evenings)
        if (await self._ask(ana, "GET", "/v1/calls"))["queue"]["state"] is None:
            await self._ask(ana, "POST", "/v1/calls/request")

        offer = await self._offer()
        yield Moment("match_offer", self.ana, str(offer.call_id))
        await self._until(offer.expires_at)
        yield Moment("match_expired", self.ana, str(offer.call_id))

        call = await self._book()
        yield Moment("call_booked", self.ana, str(call.call_id))
        yield Moment("call_booked_volunteer", call.volunteer_id, str(call.call_id))
        yield Moment("call_reminder", self.ana, str(call.call_id))
        yield Moment("call_reminder", call.volunteer_id, str(call.call_id))
        await self._ask(ana, "POST", f"/v1/calls/{call.call_id}/cancel")
        yield Moment("call_cancelled", self.ana, str(call.call_id))
        yield Moment("call_cancelled", call.volunteer_id, str(call.call_id))

        await self._ask(ana, "POST", "/v1/calls/request")
        call = await self._book()
        await self._until(call.ends_at)
        yield Moment("attest_request", call.volunteer_id, str(call.call_id))
        path = f"/v1/calls/{call.call_id}/attest"
        await self._ask(Principal(call.volunteer_id), "POST", path, {"missed_by": "prospect"})
        yield Moment("call_missed", self.ana, str(call.call_id))

        call = await self._book()
        await self._until(call.ends_at)
        agreed = {"outcome": "will_run", "follow_ups": list(FOLLOW_UPS)}
        await self._ask(Principal(call.volunteer_id), "POST", f"/v1/calls/{call.call_id}/attest", agreed)
        yield Moment("call_completed_followup", self.ana, str(call.call_id))

    # ------------------------------------------------------------ endorsement

    async def _endorsing(self) -> AsyncIterator[Moment]:
        service, candidate, other = self.endorsement, Principal(self.ana), Principal(self.bea)
        candidacy_id = await scenes.declared(service, candidate)
        path = f"/v1/candidacies/{candidacy_id}"
        back = {"reason": "other_name", "note": "Anna-Maria?"}
        await scenes.call(service, scenes.STAFF, "POST", f"{path}/return", back)
        yield Moment("filing_returned", self.ana, str(candidacy_id))
        await scenes.call(service, candidate, "PUT", path, await scenes.candidacy_body(service))
        await scenes.call(service, scenes.STAFF, "POST", f"{path}/confirmation")
        yield Moment("filing_confirmed", self.ana, str(candidacy_id))
        application_id = await scenes.drafted(service, candidacy_id, candidate)
        await scenes.call(service, candidate, "POST", f"/v1/applications/{application_id}/submission")
        yield Moment("application_received", self.ana, str(application_id))
        yield Moment("eligibility_result", self.ana, str(application_id))
        for reviewer in (scenes.OUTSIDER, scenes.INSIDER):
            await scenes.scored(service, application_id, reviewer)
        made = await scenes.call(
            service, scenes.STAFF, "POST", "/v1/decisions", scenes.endorse(application_id), status=201
        )
        yield Moment("decision_endorsed", self.ana, str(application_id))
        await self.databases["endorsement"].advance_clock(dt.timedelta(hours=73))
        path = f"/v1/decisions/{made['decision_id']}/announcement"
        public = await scenes.call(service, scenes.SECOND, "POST", path, status=201)
        yield Moment("endorsement_announced", self.ana, public["endorsement_id"])
        path = f"/v1/endorsements/{public['endorsement_id']}/rescission"
        await scenes.call(service, scenes.STAFF, "POST", path, {"reason": "left_race", "note": "Out."}, status=201)
        await scenes.call(service, scenes.SECOND, "POST", f"{path}/confirmation")
        yield Moment("endorsement_rescinded", self.ana, public["endorsement_id"])
        declined = await scenes.reviewed(service, other, district="7", ballot_name="Bea Ortiz")
        body = {"application_id": str(declined), "outcome": "decline", "reason": "conduct", "note": "No."}
        await scenes.call(service, scenes.STAFF, "POST", "/v1/decisions", body, status=201)
        yield Moment("decision_declined", self.bea, str(declined))


def _one(events: list[Event], kind: type[E]) -> E:
    (found,) = [event for event in events if isinstance(event, kind)]
    return found


@asynccontextmanager
async def real(databases: DatabaseFactory, language: str) -> AsyncIterator[Real]:
    """The three owners."""
    made = {name: await databases(name) for name in OWNERS}
    async with AsyncExitStack() as stack:
        services = {
            "signup": await stack.enter_async_context(
                running(SIGNUP, make_settings(SignupSettings, made["signup"], form_min_seconds=0))
            ),
            "matching": await stack.enter_async_context(
                running(MATCHING, make_settings(MatchingSettings, made["matching"]))
            ),
            "endorsement": await stack.enter_async_context(
                running(ENDORSEMENT, make_settings(EndorsementSettings, made["endorsement"]))
            ),
        }
        yield Real(services, made, language)
