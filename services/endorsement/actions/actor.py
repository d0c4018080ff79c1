"""Who acts: the signed-in person by the id they go by today, and what their account may do."""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from services.endorsement.domain.review import Refusal
from services.endorsement.store import audit, reviews
from shared import people
from shared.errors import Forbidden, Rejected
from shared.program import Program
from shared.web.sessions import Principal
from shared.work import Work

REVIEWING = frozenset({"reviewer", "staff", "admin"})
DECIDING = frozenset({"staff", "admin"})


@dataclass(frozen=True, slots=True)
class Actor:
    """A person with merges resolved. `outside` means not of the staff, by the session and by the account's events."""

    person_id: UUID
    account_id: UUID | None
    roles: frozenset[str]
    outside: bool

    @property
    def decides(self) -> bool:
        """Whether the account is of the staff."""
        return bool(self.roles & DECIDING)


async def actor_of(work: Work, principal: Principal, *, needs: frozenset[str] | None = None) -> Actor:
    """The actor behind a session.

    An account that signup has since closed, or taken the role from, raises `Forbidden` though its session lasts on.
    """
    resolved = await people.resolve(work.connection, [principal.person_id])
    roles, outside = principal.roles, principal.outside
    if principal.account_id is not None:
        account = await reviews.get_account(work.connection, principal.account_id)
        if account is not None:
            roles, outside = roles & frozenset(account["roles"]), outside and account["outside"]
    if needs is not None and not roles & needs:
        raise Forbidden
    return Actor(resolved[principal.person_id], principal.account_id, roles, outside)


async def is_same(work: Work, one: UUID, other: UUID) -> bool:
    """Whether two ids are one person after merges."""
    resolved = await people.resolve(work.connection, [one, other])
    return resolved[one] == resolved[other]


async def record(work: Work, actor: Actor, action: str, subject: UUID, **details: str | int | None) -> None:
    """Write the audit row of an act; the last lock of a transaction."""
    await audit.append_audit(
        work.connection,
        person_id=actor.person_id,
        account_id=actor.account_id,
        action=action,
        subject=subject,
        now=work.now,
        **details,
    )


def refuse(refusal: Refusal | None) -> None:
    """Raise a rule's refusal."""
    if refusal is not None:
        raise Rejected(refusal.code, refusal.sentence)


def local_day(program: Program, moment: datetime) -> date:
    """The day that a moment falls on where the organization is."""
    return moment.astimezone(ZoneInfo(program.organization.time_zone)).date()


def program_of(work: Work) -> tuple[str, str]:
    """Version and content hash of the program, as records keep them."""
    return work.program.version, work.program.content_hash
