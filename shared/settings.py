"""Settings that every service has; each service derives its own class, the only reader of its variables.

A variable `<PREFIX>_<NAME>` may instead be given as `<PREFIX>_<NAME>_FILE`, the path of a file that holds the
value: how containers hand over secrets without showing them in the environment. An empty file gives none.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, SecretStr, StringConstraints
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

SERVICES = ("signup", "matching", "notifications", "endorsement")
"""Every service, in the order of the pipeline."""

Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+(/[^\s]*)?$", strip_whitespace=True)]


class Caller(BaseModel):
    """A service that may use the internal interface, known by the hash of its credential."""

    token_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: frozenset[str]


class ServiceSettings(BaseSettings):
    """What a service needs to know to start; field descriptions are the operator's reference."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    environment: Literal["production", "development", "test"] = Field(
        "production", description="`production` refuses a moved business clock."
    )
    database_url: SecretStr = Field(description="DSN of the run role: reads and writes rows, no DDL.")
    owner_database_url: SecretStr | None = Field(
        None, description="DSN of the owning role; `migrate` and `contract` only."
    )
    database_connections: int = Field(16, ge=4, le=200, description="Size of the connection pool of a process.")
    kafka_bootstrap: str = Field(description="host:port[,host:port…] of the brokers.")
    kafka_session_seconds: int = Field(
        15,
        ge=6,
        le=300,
        description="A worker that dies without a word is replaced after so long; shorter, and a pause can cost it its"
        " partitions. The brokers allow 6 or more.",
    )
    program: Path = Field(description="The organization's program file (TOML).")
    host: str = Field("127.0.0.1", description="Address that the web process listens on.")
    port: int = Field(8000, ge=1, le=65535, description="Port of that address; probes and metrics are there too.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least severe line logged.")
    signup_url: Url = Field(description="Public base URL of the signup service.")
    matching_url: Url = Field(description="Public base URL of the matching service.")
    notifications_url: Url = Field(description="Public base URL of the notifications service.")
    endorsement_url: Url = Field(description="Public base URL of the endorsement service.")
    internal_urls: dict[str, str] = Field(
        default_factory=dict, description="Service name to base URL, where it differs from the public one."
    )
    internal_token: SecretStr = Field(description="This service's own credential on internal interfaces.")
    internal_callers: dict[str, Caller] = Field(
        default_factory=dict, description="Who may call this service's internal interface, and for what."
    )
    session_public_key: str = Field(description="Ed25519 public key (PEM) that session tokens verify with.")
    link_secret: SecretStr = Field(description="Key from which this service derives its link tokens.")
    trusted_proxies: int = Field(
        0, ge=0, le=5, description="How many reverse proxies stand in front; 0 ignores X-Forwarded-For."
    )

    def public_url(self, service: str) -> str:
        """The base URL that people reach `service` under, without a trailing slash."""
        return str(getattr(self, f"{service}_url")).rstrip("/")

    def internal_url(self, service: str) -> str:
        """The base URL that this service reaches `service` under."""
        return self.internal_urls.get(service, self.public_url(service)).rstrip("/")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (no .env files)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (ours is below)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, SecretFiles(settings_cls)


def reference(cls: type[ServiceSettings]) -> str:
    """Every variable of a service as a Markdown table: name, default, meaning."""
    prefix = str(cls.model_config.get("env_prefix", ""))
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in cls.model_fields.items():
        if field.is_required():
            default = "*required*"
        else:
            value = field.get_default(call_default_factory=True)
            default = "–" if value is None or value == {} else f"`{value}`"
        rows.append(f"| `{(prefix + name).upper()}` | {default} | {field.description or ''} |")
    return "\n".join(rows) + "\n"


class SecretFiles(PydanticBaseSettingsSource):
    """Reads `<PREFIX>_<NAME>_FILE` variables."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        prefix = str(self.config.get("env_prefix", ""))
        path = os.environ.get(f"{prefix}{field_name}_FILE".upper())
        try:
            value = (Path(path).read_text(encoding="utf-8").strip() or None) if path else None
        except (OSError, UnicodeDecodeError) as error:
            variable = f"{prefix}{field_name}".upper()
            raise RuntimeError(
                f"{variable}_FILE names {path}, which can't be read ({type(error).__name__}): give the path of a file"
                f" that this process may read, or set {variable}."
            ) from None
        return value, field_name, self.field_is_complex(field)

    def __call__(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            value, key, is_complex = self.get_field_value(field, name)
            if value is not None:
                values[key] = self.decode_complex_value(name, field, value) if is_complex else value
        return values
