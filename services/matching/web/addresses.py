"""Links of this service, made when they are shown or sent; each token opens one thing for one party."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Request

from shared.errors import NotFound
from shared.links import derive, matches
from shared.settings import ServiceSettings

Side = Literal["prospect", "volunteer"]
SIDES: tuple[Side, Side] = ("prospect", "volunteer")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Absolute addresses with their tokens."""

    base: str
    secret: str

    @classmethod
    def of(cls, settings: ServiceSettings) -> "Addresses":
        """Those under the service's public address."""
        return cls(settings.public_url("matching"), settings.link_secret.get_secret_value())

    def offer(self, call_id: UUID) -> str:
        """The prospect answers here."""
        return f"{self.base}/calls/offer/{call_id}/{derive(self.secret, 'offer', str(call_id))}"

    def attest(self, call_id: UUID) -> str:
        """The volunteer says here how it went."""
        return f"{self.base}/calls/attest/{call_id}/{derive(self.secret, 'attest', str(call_id))}"

    def call(self, call_id: UUID, side: Side, part: str = "") -> str:
        """One party's page of a call, or a `part` of it such as `/calendar.ics`."""
        token = derive(self.secret, "call", f"{call_id}:{side}")
        return f"{self.base}/calls/{call_id}{part}?{urlencode({'token': token})}"

    def availability(self, person_id: UUID) -> str:
        """The person states their hours here."""
        token = derive(self.secret, "availability", str(person_id))
        return f"{self.base}/availability?{urlencode({'person': str(person_id), 'token': token})}"

    def rejoin(self, person_id: UUID) -> str:
        """The prospect gets (back) in line here."""
        return f"{self.base}/calls/rejoin/{person_id}/{derive(self.secret, 'rejoin', str(person_id))}"

    def check(self, purpose: str, reference: UUID, token: str) -> None:
        """Raise NotFound unless the token is the link's."""
        if not matches(self.secret, purpose, str(reference), token):
            raise NotFound

    def side_of(self, call_id: UUID, token: str) -> Side:
        """Whose link this is. Raises NotFound."""
        for side in SIDES:
            if matches(self.secret, "call", f"{call_id}:{side}", token):
                return side
        raise NotFound


def addresses(request: Request) -> Addresses:
    """Dependency: the service's addresses."""
    return Addresses.of(request.app.state.settings)
