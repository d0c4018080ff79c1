"""What the signup service reads from `SIGNUP_*` variables."""

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """The shared settings, the key that sessions are signed with, and how much one sender may send."""

    model_config = SettingsConfigDict(env_prefix="SIGNUP_", extra="ignore", frozen=True)

    session_private_key: SecretStr = Field(description="Ed25519 private key (PEM) that signs session tokens.")
    limit_address_burst: int = Field(400, ge=1, description="Sign-ups at once from one network address.")
    limit_address_per_minute: float = Field(120, gt=0, description="The same, sustained.")
    limit_contact_burst: int = Field(10, ge=1, description="Sign-ups or sign-in mails at once to one e-mail address.")
    limit_contact_per_hour: float = Field(10, gt=0, description="The same, sustained.")
    limit_global_burst: int = Field(20_000, ge=1, description="Sign-ups at once from everywhere.")
    limit_global_per_second: float = Field(500, gt=0, description="The same, sustained.")
    form_min_seconds: float = Field(
        2, ge=0, description="A hosted form sent sooner after it was shown is asked for again."
    )
    form_max_hours: float = Field(
        24, gt=0, description="A hosted form sent later after it was shown is asked for again."
    )
    intake_batch: int = Field(200, ge=1, le=2000, description="Most sign-ups that share one transaction.")
