"""The images' health check, run as the container runs it, against answers of every kind."""

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.harness import ROOT


@contextmanager
def answering(status: int, body: bytes) -> Iterator[int]:
    """A server that gives this answer to everything; its port."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def check(port: int) -> tuple[int, str]:
    """Exit code, and what Docker would keep of it."""
    done = subprocess.run(
        [sys.executable, "-IS", str(ROOT / "deploy" / "images" / "health.py")],
        env={**os.environ, "HUSTINGS_SERVICE": "signup", "SIGNUP_PORT": str(port)},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr.strip()


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [(200, b'{"status": "ok"}', (0, "")), (503, b'{"reason": "Starting."}', (1, '{"reason": "Starting."}'))],
)
def test_container_is_healthy_when_it_is_ready(status: int, body: bytes, found: tuple[int, str]) -> None:
    with answering(status, body) as port:
        assert check(port) == found


def test_container_that_does_not_listen_is_unhealthy() -> None:
    with answering(200, b"") as port:
        pass
    code, said = check(port)
    assert code == 1
    assert said.startswith(f"No answer on port {port}:")
