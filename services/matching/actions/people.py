"""Taking profiles that were fetched from signup into the projection, and what follows from them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import time
from uuid import UUID

from services.matching.actions import queue as entering
from services.matching.actions.intro_calls import on_profiles_fetched
from services.matching.domain.availability import AvailabilityError, Window, zone_of
from services.matching.domain.facts import facts_of
from services.matching.store import availability, people, queue
from services.matching.store.availability import Availability
from shared.directory import Profile
from shared.work import Work

UNKNOWN_RETRY_SECONDS = 30.0


async def take_profiles(work: Work, fetched: Mapping[UUID, int], profiles: Sequence[Profile]) -> list[UUID]:
    """Store profiles, each under the version it was fetched for; returns the people who are new to this service.

    People without an answer are unknown to signup yet: looked up again later. A confirmed prospect enters the queue
    where the program promises a call to all and wants no intro call before it; those whose hours are needed are
    asked for them. Repeating it changes nothing.
    """
    told = {profile.person_id: profile for profile in profiles}
    await people.put_off(work.connection, [p for p in fetched if p not in told], UNKNOWN_RETRY_SECONDS)
    before = await people.get_people(work.connection, list(told))
    merged = sorted({p.current_id for p in profiles if p.current_id != p.person_id})
    await people.ensure(work.connection, merged)
    new: list[UUID] = []
    for person_id in sorted(told):
        profile = told[person_id]
        if not await _store(work, profile, fetched.get(person_id, 0)) or profile.current_id != person_id:
            continue
        await _take_hours(work, profile)
        if profile.confirmed_at is None:
            continue
        if before[person_id]["confirmed_at"] is None:
            new.append(person_id)
        promised = work.program.one_on_one.promised_to_all and not entering.needs_intro_call(work)
        if promised and "prospect" in profile.roles:
            await entering.enqueue(work, person_id)
    await entering.ask_for_hours(work, sorted(told))
    await on_profiles_fetched(work, profiles)
    return new


async def _store(work: Work, profile: Profile, version: int) -> bool:
    """Whether this version was newer. An id that was merged away keeps no role: its successor acts."""
    row = await work.connection.fetchval(
        people.UPSERT_PROFILE,
        profile.person_id,
        version,
        profile.name,
        list(profile.roles) if profile.current_id == profile.person_id else [],
        profile.language,
        sorted(set(profile.spoken_languages) or {profile.language}),
        profile.time_zone,
        profile.state,
        profile.office,
        list(profile.tracks),
        {name: sorted(v) if isinstance(v, frozenset) else v for name, v in asdict(facts_of(profile.answers)).items()},
        profile.signed_up_at,
        profile.confirmed_at,
    )
    return row is not None


async def _take_hours(work: Work, profile: Profile) -> None:
    """The form's hours are the first ones; a person's own replace them for good."""
    if not profile.availability:
        return
    try:
        zone = zone_of(profile.time_zone or work.program.organization.time_zone).key
    except AvailabilityError:
        zone = work.program.organization.time_zone
    windows = tuple(
        Window(w.dow, time.fromisoformat(w.start), time(0) if w.end == "24:00" else time.fromisoformat(w.end))
        for w in profile.availability
        if w.start < w.end
    )
    stated = Availability(person_id=profile.person_id, time_zone=zone, windows=windows, own=False)
    known = (await availability.get_many(work.connection, [profile.person_id])).get(profile.person_id)
    same = known is not None and (known.windows, known.time_zone) == (tuple(sorted(windows, key=_place)), zone)
    if not same and await availability.upsert(work.connection, stated, work.now):
        await queue.mark_new(work.connection, profile.person_id, work.now)


def _place(window: Window) -> tuple[int, time]:
    return window.dow, window.start
