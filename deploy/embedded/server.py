"""A server of the embedded stack as a process of its own: it outlives who started it and is found again."""

from __future__ import annotations

import atexit
import json
import signal
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

from deploy.embedded.processes import (
    Process,
    StackError,
    choose_port,
    demand_disk,
    demand_port,
    last_lines,
    write_atomically,
)

STOP_SECONDS = 20.0


class Server(ABC):
    """A server whose data, port and log live in `dir`.

    `start()` on a directory whose server still runs takes that server over. `port` is demanded; without it the one of
    the last time is taken, or a free one. Raises StackError.
    """

    name: ClassVar[str]
    stem: ClassVar[str]
    """Of the names of its files."""
    start_seconds: ClassVar[float]
    disk_bytes: ClassVar[int]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, dir: Path, port: int | None = None) -> None:  # noqa: A002
        self.dir = dir.absolute()
        self.log = self.dir / f"{self.stem}.log"
        self.process: Process | None = None
        self._wanted_port = port
        self._state_file = self.dir / f"{self.stem}.json"
        self._state: dict[str, Any] = {}

    @property
    def port(self) -> int:
        """Once started."""
        return int(self._state["port"])

    def start(self) -> Self:
        """Returns once it answers; what does not in time is stopped."""
        self.dir.mkdir(parents=True, exist_ok=True)
        self._state = json.loads(self._state_file.read_text()) if self._state_file.exists() else {}
        if self.process is None or not self.process.running():
            self.process = Process.find(self._state.get("process"))
        if self.process is None:
            demand_disk(self.dir, self.disk_bytes, self.name)
            self.process = self._launch()
            self._remember()
        atexit.register(self.stop)
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> bool:
        """Orderly, then by force after a deadline. False if none ran, which is no error."""
        atexit.unregister(self.stop)
        if self.process is None and self._state_file.exists():
            self._state = json.loads(self._state_file.read_text())
            self.process = Process.find(self._state.get("process"))
        if self.process is None:
            return False
        self.process.stop(STOP_SECONDS, self.stop_signal)
        self.process = None
        self._remember()
        return True

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @abstractmethod
    def _launch(self) -> Process:
        """Prepare what is missing and start the process."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether it answers, with this directory's data; StackError if it is somebody else who does."""

    def _choose_port(self) -> int:
        """The port of this start, which is remembered."""
        port = (
            choose_port(self._state.get("port"))
            if self._wanted_port is None
            else demand_port(self._wanted_port, self.name)
        )
        self._state["port"] = port
        return port

    def _remember(self) -> None:
        self._state["process"] = self.process.record() if self.process else None
        write_atomically(self._state_file, json.dumps(self._state, indent=1))

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.start_seconds
        while True:
            if self.process is None or not self.process.running():
                raise StackError(f"{self.name} ended while it started; its log {self.log} ends: {last_lines(self.log)}")
            if self._is_ready():
                return
            if time.monotonic() > deadline:
                raise StackError(
                    f"{self.name} did not answer at port {self.port} within {self.start_seconds:.0f} seconds; "
                    f"its log {self.log} ends: {last_lines(self.log)}"
                )
            time.sleep(0.05)
