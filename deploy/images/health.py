"""The image's health check: exit 0 if `/readyz` answers 200 on the service's port. Standard library only: it runs
every few seconds, and must start in a blink."""

import http.client
import os
import sys

port = int(os.environ.get(f"{os.environ['HUSTINGS_SERVICE'].upper()}_PORT", "8000"))
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
try:
    connection.request("GET", "/readyz")
    answer = connection.getresponse()
except OSError as error:
    sys.exit(f"No answer on port {port}: {error}")
if answer.status != 200:
    sys.exit(answer.read(500).decode("utf-8", "replace"))
