"""The file system of an image without a distribution: Python, what it links, and a few files of /etc.

    python3 root.py make /root-fs            collect it from the system that this runs on
    python3 root.py check /root-fs /opt/venv fail if a package links a library that is not in it

Runs in the first stages of the Dockerfile, with the base image's own Python and nothing else installed.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

# What wheels of the manylinux kind may expect of every system, beside what Python itself links.
EXPECTED_OF_SYSTEMS = ("libstdc++.so.6", "libgcc_s.so.1", "libz.so.1", "librt.so.1", "libdl.so.2", "libutil.so.1",
                       "libpthread.so.0")  # fmt: skip
# Parts of the standard library for developers and desktops.
UNUSED = ("test", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "pydoc_data", "site-packages",
          "dist-packages", "__pycache__")  # fmt: skip
ETC = {
    "passwd": "root:x:0:0:root:/:/nonexistent\nhustings:x:10001:10001:Hustings:/:/nonexistent\n",
    "group": "root:x:0:\nhustings:x:10001:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_LINKED = re.compile(r"(?:=> )?(/\S+) \(0x")


def linked(binary: Path) -> set[Path]:
    """The files that the loader takes for a program or library."""
    said = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=False).stdout
    return {Path(found) for found in _LINKED.findall(said)}


def system_library(name: str) -> Path | None:
    """Where the loader's cache has a library."""
    cache = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    found = re.search(rf"^\s*{re.escape(name)} .*=> (/\S+)$", cache, re.MULTILINE)
    return Path(found.group(1)) if found else None


def take(source: Path, root: Path) -> None:
    """Copy a file to the same place below `root`; a chain of links is kept."""
    while True:
        # Debian keeps /lib as a link to /usr/lib: the place is that of the directory.
        source = source.parent.resolve() / source.name
        target = root / source.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() or target.is_symlink():
            return
        if not source.is_symlink():
            shutil.copy2(source, target)
            return
        target.symlink_to(source.readlink())
        source = source.parent / source.readlink()


def make(root: Path) -> None:
    """Collect interpreter, standard library, libraries and settings."""
    for name in ("lib", "lib64"):
        here = Path("/", name)
        root.mkdir(parents=True, exist_ok=True)
        if here.is_symlink():
            (root / name).symlink_to(here.readlink())
    interpreter = Path(sys.executable)
    take(interpreter, root)
    library = Path(sysconfig.get_path("stdlib")).resolve()
    shutil.copytree(
        library,
        root / library.relative_to("/"),
        symlinks=True,
        ignore=lambda _directory, names: [n for n in names if n in UNUSED or n.startswith("config-")],
    )
    needed = linked(interpreter.resolve())
    for module in (library / "lib-dynload").glob("*.so"):
        needed |= linked(module)
    for name in EXPECTED_OF_SYSTEMS:
        if path := system_library(name):
            needed |= {path, *linked(path)}
    for path in sorted(needed):
        take(path, root)
    write_etc(root)
    subprocess.run(["/sbin/ldconfig", "-r", str(root)], check=True)
    subprocess.run([sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s", str(root),
                    str(root / library.relative_to("/"))], check=True)  # fmt: skip
    for name in ("tmp", "proc", "sys", "dev", "run"):
        (root / name).mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)


def write_etc(root: Path) -> None:
    """Users, name resolution, certificates."""
    for name, text in ETC.items():
        path = root / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    target = root / CERTIFICATES.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(CERTIFICATES, target)


def check(root: Path, packages: Path) -> None:
    """Every library that a package links is in the image: in `root`, or beside the package."""
    missing = {
        path
        for module in packages.rglob("*.so*")
        if module.is_file()
        for path in linked(module)
        if not path.is_relative_to(packages) and not (root / path.resolve().relative_to("/")).exists()
    }
    if missing:
        names = ", ".join(sorted(str(path) for path in missing))
        sys.exit(f"Packages link libraries that the image would not have: {names}. Name them in EXPECTED_OF_SYSTEMS.")


if __name__ == "__main__":
    action, *paths = sys.argv[1:]
    if action == "make":
        make(Path(paths[0]))
    else:
        check(Path(paths[0]), Path(paths[1]))
