"""Settings of the notifications service: the only reader of NOTIFICATIONS_* variables."""

from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings, Url


class Settings(ServiceSettings):
    """Where messages are handed over, and how many at once."""

    model_config = SettingsConfigDict(env_prefix="NOTIFICATIONS_", extra="ignore", frozen=True)

    smtp_host: str = Field(description="The relay host that takes our mail (and signs it, DKIM).")
    smtp_port: int = Field(587, ge=1, le=65535)
    smtp_security: Literal["auto", "starttls", "tls", "none"] = Field(
        "auto", description="`starttls` and `tls` insist; `auto` takes STARTTLS where it is offered."
    )
    smtp_username: str | None = Field(None, description="Left out, we do not sign in to the relay host.")
    smtp_password: SecretStr | None = Field(None, description="Beside the user name.")
    smtp_connections: int = Field(20, ge=3, le=100, description="In all; a fifth is kept for links.")
    smtp_timeout_seconds: float = Field(
        10.0, gt=0, le=60, description="For one message, until the provider has answered."
    )
    smtp_fallback_host: str | None = Field(
        None, description="Another relay host, used while the first is slow or failing."
    )
    smtp_fallback_port: int = Field(587, ge=1, le=65535)
    smtp_fallback_username: str | None = Field(None, description="Left out, we do not sign in there.")
    smtp_fallback_password: SecretStr | None = Field(None, description="Beside that user name.")
    sms_url: Url | None = Field(None, description="Where text messages are posted; left out, no text is sent.")
    sms_sender: str = Field("+15555550100", description="Number or code that texts come from.")
    sms_token: SecretStr | None = Field(None, description="Bearer credential of the text provider.")
    sms_fallback_url: Url | None = Field(
        None, description="Another text provider, used while the first is slow or failing."
    )
    sms_fallback_token: SecretStr | None = Field(None, description="Bearer credential there.")
    sms_lookup: bool = Field(True, description="Whether the provider can be asked by client reference.")
    sms_inbound_token: SecretStr | None = Field(
        None, description="What the text provider presents at /sms/inbound; left out, the address is closed."
    )
    mail_receipt_token: SecretStr | None = Field(
        None, description="What the relay host presents at /mail/receipts; left out, the address is closed."
    )
    contact_hash_key: SecretStr | None = Field(
        None,
        description="Key of the hashes by which what bounced, complained or said STOP is known again; left out, the"
        " link secret serves. Never change it: people would be written to again who must not be.",
    )
    batch: int = Field(200, ge=1, le=200, description="Most messages that a crash can leave unknown, per lane.")
    lease_seconds: float = Field(90.0, ge=1, le=600, description="After which a dead sender's messages are taken over.")

    @property
    def contact_key(self) -> str:
        """The key of contact hashes; the link secret serves where none is set."""
        return (self.contact_hash_key or self.link_secret).get_secret_value()
