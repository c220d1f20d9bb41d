"""An HTTP client for addresses that others named: connects to checked addresses only.

A name is resolved once for each connection, every address is checked, and the connection goes to a
checked one; `Host`, SNI and the check of the certificate are those of the name. Redirects are not
followed, proxies and other settings in the environment are ignored.
"""

import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import httpcore
import httpx

from enrollment.runtime.outbound.addresses import (
    OutboundPolicy,
    RefusedDestination,
    check_address,
    parse_target,
)

#: Seconds for a connection, and for an exchange from its first to its last byte.
OUTBOUND_CONNECT_SECONDS, OUTBOUND_TOTAL_SECONDS = 3.0, 10.0
#: A name with more addresses is refused: one of them is likely to be chosen by an attacker.
MAX_ADDRESSES = 20
#: Addresses of a name that are tried one after another.
_TRIED_ADDRESSES = 2
#: Seconds that an unused connection is kept.
_KEEPALIVE_SECONDS = 5.0
_DEADLINE: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextmanager
def total_seconds(seconds: float) -> Iterator[None]:
    """Limits everything that this thread does with guarded connections inside the block."""
    token = _DEADLINE.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _DEADLINE.reset(token)


def _remaining(timeout: float | None) -> float | None:
    """Returns the shorter of a time limit and the rest of the total. Raises ReadTimeout."""
    deadline = _DEADLINE.get()
    if deadline is None:
        return timeout
    rest = deadline - time.monotonic()
    if rest <= 0:
        message = "the total time is over"
        raise httpcore.ReadTimeout(message)
    return rest if timeout is None else min(rest, timeout)


class _LimitedStream(httpcore.NetworkStream):
    """A connection whose reads and writes end with the total time."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _remaining(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _remaining(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        limit = _remaining(timeout)
        return _LimitedStream(self._stream.start_tls(ssl_context, server_hostname, limit))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _GuardedBackend(httpcore.SyncBackend):
    """Resolves names, checks their addresses, and connects to one of them."""

    def __init__(self, policy: OutboundPolicy) -> None:
        self._policy = policy

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connects to a checked address. Raises RefusedDestination and errors of httpcore."""
        failure: Exception | None = None
        for address in resolve_checked(host, port, self._policy)[:_TRIED_ADDRESSES]:
            try:
                stream = super().connect_tcp(
                    address, port, _remaining(timeout), local_address, socket_options
                )
                return _LimitedStream(stream)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError("no address")


def resolve_checked(host: str, port: int, policy: OutboundPolicy) -> list[str]:
    """Returns the addresses of a host, in the order of the resolver, each of them checked.

    Raises RefusedDestination if one of them is not allowed, and httpcore.ConnectError.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        message = "the name of the host cannot be resolved"
        raise httpcore.ConnectError(message) from error
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if len(addresses) > MAX_ADDRESSES:
        message = f"its host has more than {MAX_ADDRESSES} addresses"
        raise RefusedDestination(message)
    for address in addresses:
        check_address(address, policy)
    return addresses


class GuardedTransport(httpx.HTTPTransport):
    """A transport that checks each URL, and connects to checked addresses only."""

    def __init__(self, policy: OutboundPolicy, *, max_connections: int = 100) -> None:
        context = httpx.create_ssl_context(trust_env=False)
        super().__init__(verify=context, trust_env=False)
        self._policy = policy
        # The parent has no parameter for the backend.
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=max_connections,
            keepalive_expiry=_KEEPALIVE_SECONDS,
            network_backend=_GuardedBackend(policy),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request. Raises RefusedDestination and httpx.TransportError."""
        parse_target(str(request.url), self._policy)
        return super().handle_request(request)


def guarded_client(policy: OutboundPolicy, *, max_connections: int = 100) -> httpx.Client:
    """Returns a client; use `total_seconds` around a request, and read its body bounded.

    It accepts no cookies: a receiver could fill the memory with them, and they would be sent to
    other receivers of its domain.
    """
    client = httpx.Client(
        transport=GuardedTransport(policy, max_connections=max_connections),
        timeout=httpx.Timeout(OUTBOUND_TOTAL_SECONDS, connect=OUTBOUND_CONNECT_SECONDS),
        follow_redirects=False,
        trust_env=False,
        headers={"Accept-Encoding": "identity"},
    )
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
    return client
