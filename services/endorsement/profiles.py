"""What signup knows of an applicant, fetched by reference before a transaction begins."""

from uuid import UUID

from shared.directory import Profile, Profiles
from shared.errors import TryAgain, Unprocessable
from shared.log import get_logger
from shared.web.internal import InternalClient

log = get_logger("endorsement.profiles")

PATH = "/internal/profiles"


class ProfileReader:
    """Reads one profile at a time; what cannot be read is a fact that is not known, never a failure."""

    def __init__(self, client: InternalClient) -> None:
        self._client = client

    async def read(self, person_id: UUID) -> Profile | None:
        """The profile; None when signup is away, refuses, or does not know the person."""
        try:
            answer = await self._client.post(PATH, {"person_ids": [str(person_id)]})
        except (TryAgain, Unprocessable) as fault:
            log.warning("profile_not_read", person_id=str(person_id), error=type(fault).__name__)
            return None
        profiles = Profiles.model_validate(answer).profiles
        return profiles[0] if profiles else None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
