"""Settings: from variables or from files, with addresses as services need them; spans of the business clock."""

import datetime as dt
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from shared.clock import parse_span
from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """TRIED_* variables."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="TRIED_", extra="ignore", frozen=True)


NEEDED = {
    "DATABASE_URL": "postgresql://run@localhost/tried",
    "KAFKA_BOOTSTRAP": "localhost:9092",
    "PROGRAM": "program.toml",
    "INTERNAL_TOKEN": "token",
    "SESSION_PUBLIC_KEY": "key",
    "LINK_SECRET": "secret",
    "SIGNUP_URL": "https://signup.example/",
    "MATCHING_URL": "https://matching.example",
    "NOTIFICATIONS_URL": "https://notifications.example",
    "ENDORSEMENT_URL": "https://endorsement.example",
}


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Everything that is needed, set."""
    for name, value in NEEDED.items():
        monkeypatch.setenv(f"TRIED_{name}", value)
    return monkeypatch


def test_defaults_are_the_safe_ones(variables: pytest.MonkeyPatch) -> None:
    settings = Settings()
    assert (settings.environment, settings.host, settings.trusted_proxies) == ("production", "127.0.0.1", 0)
    assert settings.internal_callers == {}


def test_secret_comes_from_a_file(variables: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from the file\n")
    variables.delenv("TRIED_LINK_SECRET")
    variables.setenv("TRIED_LINK_SECRET_FILE", str(tmp_path / "secret"))
    assert Settings().link_secret.get_secret_value() == "from the file"


def test_empty_file_gives_nothing(variables: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    variables.setenv("TRIED_OWNER_DATABASE_URL_FILE", str(tmp_path / "empty"))
    assert Settings().owner_database_url is None
    variables.delenv("TRIED_LINK_SECRET")
    variables.setenv("TRIED_LINK_SECRET_FILE", str(tmp_path / "empty"))
    with pytest.raises(ValidationError, match="Field required"):
        Settings()


def test_structured_value_comes_from_a_file(variables: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "callers").write_text('{"matching": {"token_sha256": "%s", "scopes": ["contacts"]}}' % ("a" * 64))
    variables.setenv("TRIED_INTERNAL_CALLERS_FILE", str(tmp_path / "callers"))
    assert Settings().internal_callers["matching"].scopes == {"contacts"}


def test_missing_file_is_named_with_what_to_do(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("TRIED_LINK_SECRET_FILE", "/nowhere/secret")
    with pytest.raises(RuntimeError, match=r"^TRIED_LINK_SECRET_FILE names /nowhere/secret, which can't be read"):
        Settings()


def test_secrets_do_not_show(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("TRIED_LINK_SECRET", "do-not-show")
    assert "do-not-show" not in repr(Settings())


def test_missing_and_wrong_variables_are_reported_together(variables: pytest.MonkeyPatch) -> None:
    variables.delenv("TRIED_DATABASE_URL")
    variables.setenv("TRIED_PORT", "70000")
    variables.setenv("TRIED_SIGNUP_URL", "signup.example")
    with pytest.raises(ValidationError) as invalid:
        Settings()
    assert [error["loc"][0] for error in invalid.value.errors()] == ["database_url", "port", "signup_url"]


def test_urls_have_no_trailing_slash_and_may_differ_inside(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("TRIED_INTERNAL_URLS", '{"matching": "http://10.0.0.7:8000/"}')
    settings = Settings()
    assert settings.public_url("signup") == settings.internal_url("signup") == "https://signup.example"
    assert settings.internal_url("matching") == "http://10.0.0.7:8000"


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90m", dt.timedelta(minutes=90)),
        ("36h", dt.timedelta(hours=36)),
        (" 3d ", dt.timedelta(days=3)),
        ("2w", dt.timedelta(weeks=2)),
    ],
)
def test_span_is_read(text: str, span: dt.timedelta) -> None:
    assert parse_span(text) == span


@pytest.mark.parametrize("text", ["", "3", "d", "-3d", "3 d", "3y", "1.5h", "123456d"])
def test_span_that_is_none_is_told_what_to_write(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"is not a span of time; write a number and a unit, e\.g\. 90m, 36h, 3d or 2w"
    ):
        parse_span(text)
