"""What changes a person: a sign-up's link, their own page, a stop or a restart. The person's row is locked first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from services.signup.actions import links
from services.signup.store import people as store
from services.signup.store.people import ConsentRow
from shared.errors import NotFound, Rejected
from shared.events.signup import ConsentChanged, PersonConfirmed, ProfileChanged, RoleAdded
from shared.people import resolve
from shared.program import Channel, UnknownId
from shared.web.text import _
from shared.work import Work


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Whose address it is, and whether this was the first time that something of theirs was confirmed."""

    person_id: UUID
    first: bool


async def lock(work: Work, person_id: UUID) -> Mapping[str, Any]:
    """The person that the id goes by today, locked; `NotFound` when there is none."""
    current = (await resolve(work.connection, [person_id]))[person_id]
    person = await store.lock_person(work.connection, current)
    if person is None:
        raise NotFound
    return person


async def confirm(work: Work, token: str) -> Confirmed:
    """Use a confirmation link: its sign-up holds from now on.

    Emits `PersonConfirmed` with a person's first, `RoleAdded` for each role that is new, `ProfileChanged` and
    `ConsentChanged` for what really changed. Raises as `links.take`.
    """
    link = await links.take(work, "confirm", token)
    person = await lock(work, link["person_id"])
    person_id: UUID = person["id"]
    signup = await store.lock_signup(work.connection, link["signup_id"])
    assert signup is not None
    if signup["status"] == "applied":
        raise links.UsedLink
    first = not await store.has_applied(work.connection, await store.get_ids(work.connection, person_id))
    await store.mark_signup_applied(work.connection, signup["id"], work.now)
    await store.mark_confirmed(work.connection, person_id, work.now)
    # What nobody has confirmed may be somebody else's word: it is not added to.
    known = person["confirmed_at"] is not None or not first
    facts = merged(person, signup["facts"]) if known else {name: signup["facts"][name] for name in store.FACTS}
    changed = await _set_facts(work, person, facts)
    roles = await store.insert_roles(work.connection, person_id, [signup["role"]], signup["id"], work.now)
    if first:
        work.emit(
            PersonConfirmed(
                person_id=person_id,
                signup_id=signup["id"],
                roles=tuple(await store.get_roles(work.connection, [person_id])),
                language=facts["language"],
                state=facts["state"],
                office=facts["office"],
                tracks=tuple(facts["tracks"]),
                time_zone=facts["time_zone"],
            )
        )
    for role in roles:
        work.emit(RoleAdded(person_id=person_id, role=role, signup_id=signup["id"]))
    if changed:
        work.emit(ProfileChanged(person_id=person_id, changed=changed))
    for consent in await store.get_signup_consents(work.connection, signup["id"]):
        await _hold(work, person_id, consent)
    return Confirmed(person_id, first)


def merged(person: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """A person's facts after a sign-up: what it says replaces, what it leaves empty stays, answers add up."""
    result = {name: person[name] for name in store.FACTS}
    for name in store.FACTS:
        value = facts.get(name)
        if name == "answers":
            result[name] = {**person["answers"], **(value or {})}
        elif value not in (None, "", [], ()):
            result[name] = value
    return result


async def change_facts(work: Work, person_id: UUID, changes: Mapping[str, Any]) -> tuple[str, ...]:
    """Set some facts of a person, with None to empty one; emits `ProfileChanged` for what really changed."""
    person = await lock(work, person_id)
    facts = {**{name: person[name] for name in store.FACTS}, **changes}
    changed = await _set_facts(work, person, facts)
    if changed:
        work.emit(ProfileChanged(person_id=person["id"], changed=changed))
    return changed


async def _set_facts(work: Work, person: Mapping[str, Any], facts: Mapping[str, Any]) -> tuple[str, ...]:
    changed = tuple(name for name in store.FACTS if _plain(person[name]) != _plain(facts[name]))
    if changed:
        await store.update_facts(work.connection, person["id"], facts)
    return changed


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


async def change_consent(
    work: Work, person_id: UUID, channel: Channel, *, granted: bool, page: str | None = None
) -> bool:
    """Grant or withdraw consent for a channel on the person's own page; whether that changed anything.

    A grant is in the words in force for the body that the person signed up with; a withdrawal holds for every body.
    """
    person = await lock(work, person_id)
    if granted and channel == "sms" and not person["phone"]:
        message = _("Enter a mobile number first, then ask for texts.")
        raise Rejected("no_phone", message, status=422, fields={"phone": message})
    if not granted:
        return await _withdraw(work, person["id"], [channel], "preference", page)
    return await _grant(work, person, channel, "preference", page)


async def suppress(work: Work, person_id: UUID, channel: str, reason: str) -> bool:
    """A stop that notifications applied already: every consent for that channel is withdrawn."""
    return await _withdraw(work, person_id, [channel], reason, None)


async def restore(
    work: Work, person: Mapping[str, Any], channel: Channel, reason: Literal["start", "preference"], at: datetime
) -> bool:
    """A stop was taken back at `at`: the consent that was taken back before is given again, never one not given.

    The record's reason is `start`, or `restored`: `preference` is what people say on their own page here, and
    notifications takes that one as a word on stops.
    """
    for state in await store.get_consent_states(work.connection, person["id"]):
        if (state["channel"], state["legal_body"]) != (channel, person["legal_body"]) or state["granted"]:
            continue
        # START speaks for a number, which others may share: it undoes what a STOP took and no choice on a page.
        if reason == "start" and state["reason"] != "stop":
            return False
        # A stop's end may have been overtaken by what the person took back on their own page.
        if state["page"] is not None and state["changed_at"] >= at:
            return False
        return await _grant(work, person, channel, "restored" if reason == "preference" else reason, None)
    return False


async def _grant(work: Work, person: Mapping[str, Any], channel: Channel, reason: str, page: str | None) -> bool:
    try:
        wording = work.program.wording(channel, None, work.now, body=person["legal_body"])
    except UnknownId:
        message = _("There is no such kind of message here. Choose one of those on the page.")
        raise Rejected("no_wording", message, status=422) from None
    states = await store.get_consent_states(work.connection, person["id"])
    if any(s["granted"] and s["channel"] == channel and s["legal_body"] == wording.body for s in states):
        return False
    consent = await store.insert_consent(
        work.connection,
        person["id"],
        channel=channel,
        granted=True,
        wording_id=wording.id,
        wording_version=wording.version,
        legal_body=wording.body,
        reason=reason,
        page=page,
        now=work.now,
        program_version=work.program.version,
        program_hash=work.program.content_hash,
    )
    return await _hold(work, person["id"], consent)


async def _withdraw(work: Work, person_id: UUID, channels: Sequence[str], reason: str, page: str | None) -> bool:
    changed = False
    for state in await store.get_consent_states(work.connection, person_id):
        if not state["granted"] or state["channel"] not in channels:
            continue
        consent = await store.insert_consent(
            work.connection,
            person_id,
            channel=state["channel"],
            granted=False,
            wording_id=state["wording_id"],
            wording_version=state["wording_version"],
            legal_body=state["legal_body"],
            reason=reason,
            page=page,
            now=work.now,
            program_version=work.program.version,
            program_hash=work.program.content_hash,
        )
        changed = await _hold(work, person_id, consent) or changed
    return changed


async def _hold(work: Work, person_id: UUID, consent: ConsentRow) -> bool:
    if not await store.set_consent(work.connection, person_id, consent, work.now):
        return False
    work.emit(
        ConsentChanged(
            person_id=person_id,
            channel=consent.channel,
            granted=consent.granted,
            wording_version=consent.wording_version,
            legal_body=consent.legal_body,
            reason=consent.reason,
        )
    )
    return True
