"""Processes known by pid and start, ports, private files, and how long a restart waits."""

import signal
import socket
import stat
import sys
from pathlib import Path

import pytest

from deploy.embedded.processes import (
    PORTS,
    Process,
    StackError,
    choose_port,
    demand_disk,
    last_lines,
    port_is_free,
    write_atomically,
)
from deploy.embedded.supervisor import backoff_seconds, parse_port


def sleeper(directory: Path, program: str = "import time; print('up', flush=True); time.sleep(60)") -> Process:
    return Process.spawn([sys.executable, "-c", program], log=directory / "log")


def test_find_gives_the_recorded_process_and_no_other(tmp_path: Path) -> None:
    process = sleeper(tmp_path)
    try:
        record = process.record()
        found = Process.find(record)
        assert found is not None
        assert found.record() == record
        # The same pid, given to a process that started at another time.
        assert Process.find({**record, "started": record["started"] - 1}) is None
        assert Process.find(None) is None
    finally:
        process.stop(0)
    assert Process.find(record) is None


def test_stop_asks_first_and_then_kills(tmp_path: Path) -> None:
    willing = sleeper(tmp_path)
    assert willing.stop(10) is True
    assert willing.exit_code == -signal.SIGTERM
    deaf = sleeper(
        tmp_path / "deaf",
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
    )
    while last_lines(tmp_path / "deaf" / "log") != "up":
        assert deaf.running()
    assert deaf.stop(0.2) is False
    assert deaf.exit_code == -signal.SIGKILL


def test_choose_port_keeps_the_remembered_one_while_it_is_free() -> None:
    port = choose_port()
    assert port in PORTS
    assert choose_port(port) == port
    assert choose_port(port, frozenset({port})) != port
    with socket.create_server(("127.0.0.1", port)):
        assert port_is_free(port) is False
        assert choose_port(port) != port


def test_demand_disk_says_how_much_is_missing(tmp_path: Path) -> None:
    demand_disk(tmp_path, 1, "Kafka")
    with pytest.raises(StackError, match=rf"^Kafka needs 1073741824 MiB of disk at {tmp_path} and \d+ MiB are free"):
        demand_disk(tmp_path, 2**50, "Kafka")


def test_write_atomically_never_shows_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "secret"
    write_atomically(path, "one", 0o600)
    write_atomically(path, "two", 0o600)
    assert path.read_text() == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_backoff_doubles_up_to_half_a_minute() -> None:
    assert [backoff_seconds(deaths) for deaths in (1, 2, 3, 6, 7, 50)] == [0.5, 1.0, 2.0, 16.0, 30.0, 30.0]


def test_parse_port_takes_known_names_and_real_ports() -> None:
    assert parse_port("signup=8000") == ("signup", 8000)
    for text in ("signup", "nobody=1", "signup=0", "signup=65536", "signup=-1", "signup=x"):
        with pytest.raises(StackError, match=f"^--port {text}: write name=number with one of signup, "):
            parse_port(text)
