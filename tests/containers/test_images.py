"""What is in an image, and what is not."""

import io
import json
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.images.build import revision, version
from deploy.images.docker import docker
from deploy.images.names import OURS, ours
from shared.settings import SERVICES
from tests.harness import ROOT

PYTHON = "/opt/venv/bin/python"
# A process as an operator runs it: nothing it could write to, no rights.
HARDENED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


@dataclass(frozen=True, slots=True)
class Packed:
    """An image as it is handed over: its settings and history, and every file of every layer."""

    config: dict[str, Any]
    files: dict[str, bytes]


@pytest.fixture(scope="module")
def packed(images: None) -> dict[str, Packed]:
    """Each image, unpacked from what `docker save` writes."""
    return {name: unpack(ours(name)) for name in OURS}


def unpack(image: str) -> Packed:
    """Read an image's archive; only files of the application keep their content."""
    archive = subprocess.run(["docker", "save", image], capture_output=True, check=True).stdout
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as outer:
        [manifest] = json.loads(_read(outer, "manifest.json"))
        config = json.loads(_read(outer, manifest["Config"]))
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=io.BytesIO(_read(outer, layer))) as inner:
                for member in inner:
                    if member.isfile() or member.issym() or member.islnk():
                        wanted = member.isfile() and (member.name.startswith("app/") or member.size < 4096)
                        files[member.name] = _read(inner, member.name) if wanted else b""
    return Packed(config, files)


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    content = archive.extractfile(name)
    assert content is not None
    return content.read()


@pytest.mark.parametrize("name", OURS)
def test_image_runs_one_process_without_rights(name: str, packed: dict[str, Packed]) -> None:
    config = packed[name].config["config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == [PYTHON, "/app/entry.py"]
    assert config["Healthcheck"]["Test"] == ["CMD", PYTHON, "-IS", "/app/health.py"]
    assert config["StopSignal"] == "SIGTERM"


@pytest.mark.parametrize("name", OURS)
def test_image_says_what_it_was_made_from(name: str, packed: dict[str, Packed]) -> None:
    labels = packed[name].config["config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == version()
    # The commit, even when a later one changed nothing that is in this image.
    assert len(labels["org.opencontainers.image.revision"].removesuffix("-dirty")) == len(
        revision().removesuffix("-dirty")
    )


@pytest.mark.parametrize("name", OURS)
def test_image_holds_one_service_and_nothing_for_tests(name: str, packed: dict[str, Packed]) -> None:
    code = {path.removeprefix("app/") for path in packed[name].files if path.startswith("app/")}
    folders = {"/".join(path.split("/")[:2]) for path in code if path.startswith(("services/", "deploy/"))}
    if name == "mailbox":
        assert folders == {"deploy/__init__.py", "deploy/__pycache__", "deploy/embedded"}
        assert {path.split("/")[0] for path in code} == {"deploy", "entry.py", "health.py", "__pycache__"}
    else:
        assert folders == {"services/__init__.py", "services/__pycache__", f"services/{name}"}
        assert {path.split("/")[0] for path in code} == {"services", "shared", "entry.py", "health.py", "__pycache__"}
    assert [path for path in code if "/tests/" in f"/{path}"] == []
    words = (b"HUSTINGS_FAULTS", b"tests.faults", b"tests/faults")
    own = {path: content for path, content in packed[name].files.items() if path.startswith("app/")}
    mentions = [path for path, content in own.items() if any(word in content for word in words)]
    assert mentions == []


@pytest.mark.parametrize("name", OURS)
def test_image_has_no_shell_and_no_package_manager(name: str, packed: dict[str, Packed]) -> None:
    tools = {"sh", "bash", "dash", "busybox", "apt", "apt-get", "dpkg", "perl", "curl", "wget", "pip", "pip3", "su"}
    programs = {Path(path).name for path in packed[name].files if Path(path).parent.name in {"bin", "sbin"}}
    assert programs & tools == set()


@pytest.mark.parametrize("name", OURS)
def test_no_layer_and_no_setting_holds_a_secret(name: str, packed: dict[str, Packed]) -> None:
    image = packed[name]
    variables = dict(pair.split("=", 1) for pair in image.config["config"]["Env"])
    assert sorted(variables) == [
        "HUSTINGS_SERVICE", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONUTF8", "SSL_CERT_FILE"
    ]  # fmt: skip
    history = json.dumps(image.config["history"])
    words = ("password", "secret", "token", "PRIVATE KEY", "index-url", "://")
    assert [word for word in words if word in history] == []
    keys = [path for path, content in image.files.items()
            if b"PRIVATE KEY-----\n" in content and not path.endswith((".py", ".pyc"))]  # fmt: skip
    assert keys == []
    left_behind = [path for path in image.files if Path(path).name in {"pip.conf", ".netrc", ".pypirc", ".npmrc"}]
    assert left_behind == []


@pytest.mark.parametrize("name", SERVICES)
def test_image_cannot_import_a_neighbour(name: str, images: None) -> None:
    neighbours = [service for service in SERVICES if service != name]
    script = (
        "import importlib.util, json, sys; sys.path.insert(0, '/app')\n"
        f"importlib.import_module('services.{name}.app')\n"
        f"print(json.dumps([s for s in {neighbours} if importlib.util.find_spec(f'services.{{s}}')]))"
    )
    said = docker("run", "--rm", *HARDENED, "--entrypoint", PYTHON, ours(name), "-c", script)
    assert json.loads(said) == []


def test_images_cannot_be_written_to(images: None) -> None:
    script = (
        "import os\n"
        "for place in ('/', '/app', '/opt/venv', '/etc', '/data', '/tmp'):\n"
        "    try:\n"
        "        open(os.path.join(place, 'x'), 'w').close(); print(place)\n"
        "    except OSError: pass\n"
        "print(os.getuid(), open('/proc/self/status').read().split('CapEff:')[1].split()[0])"
    )
    said = docker("run", "--rm", *HARDENED, "--entrypoint", PYTHON, ours("signup"), "-c", script)
    assert said.splitlines() == ["/tmp", "10001 0000000000000000"]


def test_dockerfiles_are_clean() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    files = [str(path) for path in sorted((ROOT / "deploy").rglob("*Dockerfile"))]
    done = subprocess.run([str(hadolint), *files], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)
