"""What other services fetch: contacts, profiles, and what a message says. Credential, scope and an audit row each."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from services.signup import messages
from services.signup.store import people as store
from services.signup.web.requests import secret_of, settings_of, workshop_of
from shared.directory import AvailabilityWindow, Contact, Contacts, ContactsRequest, Profile, Profiles, ProfilesRequest
from shared.messages import PATH, SCOPE, Answers
from shared.messages import Request as MessageRequest
from shared.web.internal import record_access, require_scope

router = APIRouter(tags=["internal"])


@router.post("/internal/contacts", summary="How to reach people")
async def contacts(
    request: Request, body: ContactsRequest, caller: Annotated[str, Depends(require_scope("contacts"))]
) -> Contacts:
    """Contacts by person id, merges resolved; who is unknown or erased is left out."""
    async with workshop_of(request).begin() as work:
        rows = await store.get_contacts(work.connection, body.person_ids)
        await record_access(work.connection, caller, "contacts", len(body.person_ids))
    found = (
        Contact(
            person_id=row["asked_id"],
            current_id=row["id"],
            name=row["name"],
            email=row["email"],
            phone=row["phone"],
            language=row["language"],
            time_zone=row["time_zone"],
            state=row["state"],
            confirmed=row["confirmed_at"] is not None,
            consents=row["consents"],
            legal_body=row["legal_body"],
        )
        for row in rows
    )
    return Contacts(contacts=tuple(found))


@router.post("/internal/profiles", summary="What matching and eligibility need to know of people")
async def profiles(
    request: Request, body: ProfilesRequest, caller: Annotated[str, Depends(require_scope("profiles"))]
) -> Profiles:
    """Profiles by person id, merges resolved; who is unknown or erased is left out."""
    async with workshop_of(request).begin() as work:
        rows = await store.get_profiles(work.connection, body.person_ids)
        await record_access(work.connection, caller, "profiles", len(body.person_ids))
    found = (
        Profile(
            person_id=row["asked_id"],
            current_id=row["id"],
            name=row["name"].split()[0],
            roles=tuple(row["roles"]),
            state=row["state"],
            zip=row["zip"],
            birth_year=row["birth_year"],
            office=row["office"],
            tracks=tuple(row["tracks"]),
            language=row["language"],
            spoken_languages=tuple(row["spoken_languages"]),
            time_zone=row["time_zone"],
            availability=tuple(AvailabilityWindow(**window) for window in row["availability"]),
            signed_up_at=row["signed_up_at"],
            confirmed_at=row["confirmed_at"],
            answers=row["answers"],
        )
        for row in rows
    )
    return Profiles(profiles=tuple(found))


@router.post(PATH, summary="What messages of this service say")
async def message_data(
    request: Request, body: MessageRequest, caller: Annotated[str, Depends(require_scope(SCOPE))]
) -> Answers:
    """Data for the templates `welcome_confirm`, `already_known`, `sign_in` and `confirmed_welcome`."""
    async with workshop_of(request).begin() as work:
        answers = await messages.answer(
            work, body.items, base_url=settings_of(request).public_url("signup"), secret=secret_of(request)
        )
        await record_access(work.connection, caller, SCOPE, len(body.items))
    return Answers(items=tuple(answers))
