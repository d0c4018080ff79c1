"""Writes docs/settings.md, every variable of every service: `python -m deploy.settings` (`make contract`).

Asks each service itself, in a process of its own, since nothing outside may import a service.
"""

import subprocess
import sys
from pathlib import Path

from shared.settings import SERVICES

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "settings.md"
HEAD = """# Settings

Written by `make contract` from the settings classes. Each variable may instead be given as `<NAME>_FILE`, the path of a
file that holds the value: the way to hand over secrets. An empty file is as good as none.
"""


def document() -> str:
    """The whole page."""
    parts = [HEAD]
    for service in SERVICES:
        command = [sys.executable, "-m", f"services.{service}", "settings"]
        table = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        parts.append(f"## {service}\n\n{table}")
    return "\n".join(parts)


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
    print(DOCUMENT.relative_to(ROOT))
