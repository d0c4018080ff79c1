"""Journals: JSON lines that are on disk before their writer goes on.

Writers that wait at the same time share one fsync, so that hundreds of lines a second cost a few dozen of them.
"""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson


class Journal:
    """One file. A torn last line, left by a writer that was killed, is cut off before anything is added."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        whole = _whole_length(path)
        os.ftruncate(self._file, whole)
        os.lseek(self._file, whole, os.SEEK_SET)
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def write(self, **line: Any) -> None:
        """Return once the line is durable. `at` is now unless it is given. Raises OSError when the disk refuses."""
        stamped = {"at": datetime.now(UTC).isoformat(timespec="microseconds"), **line}
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((orjson.dumps(stamped) + b"\n", durable))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())
        # A writer that is cancelled has still announced what it was about to do.
        await durable

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                failure: OSError | None = None
                try:
                    await asyncio.to_thread(self._append, b"".join(line for line, _durable in batch))
                except OSError as error:
                    failure = error
                for _line, durable in batch:
                    if durable.done():
                        continue
                    if failure is None:
                        durable.set_result(None)
                    else:
                        durable.set_exception(failure)
        finally:
            self._writer = None

    def _append(self, lines: bytes) -> None:
        left = memoryview(lines)
        while left:
            left = left[os.write(self._file, left) :]
        os.fdatasync(self._file)

    async def close(self) -> None:
        """Wait for what is being written, and close the file."""
        while self._writer is not None:
            await asyncio.wait([self._writer])
        os.close(self._file)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _whole_length(path: Path) -> int:
    """Bytes up to the end of the last whole line."""
    content = path.read_bytes()
    return content.rfind(b"\n") + 1


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal, without a torn last one; [] where there is no file."""
    if not path.exists():
        return []
    content = path.read_bytes()
    return [orjson.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
