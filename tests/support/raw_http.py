"""Connections to a served gateway, byte by byte, and the gateway process for them."""

import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from enrollment.storage import migrate
from tests.support.servers import free_port
from tests.support.service_processes import PATIENCE, Running, bare, is_ready, wait_until

EDX_KEY = "a fixed key of more than thirty-two characters"
NO_REDIS = "redis://127.0.0.1:1/0"


class ServedGateway(Running):
    """`enroll gateway` as a process, on SQLite and without Redis."""

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        self.port = free_port()
        url = f"sqlite:///{folder / 'x.sqlite3'}"
        migrate.upgrade(url)
        given = {"ENROLL_DATABASE_URL": url, "ENROLL_REDIS_URL": NO_REDIS} | environment
        words = ["gateway", "--port", self.port, *options]
        super().__init__(folder, words, bare(ENROLL_EDX_API_KEY=EDX_KEY, **given))

    @property
    def url(self) -> str:
        """Returns its address."""
        return f"http://127.0.0.1:{self.port}"

    def rss(self) -> int:
        """Returns its resident memory in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def records(self, level: str = "") -> list[dict[str, Any]]:
        """Returns its log records, of one level or of all."""
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line for line in lines if level in {"", line["level"]}]


@contextmanager
def served(folder: Path, *options: str, **environment: str) -> Iterator[ServedGateway]:
    """Runs a gateway during the block; yields it when it is ready."""
    gateway = ServedGateway(folder, *options, **environment)
    gateway.start()
    try:
        wait_until(lambda: is_ready(gateway.url), gateway.log)
        yield gateway
    finally:
        gateway.bury()


class Raw:
    """One connection; times are seconds since it was opened."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._opened_at = time.monotonic()
        self.received = b""
        self.closed_after: float | None = None

    def __enter__(self) -> Self:
        """Returns the open connection."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.socket.close()

    def send(self, data: bytes) -> Self:
        """Sends all of the data, or what the peer takes before it closes."""
        try:
            self.socket.sendall(data)
        except ConnectionError:
            self.read()
        return self

    def read(self) -> bytes:
        """Reads until the peer closes; returns everything that was received."""
        self.read_until(lambda _: False)
        return self.received

    def read_until(self, is_enough: Callable[[bytes], bool]) -> bytes:
        """Reads until there is enough, or the peer closes; returns everything so far."""
        while self.closed_after is None and not is_enough(self.received):
            try:
                data = self.socket.recv(1 << 20)
            except ConnectionError:
                data = b""
            self.received += data
            if not data:
                self.closed_after = time.monotonic() - self._opened_at
        return self.received

    def read_response(self) -> bytes:
        """Reads the head of a response and as many bytes of its body as it announces."""
        return self.read_until(is_complete)


def is_complete(received: bytes) -> bool:
    """Whether the bytes hold the head of a response and its body by Content-Length."""
    head, found, body = received.partition(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return bool(found) and len(body) >= int(length or b"0")


def request(start: str, *headers: str, body: bytes = b"", host: str = "x") -> bytes:
    """Returns the bytes of a request: the start line without the version, Host, headers."""
    given: Sequence[str] = [f"Host: {host}"] if host else []
    lines = [f"{start} HTTP/1.1", *given, *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def status_of(received: bytes) -> int:
    """Returns the status of the first response; 0 if there is none."""
    return int(received.split(b" ", 2)[1]) if received.startswith(b"HTTP/") else 0
