"""Limits the connections of a process: their number, in all and per address, and their deadlines.

One timer per process looks at the deadlines of all connections, so that a request needs none.
"""

import asyncio
import ipaddress
import math
from collections import Counter
from collections.abc import Hashable
from typing import NamedTuple, Protocol

import structlog

from api_gateway.http.observation.request_ids import RequestIds

log = structlog.get_logger()

#: Maximum bytes of a request line with its headers, and of trailers.
MAX_HEAD_BYTES = 64 * 1024
#: Seconds between two checks of the deadlines.
SWEEP_SECONDS = 0.5
#: Minimum seconds between two warnings of one kind.
WARNING_SECONDS = 10.0
#: Bits of an IPv6 address that stand for one network, which counts as one address.
_IPV6_PREFIX = 64


class ConnectionLimits(NamedTuple):
    """Limits of one process; deadlines come up to `SWEEP_SECONDS` later."""

    max_connections: int = 10_000
    #: The maximum for one address; an IPv6 address counts with its /64 network.
    max_per_address: int = 5_000
    #: From the connection, or from the first byte of a later request, to the end of the headers.
    head_seconds: float = 10.0
    #: From the end of the headers to the first byte of the body they announce.
    first_body_seconds: float = 10.0
    #: From a response to the end of the body of its request, if that is still arriving.
    rest_of_body_seconds: float = 10.0
    #: Between two requests.
    keep_alive_seconds: float = 5.0
    #: From a refusal to the end of the connection: input is dropped, so that the client reads it.
    linger_seconds: float = 2.0
    #: In which a client that is sent something must read a part of it. The kernel watches this.
    unread_seconds: float = 60.0


class Guarded(Protocol):
    """A connection with a deadline."""

    deadline: float

    def expire(self) -> None:
        """Ends what takes too long."""


class ConnectionGuard:
    """Counts the open connections and ends those that are too slow. One per event loop."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self.request_ids = RequestIds()
        #: The event loop's time at the last check of deadlines: requests read no clock.
        self.now = 0.0
        self._connections: dict[Guarded, str] = {}
        self._by_address: Counter[str] = Counter()
        self._warned_at: dict[Hashable, float] = {}
        self._suppressed: Counter[Hashable] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def admit(self, connection: Guarded, host: str | None, loop: asyncio.AbstractEventLoop) -> bool:
        """Counts a new connection until `release`; returns False if there are too many."""
        address = address_of(host)
        if len(self._connections) >= self.limits.max_connections:
            self._warn_refused("ENROLL_MAX_CONNECTIONS", self.limits.max_connections, address, loop)
            return False
        if self._by_address[address] >= self.limits.max_per_address:
            name = "ENROLL_MAX_CONNECTIONS_PER_ADDRESS"
            self._warn_refused(name, self.limits.max_per_address, address, loop)
            return False
        self._connections[connection] = address
        self._by_address[address] += 1
        if self._timer is None:
            self.now = loop.time()
            self._timer = loop.call_later(SWEEP_SECONDS, self._sweep, loop)
        return True

    def release(self, connection: Guarded) -> None:
        """Forgets a closed connection; does nothing for one that was not admitted."""
        address = self._connections.pop(connection, None)
        if address is None:
            return
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]

    def warn(self, event: str, loop: asyncio.AbstractEventLoop, **fields: object) -> None:
        """Logs a warning, at most one per event in `WARNING_SECONDS`; counts the others."""
        now = loop.time()
        if now - self._warned_at.get(event, -math.inf) < WARNING_SECONDS:
            self._suppressed[event] += 1
            return
        self._warned_at[event] = now
        log.warning(event, **fields, not_logged=self._suppressed.pop(event, 0))

    def _warn_refused(
        self, setting: str, limit: int, address: str, loop: asyncio.AbstractEventLoop
    ) -> None:
        open_connections = len(self._connections)
        self.warn(
            "connection.refused",
            loop,
            because=f"{setting} is {limit}",
            address=address,
            open=open_connections,
        )

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ends connections past their deadline; runs again while there are connections.

        Deadlines were set from a time that was `SWEEP_SECONDS` old at most, hence the margin.
        """
        self._timer = None
        if self._connections:
            self._timer = loop.call_later(SWEEP_SECONDS, self._sweep, loop)
        self.now = loop.time()
        due = self.now - SWEEP_SECONDS
        for connection in [each for each in self._connections if each.deadline <= due]:
            connection.expire()


def address_of(host: str | None) -> str:
    """Returns what counts as one address; empty for a Unix socket.

    An IPv6 address counts with its network, an IPv4 address in IPv6 notation as the IPv4 address,
    and a text that a proxy sent instead of an address as it is.
    """
    if host is None or ":" not in host:
        return host or ""
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
