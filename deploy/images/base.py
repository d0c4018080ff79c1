"""Base images made on the spot, for machines that reach no image registry: `make base-images`.

They get the names that the Dockerfile, compose and the tests ask for, and do what those need of the images of
that name: Debian by debootstrap, Python and PostgreSQL from Debian's packages, Kafka from its jars with the Java
that the embedded stack runs. A label tells them apart from a registry's. Needs root, debootstrap and a daemon.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deploy.embedded.kafka import default_cache, jars, java
from deploy.embedded.processes import StackError
from deploy.images.docker import build, demand_docker, docker, image
from deploy.images.names import BASES, DEBIAN, KAFKA, MADE_HERE, POSTGRES, PYTHON

FOLDER = Path(__file__).parent / "base"
# Not needed in any image, and most of a small system's size.
BALLAST = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "var/lib/apt/lists",
           "var/cache/apt", "var/log")  # fmt: skip
PULL_SECONDS = 300

out = Console(highlight=False)


def at_hand(*, pull: bool, names: Sequence[str] = BASES) -> str | None:
    """Why the base images can't be had, or None; `pull` asks the registry for those that are not here."""
    for name in names:
        if image(name) is None:
            if not pull:
                return f"there is no image {name} here"
            try:
                docker("pull", "--quiet", name, timeout_seconds=PULL_SECONDS)
            except StackError:
                return f"the image {name} is neither here nor in a registry that this machine reaches"
    return None


def demand_bases() -> None:
    """Pull what is missing; `StackError` if a registry does not have it or is out of reach."""
    if why := at_hand(pull=True):
        raise StackError(
            f"Images can't be built: {why}. `make base-images` makes the base images here, without a registry."
        )


def make_all(*, again: bool) -> None:
    """Each image that is missing, or all."""
    if again or image(DEBIAN) is None:
        _timed(DEBIAN, make_debian)
    for name, folder in ((PYTHON, "python"), (POSTGRES, "postgres")):
        if again or image(name) is None:
            _timed(name, partial(_build, FOLDER / folder, name))
    if again or image(KAFKA) is None:
        _timed(KAFKA, make_kafka)


def make_debian() -> None:
    """A minimal Debian 12 without documentation, imported as it is."""
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise StackError(
            "Base images are made by debootstrap as root: run this as root on Debian (apt-get install debootstrap)."
        )
    with tempfile.TemporaryDirectory(prefix="hustings-debian-") as scratch:
        root = Path(scratch, "root")
        command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", str(root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise StackError(f"debootstrap failed: {done.stdout.strip()[-800:]}")
        for part in BALLAST:
            shutil.rmtree(root / part, ignore_errors=True)
            (root / part).mkdir(parents=True, exist_ok=True)
        (root / "var/cache/apt/archives/partial").mkdir(parents=True)
        packed = Path(scratch, "root.tar")
        subprocess.run(["tar", "--numeric-owner", "-C", str(root), "-cf", str(packed), "."], check=True)
        docker("import", "--change", f"LABEL {MADE_HERE}=true", "--change", 'CMD ["bash"]', str(packed), DEBIAN)


def make_kafka() -> None:
    """Kafka's jars and a Java, with the start scripts that compose and the tests call."""
    with tempfile.TemporaryDirectory(prefix="hustings-kafka-") as scratch:
        context = Path(scratch)
        shutil.copytree(FOLDER / "kafka", context, dirs_exist_ok=True)
        (context / "libs").mkdir()
        for jar in jars(default_cache()):
            shutil.copy(jar, context / "libs")
        shutil.copytree(java().resolve().parents[1], context / "java", symlinks=True)
        _build(context, KAFKA)


def _build(context: Path, name: str) -> None:
    build(context, context / "Dockerfile", tags=[name], arguments={"DEBIAN": DEBIAN}, offline=False)


def _timed(name: str, make: Callable[[], None]) -> None:
    began = time.monotonic()
    make()
    found = image(name)
    assert found is not None
    out.print(f"{name:<28} {found['Size'] / 1e6:5.0f} MB  {time.monotonic() - began:4.0f} s")


def main(again: Annotated[bool, typer.Option(help="Make also what is there.")] = False) -> None:
    """Make the base images that are missing here."""
    try:
        demand_docker("Images can't be made")
        make_all(again=again)
    except StackError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(str(error), markup=False)
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
