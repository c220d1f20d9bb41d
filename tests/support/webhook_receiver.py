"""A receiver of webhooks on a real socket, whose behaviour is scripted."""

import socket
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import NamedTuple, Self

from standardwebhooks.webhooks import Webhook

#: What the receiver does with one request.
Behaviour = Callable[[socket.socket, threading.Event], None]


class Received(NamedTuple):
    """A request that was read to its end."""

    headers: Mapping[str, str]
    body: bytes


def answers(status: int, *headers: str, body: bytes = b"") -> Behaviour:
    """Answers with a status."""

    def answer(connection: socket.socket, _: threading.Event) -> None:
        lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(body)}", *headers]
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)

    return answer


def drops(_: socket.socket, __: threading.Event) -> None:
    """Closes the connection after it has read the request."""


def hangs(_: socket.socket, ended: threading.Event) -> None:
    """Does not answer."""
    ended.wait(60)


def drips(connection: socket.socket, ended: threading.Event) -> None:
    """Sends one byte of a header after the other."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while not ended.wait(0.05):
        connection.sendall(b"x")


def floods(connection: socket.socket, ended: threading.Event) -> None:
    """Answers 200 with a body without end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not ended.is_set():
        connection.sendall(b"y" * 65_536)


class WebhookReceiver:
    """Treats each request as the next entry of its script says; the last one is repeated."""

    def __init__(self, *script: Behaviour) -> None:
        self._script = list(script) or [answers(204)]
        self.received: list[Received] = []
        self.connections = 0
        self._ended = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/hook"
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        """Starts to listen."""
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends all connections."""
        self._ended.set()
        socket.create_connection(self._server.getsockname()).close()
        for thread in self._threads:
            thread.join()
        self._server.close()

    def verified(self, secret: str) -> list[str]:
        """Returns the ids of all messages; raises if one has no signature with the secret."""
        for message in self.received:
            Webhook(secret).verify(message.body, dict(message.headers))
        return [message.headers["webhook-id"] for message in self.received]

    def _accept(self) -> None:
        while not self._ended.is_set():
            connection, _ = self._server.accept()
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                message = _read(connection)
                if message is not None:
                    self.received.append(message)
                    behave = self._script.pop(0) if len(self._script) > 1 else self._script[0]
                    behave(connection, self._ended)
            except OSError:  # the sender has left
                return


def _read(connection: socket.socket) -> Received | None:
    """Returns a request; None if its sender left before the end of it."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65_536)
        if not chunk:
            return None
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    lines = (line.partition(": ") for line in head.decode().split("\r\n")[1:])
    headers = {name.lower(): value for name, _, value in lines}
    while len(body) < int(headers["content-length"]):
        chunk = connection.recv(65_536)
        if not chunk:
            return None
        body += chunk
    return Received(headers, body)
