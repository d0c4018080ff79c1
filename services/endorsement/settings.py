"""Settings of the endorsement service: the only reader of `ENDORSEMENT_*` variables."""

from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """What endorsement needs beyond what every service has."""

    model_config = SettingsConfigDict(env_prefix="ENDORSEMENT_")

    feed_retention_days: int = Field(90, ge=1, le=3650, description="How long the HTTP feed keeps an event.")
    webhook_allow_private: bool = Field(
        False, description="Lets webhooks go to http:// and private addresses; refused in production."
    )
    webhook_timeout_seconds: float = Field(10.0, gt=0, le=30, description="Time a receiver has to answer.")
    webhook_concurrency: int = Field(16, ge=1, le=200, description="Subscribers that are sent to at once.")
    webhook_key: SecretStr | None = Field(
        None,
        description="Key from which the secrets of webhooks are derived; left out, the link secret serves. Never"
        " change it: no subscriber could verify what it is sent.",
    )
    secret_overlap_hours: int = Field(
        24, ge=1, le=24 * 14, description="How long the former webhook secret signs beside the new one."
    )

    @property
    def signing_key(self) -> str:
        """The key of webhook secrets; the link secret serves where none is set."""
        return (self.webhook_key or self.link_secret).get_secret_value()

    @model_validator(mode="after")
    def _private_only_outside_production(self) -> Self:
        if self.webhook_allow_private and self.environment == "production":
            raise ValueError(
                "production refuses webhooks to private addresses; unset ENDORSEMENT_WEBHOOK_ALLOW_PRIVATE"
            )
        return self
