"""The image's health check: exit 0 if `/readyz` answers 200 on the service's port. It runs every few seconds in every
container, so it imports next to nothing: `http.client` alone would take four times as long as the rest.
"""

import os
import socket
import sys

port = int(os.environ.get(f"{os.environ['HUSTINGS_SERVICE'].upper()}_PORT", "8000"))
try:
    with socket.create_connection(("127.0.0.1", port), timeout=4) as connection:
        connection.sendall(b"GET /readyz HTTP/1.0\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
except OSError as error:
    sys.exit(f"No answer on port {port}: {error}")
head, _, body = answer.partition(b"\r\n\r\n")
status = head.split(b" ", 2)[1:2]
if status != [b"200"]:
    sys.exit(body[:500].decode("utf-8", "replace") or "The answer is no HTTP.")
