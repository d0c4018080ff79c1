"""What a message needs from other services, asked in batches and outside of any transaction."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from services.notifications.store.messages import Claimed
from shared.directory import Contact, Contacts
from shared.errors import TryAgain, Unprocessable
from shared.log import get_logger
from shared.messages import MAX_ITEMS, PATH, Answer, Answers, Data, Item, Request
from shared.web.internal import InternalClient

log = get_logger("notifications.sources")


@dataclass(slots=True)
class Facts:
    """What was found. A message in `away` could not be asked about: its owner is not reachable now."""

    contacts: dict[UUID, Contact] = field(default_factory=dict)
    answers: dict[UUID, Answer] = field(default_factory=dict)
    away: set[UUID] = field(default_factory=set)


class Sources:
    """The owners of contacts and facts."""

    def __init__(self, clients: Mapping[str, InternalClient]) -> None:
        self._clients = clients

    async def fetch(self, claimed: Sequence[Claimed]) -> Facts:
        """Contacts and data for these messages; never raises for an owner that is away or refuses."""
        facts = Facts()
        by_owner: dict[str, list[Claimed]] = {}
        for message in claimed:
            by_owner.setdefault(Data.registry[message.template].owner, []).append(message)
        await asyncio.gather(
            self._contacts(claimed, facts), *(self._data(owner, asked, facts) for owner, asked in by_owner.items())
        )
        return facts

    async def _contacts(self, claimed: Sequence[Claimed], facts: Facts) -> None:
        person_ids = sorted({message.person_id for message in claimed})
        for start in range(0, len(person_ids), MAX_ITEMS):
            part = person_ids[start : start + MAX_ITEMS]
            try:
                answer = await self._clients["signup"].post(
                    "/internal/contacts", {"person_ids": [str(person_id) for person_id in part]}
                )
                found = Contacts.model_validate(answer).contacts
            except (TryAgain, Unprocessable, ValueError) as fault:
                log.warning("contacts_away", people=len(part), error=type(fault).__name__)
                facts.away |= {message.id for message in claimed if message.person_id in set(part)}
                continue
            facts.contacts.update({contact.person_id: contact for contact in found})

    async def _data(self, owner: str, asked: Sequence[Claimed], facts: Facts) -> None:
        for start in range(0, len(asked), MAX_ITEMS):
            part = asked[start : start + MAX_ITEMS]
            request = Request(
                items=tuple(
                    Item(id=str(m.id), template=m.template, person_id=m.person_id, reference=m.reference) for m in part
                )
            )
            try:
                answer = await self._clients[owner].post(PATH, request.model_dump(mode="json"))
                found = Answers.model_validate(answer).items
            except (TryAgain, Unprocessable, ValueError) as fault:
                log.warning("owner_away", owner=owner, messages=len(part), error=type(fault).__name__)
                facts.away |= {message.id for message in part}
                continue
            facts.answers.update({UUID(item.id): item for item in found})
            facts.away |= {message.id for message in part} - facts.answers.keys()

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.close()
