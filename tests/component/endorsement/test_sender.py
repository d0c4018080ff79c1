"""The connection goes to the address that was checked, while host and certificate stay the subscriber's."""

import asyncio
import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.endorsement.delivery.sender import Sender
from services.endorsement.store.publication import Claim, Subscriber

HOST = "hooks.press.example"
ACCENTED, ACCENTED_IN_ASCII = "hooks.bücher.example", "hooks.xn--bcher-kva.example"
NOW = dt.datetime(2026, 11, 4, 15, 0, tzinfo=dt.UTC)


def certificate_for(host: str, folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate of one host: paths of the certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, private


@asynccontextmanager
async def secure_receiver(certificate: Path, key: Path) -> AsyncIterator[tuple[int, list[str], list[str | None]]]:
    """A TLS receiver: its port, the request heads it got, and the server names that were asked for."""
    heads: list[str] = []
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.sni_callback = lambda _socket, name, _context: names.append(name)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 204 X\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], heads, names
    finally:
        server.close()
        await server.wait_closed()


def claim(url: str) -> Claim:
    subscriber = Subscriber(uuid4(), url, "Press", "active", None, 1, None, uuid4(), NOW)
    return Claim(subscriber, 1, 1, str(uuid4()), "{}", 0, NOW)


@pytest.mark.parametrize(
    ("written", "host", "certified", "status", "error"),
    [
        (HOST, HOST, HOST, 204, None),
        (HOST, HOST, "other.example", None, "connect_failed"),
        (ACCENTED, ACCENTED_IN_ASCII, ACCENTED_IN_ASCII, 204, None),
    ],
    ids=["its_own", "of_another", "accented"],
)
async def test_certificate_is_checked_against_the_host_on_the_checked_address(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    written: str,
    host: str,
    certified: str,
    status: int | None,
    error: str | None,
) -> None:
    certificate, key = certificate_for(certified, tmp_path)
    asked: list[str] = []
    real = socket.getaddrinfo

    def lookup(name: Any, *arguments: Any, **options: Any) -> Any:
        if name in (written, host):
            asked.append(name)
            return real("127.0.0.1", *arguments, **options)
        return real(name, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    trusting = ssl.create_default_context(cafile=str(certificate))
    sender = Sender("key", timeout_seconds=5, allow_private=True, tls=trusting)
    async with secure_receiver(certificate, key) as (port, heads, names):
        outcome = await sender.send(claim(f"https://{written}:{port}/hook?a=1"))
    await sender.close()
    assert (outcome.status_code, outcome.error) == (status, error)
    assert asked == [host]
    assert names == [host]
    if status is not None:
        lines = heads[0].split("\r\n")
        assert lines[0] == "POST /hook?a=1 HTTP/1.1"
        assert [line for line in lines if line.lower().startswith("host:")] == [f"Host: {host}:{port}"]


async def test_fault_that_nobody_foresaw_is_a_failed_try(monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(*_arguments: Any, **_options: Any) -> Any:
        raise RuntimeError("no thread is left to look names up")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    sender = Sender("key", timeout_seconds=5, allow_private=True)
    outcome = await sender.send(claim(f"https://{HOST}/hook"))
    await sender.close()
    assert (outcome.status_code, outcome.error, outcome.succeeded) == (None, "RuntimeError", False)
