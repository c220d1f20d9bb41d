"""Receivers that set cookies, have no certificate, or never come to an end."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from enrollment.runtime.outbound.addresses import OutboundPolicy
from enrollment.runtime.outbound.exchanges import CALL_ERRORS, failure_name, read_bounded
from enrollment.runtime.outbound.guarded_http import guarded_client, total_seconds
from tests.support.tls import make_certificates

PRIVATE = OutboundPolicy(allows_private=True)
OK = b"HTTP/1.1 200 OK\r\n"
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"

#: Does something with the connection of a client.
Behaviour = Callable[[socket.socket], object]


@contextmanager
def receiver(behave: Behaviour) -> Iterator[str]:
    """Yields the address of a server that serves connections one after another."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                connection, _ = server.accept()
                with connection, suppress(OSError):
                    behave(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            ended.set()
            socket.create_connection(server.getsockname()).close()
            thread.join()


def endlessly(start: bytes, part: bytes, *, pause: float = 0.0) -> Behaviour:
    """Sends parts until the client leaves."""

    def behave(connection: socket.socket) -> None:
        connection.settimeout(10)
        connection.recv(65_536)
        connection.sendall(start)
        while True:
            connection.sendall(part)
            threading.Event().wait(pause)

    return behave


def failure_of(url: str, *, seconds: float = 0.5) -> str | None:
    """Returns the name of the failure of a call, None for an answer."""
    with guarded_client(PRIVATE) as http:
        try:
            with total_seconds(seconds), http.stream("GET", url) as response:
                read_bounded(response, 1_000)
        except CALL_ERRORS as error:
            return failure_name(error)
    return None


@pytest.mark.parametrize(
    ("start", "part", "expected"),
    [
        (b"", EARLY, "timeout"),
        (OK, b"X-Endless: 1\r\n", "connection_lost"),
        (OK + b"X-Endless: ", b"x" * 1_000, "connection_lost"),
        (OK + b"\r\n", b"x" * 1_000, None),
        (b"", b"\0", "connection_lost"),
    ],
)
def test_an_answer_without_end_ends(start: bytes, part: bytes, expected: str | None) -> None:
    seconds = 2.0 if expected == "timeout" else 60.0  # a bound of bytes ends the others
    with receiver(endlessly(start, part)) as address:
        assert failure_of(f"http://{address}/", seconds=seconds) == expected


@pytest.mark.parametrize("start", [b"", OK, OK + b"X-Slow: "])
def test_headers_that_come_slowly_end_with_the_time(start: bytes) -> None:
    with receiver(endlessly(start, b"x", pause=0.02)) as address:
        assert failure_of(f"http://{address}/") == "timeout"


def test_a_server_that_says_nothing_to_a_handshake_is_left() -> None:
    with receiver(
        lambda connection: connection.recv(65_536) and connection.recv(65_536)
    ) as address:
        assert failure_of(f"https://{address}/") in {"timeout", "connect_timeout"}


def test_a_certificate_of_an_unknown_authority_gets_no_request(tmp_path: Path) -> None:
    context = make_certificates(tmp_path, with_address=True).context()
    received = []

    def handshake(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as protected:
            received.append(protected.recv(65_536))

    with receiver(handshake) as address:
        assert failure_of(f"https://{address}/", seconds=5.0) == "not_reachable"
    assert received == []


def test_cookies_are_neither_kept_nor_sent() -> None:
    received = []

    def behave(connection: socket.socket) -> None:
        received.append(connection.recv(65_536))
        name = b"c%d" % len(received)
        connection.sendall(OK + b"Set-Cookie: " + name + b"=1\r\nContent-Length: 0\r\n\r\n")

    with receiver(behave) as address, guarded_client(PRIVATE) as http:
        for _ in range(2):
            http.get(f"http://{address}/", headers={"Connection": "close"})
        assert list(http.cookies.jar) == []
    assert not any(b"cookie" in each.lower() for each in received)
