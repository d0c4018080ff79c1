"""A service's commands for operators: its own settings, its run role, lines on the screen or one sentence of error."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import asyncpg
from pydantic import ValidationError
from pydantic_settings import SettingsError

from shared.db import TRANSIENT, Pool, create_pool
from shared.errors import Rejected
from shared.program import ProgramError, load
from shared.settings import ServiceSettings
from shared.work import Workshop

S = TypeVar("S", bound=ServiceSettings)


def run_command(
    service: str, settings_type: Callable[[], S], job: Callable[[S, Workshop, Pool], Awaitable[Sequence[str]]]
) -> None:
    """Print the lines that `job(settings, workshop, pool)` returns.

    Ends the process with a sentence when settings are missing, a rule says no, or the database does not answer.
    """

    async def work(settings: S) -> Sequence[str]:
        program = load(settings.program)
        pool = await create_pool(settings.database_url.get_secret_value(), service=service, size=4)
        try:
            return await job(settings, Workshop(pool, program, service), pool)
        finally:
            await pool.close()

    prefix = service.upper()
    try:
        settings = settings_type()
    except ValidationError as invalid:
        names = ", ".join(f"{prefix}_{str(e['loc'][0]).upper()}" for e in invalid.errors(include_input=False))
        sys.exit(f"The settings are not complete; set {names}.")
    except (RuntimeError, SettingsError) as unreadable:
        sys.exit(str(unreadable))
    try:
        print("\n".join(asyncio.run(work(settings))))
    except (Rejected, ProgramError) as error:
        sys.exit(str(error))
    except (*TRANSIENT, asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as fault:
        sys.exit(f"The database does not answer ({type(fault).__name__}); check {prefix}_DATABASE_URL.")
