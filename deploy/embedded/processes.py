"""What every part of the embedded stack needs from the operating system: processes, ports, private files.

A process is known by its pid *and* by when it started, counted from boot: pids are used again, and the wall
clock may be set. Nothing here signals a process whose two numbers do not agree with the record.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

# Below the range from which the kernel takes the ports of outgoing connections, so that a remembered port
# is rarely taken when the stack comes up again.
PORTS = range(20_000, 30_000)
_START_TOLERANCE_SECONDS = 0.05


class StackError(Exception):
    """One sentence for the operator: what is wrong and what to do."""


def _started(process: psutil.Process) -> float:
    # boot_time() first: psutil keeps the boot time it read last and adds it to every create_time().
    boot = psutil.boot_time()
    return round(process.create_time() - boot, 2)


class Process:
    """An operating system process, started here or found again by its record."""

    def __init__(self, process: psutil.Process, started: float, popen: subprocess.Popen[bytes] | None) -> None:
        self.pid = process.pid
        self.started = started
        self._process = process
        self._popen = popen

    @classmethod
    def spawn(
        cls,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: int | None = None,
        group: int | None = None,
    ) -> Process:
        """Starts `argv` in a session of its own, with stdout and stderr appended to `log`."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            popen = subprocess.Popen(
                [str(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                cwd=cwd,
                user=user,
                group=group,
                extra_groups=None if user is None else [],
                start_new_session=True,
            )
        process = psutil.Process(popen.pid)
        return cls(process, _started(process), popen)

    @classmethod
    def current(cls) -> Process:
        """The process that asks."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> Process:
        """A process that somebody else started and runs now."""
        process = psutil.Process(pid)
        return cls(process, _started(process), None)

    @classmethod
    def find(cls, record: Mapping[str, float] | None) -> Process | None:
        """The live process of a `record()`, or None if it is gone or its pid belongs to another by now."""
        if not record:
            return None
        try:
            process = psutil.Process(int(record["pid"]))
            started = _started(process)
        except psutil.NoSuchProcess:
            return None
        found = cls(process, started, None)
        same = abs(started - float(record["started"])) <= _START_TOLERANCE_SECONDS
        return found if same and found.running() else None

    def record(self) -> dict[str, float]:
        """`{pid, started}`, `started` in seconds since boot."""
        return {"pid": self.pid, "started": self.started}

    def running(self) -> bool:
        if self._popen is not None:
            return self._popen.poll() is None
        try:
            return self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    @property
    def exit_code(self) -> int | None:
        """Negative: the number of the signal. None: still running, or no child of this process."""
        return self._popen.poll() if self._popen is not None else None

    def send(self, number: signal.Signals) -> None:
        if self.running():
            self._process.send_signal(number)

    def wait(self, timeout_seconds: float) -> bool:
        """True once it has ended; False if it is still there after `timeout_seconds`."""
        try:
            if self._popen is not None:
                self._popen.wait(timeout_seconds)
            else:
                self._process.wait(timeout_seconds)
        except (subprocess.TimeoutExpired, psutil.TimeoutExpired):
            return not self.running()
        return True

    def stop(self, grace_seconds: float, number: signal.Signals = signal.SIGTERM) -> bool:
        """Asks with `number`, waits, then kills it and its descendants. False if it had to be killed."""
        self.send(number)
        if self.wait(grace_seconds):
            return True
        for child in self._process.children(recursive=True):
            child.kill()
        self.send(signal.SIGKILL)
        self.wait(5)
        return False


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do it: a connection of the last run that still lingers does not take the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise
    return True


def choose_port(remembered: int | None = None, taken: frozenset[int] = frozenset()) -> int:
    """The remembered port where it is free, otherwise another free one that is not in `taken`."""
    if remembered is not None and remembered not in taken and port_is_free(remembered):
        return remembered
    for port in random.SystemRandom().sample(PORTS, 200):
        if port not in taken and port_is_free(port):
            return port
    raise StackError(f"No free TCP port on 127.0.0.1 between {PORTS.start} and {PORTS.stop - 1}: stop what holds them.")


def demand_port(port: int, what: str) -> int:
    """`port`, or a StackError if another process listens there."""
    if port_is_free(port):
        return port
    raise StackError(f"Port {port} for {what} is taken by another process: stop it, or choose another port.")


def demand_disk(path: Path, needed_bytes: int, what: str) -> None:
    free = shutil.disk_usage(path).free
    if free < needed_bytes:
        raise StackError(
            f"{what} needs {needed_bytes // 2**20} MiB of disk at {path} and {free // 2**20} MiB are free: "
            "make room, or choose another place with HUSTINGS_HOME."
        )


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Readers see the old text or the new, and nobody without the right ever sees a secret."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(path)


def last_lines(log: Path, count: int = 8) -> str:
    """The end of a log file, for an error sentence; read from its last 16 KiB only."""
    try:
        with log.open("rb") as text:
            text.seek(max(0, log.stat().st_size - 16_384))
            lines = text.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return ""
    return "\n".join([line for line in lines if line.strip()][-count:])
