"""Compile pyproject.toml into hashed requirements: one file per image, one for development.

Files hold versions and hashes, never where a package came from.
"""

import subprocess
import sys
from pathlib import Path

from shared.settings import SERVICES

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent / "pyproject.toml"
FILES: dict[str, tuple[str, ...]] = {
    **{service: (service,) for service in SERVICES},
    "mailbox": ("mailbox",),
    # What every image has: a layer that is built once.
    "common": (),
    "dev": (*SERVICES, "embedded", "dev"),
}


def compile_file(name: str, extras: tuple[str, ...]) -> None:
    """Write `<name>.txt`, keeping versions that still fit."""
    target = HERE / f"{name}.txt"
    command = ["uv", "pip", "compile", str(PROJECT), "--universal", "--python-version", "3.11", "--generate-hashes"]
    command += ["--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate", "--quiet"]
    command += [part for extra in extras for part in ("--extra", extra)]
    if name != "dev":
        # The images run what the tests ran.
        command += ["--constraint", str(HERE / "dev.txt")]
    command += ["--output-file", str(target)]
    uv = Path(sys.executable).parent / "uv"
    subprocess.run([str(uv), *command[1:]], check=True, cwd=HERE.parent.parent)
    print(f"{target.relative_to(HERE.parent.parent)}: {target.read_text().count('==')} packages")


def main() -> None:
    """Compile every file, development's first."""
    for name in ("dev", *(name for name in FILES if name != "dev")):
        compile_file(name, FILES[name])


if __name__ == "__main__":
    main()
