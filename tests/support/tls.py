"""Certificates made for a test, and a port with TLS in front of a server that has none."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.servers import LOOPBACK

#: The only name in the certificates; they do not name the address.
HOST = "localhost"
CHUNK = 65_536
#: What a client of PostgreSQL sends before TLS, and the answer.
SSL_REQUEST, WILLING = bytes.fromhex("0000000804d2162f"), b"S"


class Certificates(NamedTuple):
    """Files of a certification authority and of a server."""

    authority: Path
    server: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """Returns the server's side of TLS."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.server, self.key)
        return context


def make_certificates(folder: Path, *, with_address: bool = False) -> Certificates:
    """Makes a certification authority and, from it, a certificate for `HOST` or the address."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _builder("An authority", "An authority", authority_key.public_key())
    authority = authority.add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    authority = authority.add_extension(_usage(signs=True), critical=True)
    server = _builder(HOST, "An authority", key.public_key())
    server = server.add_extension(
        x509.SubjectAlternativeName([_name(with_address=with_address)]), critical=False
    )
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    server = server.add_extension(issuer, critical=False).add_extension(
        _usage(signs=False), critical=True
    )
    made = Certificates(*(folder / name for name in ("authority.pem", "server.pem", "server.key")))
    for path, builder in ((made.authority, authority), (made.server, server)):
        signed = builder.sign(authority_key, hashes.SHA256())
        path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made


def _name(*, with_address: bool) -> x509.GeneralName:
    return x509.IPAddress(IPv4Address(LOOPBACK)) if with_address else x509.DNSName(HOST)


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    subject_name, issuer_name = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (subject, issuer)
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject_name)
        .issuer_name(issuer_name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


class _Front:
    """Takes TLS off connections and forwards them to a port; in a thread of its own."""

    def __init__(self, target: int, certificates: Certificates, *, is_postgresql: bool) -> None:
        self._target = target
        self._context = certificates.context()
        self._is_postgresql = is_postgresql
        self._writers: list[asyncio.StreamWriter] = []
        self._loop = asyncio.new_event_loop()
        self._is_over = asyncio.Event()
        self.port: Future[int] = Future()

    def run(self) -> None:
        """Serves until `stop`."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve_all())

    def stop(self) -> None:
        """Ends `run`, and cuts all connections; from any thread."""
        self._loop.call_soon_threadsafe(self._is_over.set)

    async def _serve_all(self) -> None:
        tls = None if self._is_postgresql else self._context
        server = await asyncio.start_server(self._serve, LOOPBACK, 0, ssl=tls)
        self.port.set_result(server.sockets[0].getsockname()[1])
        await self._is_over.wait()
        server.close()
        for writer in self._writers:
            writer.transport.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            if self._is_postgresql:
                if await reader.readexactly(len(SSL_REQUEST)) != SSL_REQUEST:
                    writer.close()  # as with `hostssl` in pg_hba.conf
                    return
                writer.write(WILLING)
                await writer.start_tls(self._context)
            there, thither = await asyncio.open_connection(LOOPBACK, self._target)
            self._writers.append(thither)
            await asyncio.gather(_pump(reader, thither), _pump(there, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextmanager
def tls_front(
    target: int, certificates: Certificates, *, is_postgresql: bool = False
) -> Iterator[int]:
    """Yields a port on which only TLS is spoken, for a server on this machine."""
    front = _Front(target, certificates, is_postgresql=is_postgresql)
    thread = threading.Thread(target=front.run, name="tls")
    thread.start()
    try:
        yield front.port.result(10)
    finally:
        front.stop()
        thread.join()
