"""Which stack `make up` and the commands beside it take."""

from pathlib import Path

import pytest

from deploy.embedded.processes import StackError
from deploy.embedded.stack import Home
from deploy.stack import choose


def nothing_in_the_way() -> None:
    return None


def no_daemon() -> str:
    return "no Docker daemon answers"


def never_asked() -> str:
    raise AssertionError("a registry may be asked: not before it has to be")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A directory that nothing was started in."""
    return Home(tmp_path / "home")


def leave_embedded(home: Home) -> None:
    home.path.mkdir(parents=True, exist_ok=True)
    home.state.write_text("{}")


def leave_containers(home: Home) -> None:
    (home.path / "docker").mkdir(parents=True, exist_ok=True)
    (home.path / "docker" / "ports.json").write_text("{}")


def test_fresh_directory_gets_containers_where_they_are_possible(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert choose(home, {}, starting=True, obstacle=nothing_in_the_way) == "docker"
    assert "HUSTINGS_STACK=embedded starts without" in capsys.readouterr().err


def test_fresh_directory_is_embedded_where_containers_are_not_possible_and_says_why(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert choose(home, {}, starting=True, obstacle=no_daemon) == "embedded"
    assert capsys.readouterr().err == "Starting without containers: no Docker daemon answers.\n"


def test_commands_that_start_nothing_ask_nobody(home: Home) -> None:
    assert choose(home, {}, starting=False, obstacle=never_asked) == "embedded"


@pytest.mark.parametrize("starting", [True, False])
def test_directory_stays_with_the_stack_that_it_was_started_with(home: Home, starting: bool) -> None:
    leave_containers(home)
    assert choose(home, {}, starting=starting, obstacle=never_asked) == "docker"
    leave_embedded(home)
    assert choose(home, {}, starting=starting, obstacle=never_asked) == "embedded"


@pytest.mark.parametrize("wanted", ["embedded", "docker"])
@pytest.mark.parametrize("leave", [leave_embedded, leave_containers])
def test_variable_wins(home: Home, wanted: str, leave: object) -> None:
    assert callable(leave)
    leave(home)
    assert choose(home, {"HUSTINGS_STACK": wanted}, starting=True, obstacle=never_asked) == wanted


def test_unknown_stack_is_refused(home: Home) -> None:
    with pytest.raises(StackError, match="HUSTINGS_STACK=podman: write embedded or docker, or leave it out"):
        choose(home, {"HUSTINGS_STACK": "podman"}, starting=True, obstacle=never_asked)
