"""A copy of the repository to break, so that nobody else who works in it notices."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[3]


def git(*arguments: str, root: Path = ROOT) -> str:
    """What git says; raises `CalledProcessError`."""
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout


def revision(*, committed: bool) -> str:
    """The commit, with a `+` if changes that are not committed are copied too."""
    changed = not committed and bool(git("status", "--porcelain", "--untracked-files=no"))
    return git("rev-parse", "--short", "HEAD").strip() + ("+" if changed else "")


@contextmanager
def copied(*, committed: bool) -> Iterator[Path]:
    """A clone of the last commit, and unless `committed` with whatever has been changed since; gone afterwards.

    PostgreSQL, started by root, runs as another user, who has to pass through the directory.
    """
    place = Path(tempfile.mkdtemp(prefix="hustings-mutants-"))
    place.chmod(0o755)
    try:
        tree = place / "tree"
        git("clone", "--quiet", "--shared", str(ROOT), str(tree))
        if not committed:
            for name in filter(None, git("ls-files", "-z", "-m", "-o", "--exclude-standard").split("\0")):
                source, target = ROOT / name, tree / name
                if source.is_file():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(source, target)
                else:
                    target.unlink(missing_ok=True)
        yield tree
    finally:
        shutil.rmtree(place, ignore_errors=True)
