"""Settings of the matching service: the only reader of `MATCHING_*` variables."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """What matching needs beyond what every service has."""

    model_config = SettingsConfigDict(env_prefix="MATCHING_", extra="ignore", frozen=True)

    batch_seconds: float = Field(
        5.0, ge=0.2, le=300, description="How often the worker looks whether a round of matching is due (wall clock)."
    )
    batch_minutes: int | None = Field(
        None,
        ge=0,
        le=1440,
        description="Instead of the program's batch_minutes; not in production. 0: a round whenever somebody is new.",
    )
    solver_seconds: float = Field(
        20.0, ge=1, le=300, description="Deadline of the solver; above 10,000 waiting people it gets 25 s more."
    )
    profile_seconds: float = Field(
        1.0, ge=0.1, le=60, description="How often the worker fetches profiles that became stale (wall clock)."
    )
