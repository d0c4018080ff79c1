"""Migrations: plain SQL, the kernel's and the service's in one order, applied by dbmate under the owning role.

Files are named `NNNN_pre_….sql` (expand, before a deploy) and `NNNN_post_….sql` (contract, after it). The kernel's
numbers are below 0100, a service's above.
"""

import subprocess
import sys
from pathlib import Path

KERNEL = Path(__file__).parent / "migrations"


def directories(service: str) -> list[Path]:
    """Where the migrations of a service's database are."""
    return [KERNEL, KERNEL.parent.parent / "services" / service / "migrations"]


def migrate(service: str, owner_dsn: str) -> None:
    """Bring a service's database to the newest version; raises `RuntimeError` with dbmate's own words."""
    separator = "&" if "?" in owner_dsn else "?"
    url = owner_dsn if "sslmode=" in owner_dsn else f"{owner_dsn}{separator}sslmode=disable"
    command = [_dbmate(), "--no-dump-schema"]
    for directory in directories(service):
        command += ["--migrations-dir", str(directory)]
    done = subprocess.run(  # noqa: S603 (our own binary, our own arguments)
        [*command, "migrate"],
        env={"DATABASE_URL": url, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        raise RuntimeError(f"The migrations of {service} failed: {(done.stderr or done.stdout).strip()[-600:]}")


def _dbmate() -> str:
    """The dbmate binary that its wheel installed beside the interpreter."""
    return str(Path(sys.executable).parent / "dbmate")
