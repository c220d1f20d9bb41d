"""A connection whose client host vanishes: nothing more arrives, and nothing is acknowledged.

A proxy that merely stops forwarding keeps its kernel, which goes on acknowledging. Here a socket
filter drops every segment that the server sends, so the server meets silence, as after a power cut
or behind a cut cable. It needs no privileges.
"""

import ctypes
import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

LOOPBACK = "127.0.0.1"
CHUNK = 65_536
#: Size of PostgreSQL's Sync message.
SYNC_BYTES = 5
_SO_ATTACH_FILTER = 26
#: A classic BPF program of one instruction: `ret 0`, accept no bytes.
_DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)


def drop_segments(connection: Any) -> None:
    """Drops every segment that arrives for a TCP socket, so none is acknowledged."""
    program = ctypes.create_string_buffer(_DROP_ALL)
    filter_ = struct.pack("HP", 1, ctypes.addressof(program))
    connection.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_)


class SilentCut:
    """Forwards one connection to a port until the client has sent `after` chunks.

    Of the last chunk a half arrives, or all but its end (`without_sync`: the Sync message that ends
    a pipeline of PostgreSQL). From then on the client's host is gone, for this connection and for
    new ones; the server's side is never closed. `after` None: it forwards everything.
    """

    def __init__(self, target_port: int, after: int | None, *, without_sync: bool = False) -> None:
        self._without_sync = without_sync
        self._target_port = target_port
        self._after = after
        self._is_armed = threading.Event()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        #: Chunks of the client since `arm`.
        self.chunks = 0
        #: The ports by which the server knows the connections.
        self.client_ports: list[int] = []
        self.is_cut = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def arm(self) -> None:
        """Counts chunks from here on."""
        self._is_armed.set()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                if not self.is_cut:
                    self._forward(client)

    def _forward(self, client: socket.socket) -> None:
        server = socket.create_connection((LOOPBACK, self._target_port))
        self._sockets.append(server)
        self.client_ports.append(server.getsockname()[1])
        threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
        threading.Thread(target=self._replies, args=(server, client), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(CHUNK):
                if self._is_armed.is_set():
                    self.chunks += 1
                    if self.chunks == self._after:
                        end = len(data) - SYNC_BYTES if self._without_sync else len(data) // 2
                        server.sendall(data[: max(1, end)])
                        self._vanish(server)
                        return
                server.sendall(data)
            if not self.is_cut:
                server.shutdown(socket.SHUT_WR)

    def _replies(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(CHUNK):
                client.sendall(data)

    def _vanish(self, server: socket.socket) -> None:
        self.is_cut = True
        drop_segments(server)
