"""`solve` in a child process, with a deadline.

A flow may be slow or crash; the leader that waits for it must not. The child is this module run as a program: it
reads one pickled problem from standard input and writes length-prefixed pickles to standard output, first
the edges, then each improved choice, then the solution. When it is late or dies, the parent ends it by its pid and
uses the last choice it sent; if there was none, the greedy choice on the same edges. It may be started before there is
a problem, so that it has its libraries by then.

The child never outlives its parent: the kernel kills it when the parent dies (Linux), and an alarm kills it soon
after its deadline everywhere. Only the parent's own pickles cross the pipes.
"""

import contextlib
import ctypes
import gc
import os
import pickle
import selectors
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import IO, TypeAlias

from services.matching.domain.model import Problem, Solution
from services.matching.solver.batch import Choice, Options, fallback, finish, solve, starting_edges
from services.matching.solver.edges import Edges
from services.matching.solver.tables import Tables

GRACE_SECONDS = 5
COMMAND = (sys.executable, "-m", "services.matching.solver.child")
_ROOT = Path(__file__).resolve().parents[3]
_LENGTH = struct.Struct("!Q")
_PR_SET_PDEATHSIG = 1


Child: TypeAlias = subprocess.Popen[bytes]


def start(command: Sequence[str] = COMMAND) -> Child:
    """A child that waits for its problem: for `solve_in_child`, or for `end`. Told nothing, it ends with its parent."""
    return subprocess.Popen(  # noqa: S603  # our own module, or a test's
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=_ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def end(child: Child) -> None:
    """Whatever it does at the moment."""
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def solve_in_child(
    problem: Problem, deadline_seconds: float, options: Options | None = None, child: Child | None = None
) -> Solution:
    """A solution within about `deadline_seconds`; blocks the calling thread, and ends the child.

    `method` tells how far the child came: "flow" it finished, "flow_interrupted" its best so far, "greedy" nothing
    usable. A fallback costs the parent the time to score again, some 3 seconds at 27,000 × 2,000.
    """
    options = options or Options()
    deadline = monotonic() + deadline_seconds
    edges: Edges | None = None
    choice: Choice | None = None
    child = child or start()
    assert child.stdin is not None
    assert child.stdout is not None
    request = pickle.dumps((os.getpid(), deadline_seconds, problem, options), protocol=5)
    # The pipe is smaller than a problem: a child that never reads must not hold the parent.
    writer = threading.Thread(target=_write, args=(child.stdin, request), daemon=True)
    writer.start()
    try:
        for message in _messages(child.stdout, deadline):
            if isinstance(message, Solution):
                return message
            if isinstance(message, Edges):
                edges = message
            elif isinstance(message, Choice):
                choice = message
    finally:
        child.kill()
        writer.join()
        end(child)
    tables = Tables(problem)
    if choice is not None:
        return finish(tables, replace(choice, method="flow_interrupted"), {})
    return finish(tables, fallback(tables, edges or starting_edges(tables, options), options), {})


def _write(pipe: IO[bytes], request: bytes) -> None:
    try:
        pipe.write(request)
        pipe.close()
    except (BrokenPipeError, ValueError):
        pass  # the child died or was ended: the reader notices


def _messages(pipe: IO[bytes], deadline: float) -> Iterator[object]:
    """Messages as they arrive, until the pipe ends, the deadline passes or one cannot be read."""
    received = bytearray()
    os.set_blocking(pipe.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while (left := deadline - monotonic()) > 0 and selector.select(left):
            piece = os.read(pipe.fileno(), 1 << 20)
            if not piece:
                return
            received += piece
            while len(received) >= _LENGTH.size:
                end = _LENGTH.size + _LENGTH.unpack_from(received)[0]
                if len(received) < end:
                    break
                try:
                    message = pickle.loads(bytes(received[_LENGTH.size : end]))  # noqa: S301  # our own child
                except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError):
                    return
                del received[:end]
                yield message


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(0)  # the parent died before the kernel was asked


def main() -> None:
    """The child's program."""
    gc.disable()  # it makes many objects, none in a cycle, and ends
    try:
        parent, deadline_seconds, problem, options = pickle.load(sys.stdin.buffer)  # noqa: S301  # our own parent
    except EOFError:
        return  # there is no problem after all
    _die_with(parent)
    signal.setitimer(signal.ITIMER_REAL, deadline_seconds + GRACE_SECONDS)
    out = sys.stdout.buffer

    def send(message: Edges | Choice | Solution) -> None:
        body = pickle.dumps(message, protocol=5)
        out.write(_LENGTH.pack(len(body)))
        out.write(body)
        out.flush()

    send(solve(problem, options, send))


if __name__ == "__main__":
    main()
