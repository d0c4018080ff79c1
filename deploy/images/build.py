"""Our images: `make images`. One per service, and the mailbox's.

Wheels are downloaded here, checked against their hashes, and installed in the image without a network, so that a
build needs none of this machine's settings for package indexes. An image whose sources did not change is left alone.
"""

import hashlib
import platform
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deploy.embedded.processes import StackError
from deploy.images.base import demand_bases
from deploy.images.docker import build, demand_docker, image, labels
from deploy.images.names import OURS, PYTHON, SOURCES, ours

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
WHEELHOUSE = HERE / "wheelhouse"
DOCKERFILE = HERE / "Dockerfile"
# Debian 12 has glibc 2.36; wheels for anything older run there too.
NEWEST_GLIBC = 36

out = Console(highlight=False)


def version() -> str:
    """The project's version."""
    with (ROOT / "pyproject.toml").open("rb") as project:
        return str(tomllib.load(project)["project"]["version"])


def revision() -> str:
    """The commit, with `-dirty` if files differ from it; `unknown` outside a checkout."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def sources(name: str, base: str) -> str:
    """A hash over everything that the image of `name` is made from."""
    folders = ["deploy/embedded"] if name == "mailbox" else ["shared", f"services/{name}"]
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if _belongs(path)]
    files += [ROOT / "deploy" / "requirements" / f"{name}.txt", DOCKERFILE]
    files += [HERE / script for script in ("root.py", "install.sh", "entry.py", "health.py")]
    found = image(base)
    digest = hashlib.sha256((found["Id"] if found else base).encode())
    for path in sorted(files):
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def _belongs(path: Path) -> bool:
    skipped = {"__pycache__", "node_modules", "styles"}
    return path.is_file() and not skipped & set(path.parts)


def fill_wheelhouse(names: tuple[str, ...]) -> None:
    """Download the pinned wheels of these images, whatever Python and system this one is."""
    machine = platform.machine()
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(NEWEST_GLIBC, 4, -1)]
    platforms += [f"manylinux2014_{machine}", f"manylinux2010_{machine}", f"manylinux1_{machine}"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--only-binary=:all:", "--dest", str(WHEELHOUSE), "--find-links", str(WHEELHOUSE)]
    command += [
        "--python-version",
        "3.11",
        "--implementation",
        "cp",
        "--abi",
        "cp311",
        "--abi",
        "abi3",
        "--abi",
        "none",
    ]
    command += [part for name in platforms for part in ("--platform", name)]
    for name in names:
        pins = ROOT / "deploy" / "requirements" / f"{name}.txt"
        stamp = WHEELHOUSE / f".{name}-{hashlib.sha256(pins.read_bytes()).hexdigest()[:16]}"
        if stamp.exists():
            continue
        done = subprocess.run([*command, "--requirement", str(pins)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise StackError(f"The packages of {name} could not be downloaded: {done.stderr.strip()[-800:]}")
        stamp.touch()


def build_all(*, base: str = PYTHON, tag: str = "latest", names: tuple[str, ...] = OURS) -> list[str]:
    """Build what changed; the names of the images that were built."""
    wanted = {name: sources(name, base) for name in names}
    changed = tuple(name for name in names if labels(ours(name, tag)).get(SOURCES) != wanted[name])
    if not changed:
        return []
    fill_wheelhouse(changed)
    for name in changed:
        began = time.monotonic()
        arguments = {
            "BASE": base,
            "SERVICE": name,
            "VERSION": version(),
            "REVISION": revision(),
            "SOURCES": wanted[name],
        }
        tags = [ours(name, tag), *([ours(name, version())] if tag == "latest" else [])]
        build(ROOT, DOCKERFILE, tags=tags, arguments=arguments, offline=True)
        made = image(ours(name, tag))
        assert made is not None
        out.print(f"{ours(name, tag):<32} {made['Size'] / 1e6:5.0f} MB  {time.monotonic() - began:4.0f} s")
    return [ours(name, tag) for name in changed]


def main(
    base: Annotated[str, typer.Option(help="The image that Python is taken from.")] = PYTHON,
    tag: Annotated[str, typer.Option(help="Under which tag; the version is set beside latest.")] = "latest",
) -> None:
    """Build the images whose sources changed."""
    try:
        demand_docker("Images can't be built")
        demand_bases()
        if not build_all(base=base, tag=tag):
            out.print(f"Every image is up to date: {', '.join(ours(name, tag) for name in OURS)}.")
    except StackError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(str(error), markup=False)
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
