"""The worker's loop that fetches stale profiles from signup, by reference and in batches."""

import asyncio

from services.matching.actions.people import UNKNOWN_RETRY_SECONDS, take_profiles
from services.matching.store import people
from shared.directory import Profiles
from shared.errors import TryAgain
from shared.log import get_logger
from shared.messages import MAX_ITEMS
from shared.web.internal import InternalClient
from shared.work import Workshop

log = get_logger("matching.profiles")

PATH = "/internal/profiles"


async def refresh(workshop: Workshop, signup: InternalClient) -> int:
    """Fetch one batch of stale people, outside any transaction, and take it in; returns how many were stale.

    Raises TryAgain when signup is away: nothing changed, they are still stale.
    """
    stale = await people.find_stale(workshop.pool, MAX_ITEMS)
    if not stale:
        return 0
    answer = await signup.post(PATH, {"person_ids": [str(person_id) for person_id in sorted(stale)]})
    profiles = Profiles.model_validate(answer).profiles
    async with workshop.begin() as work:
        await take_profiles(work, stale, profiles)
    return len(stale)


async def run(workshop: Workshop, signup: InternalClient, every_seconds: float) -> None:
    """Refresh until cancelled: at once while there are more, slower while signup is away."""
    while True:
        try:
            taken = await refresh(workshop, signup)
        except TryAgain as away:
            log.warning("profiles_put_off", error=str(away))
            await asyncio.sleep(min(UNKNOWN_RETRY_SECONDS, 5 * every_seconds))
            continue
        if taken < MAX_ITEMS:
            await asyncio.sleep(every_seconds)
