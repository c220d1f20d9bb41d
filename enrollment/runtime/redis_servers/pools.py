"""Connection pools of Redis; behind Sentinel each new connection goes to the current primary.

redis-py's own pools for Sentinel neither wait for a free connection nor limit the attempts at a
Sentinel. Only its connection classes are used here: they ask for the address when they connect.
"""

from typing import Any, NamedTuple, TypeVar

from redis import ConnectionPool
from redis.asyncio import ConnectionPool as AsyncConnectionPool
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.asyncio.sentinel import SentinelManagedConnection as AsyncManaged
from redis.asyncio.sentinel import SentinelManagedSSLConnection as AsyncManagedTls
from redis.backoff import NoBackoff
from redis.connection import SSLConnection, parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelManagedConnection, SentinelManagedSSLConnection

from enrollment.runtime.server_urls import SentinelUrl, sentinel_url

_Pool = TypeVar("_Pool", bound=ConnectionPool)
_AsyncPool = TypeVar("_AsyncPool", bound=AsyncConnectionPool)
#: Options that hold for the connection to a Sentinel too.
_SHARED = frozenset({"socket_timeout", "socket_connect_timeout", "protocol"})


class _Managed(NamedTuple):
    """Arguments of the connections to Redis and to its Sentinels."""

    connection: dict[str, Any]
    sentinel: dict[str, Any]
    uses_tls: bool


class _Primary:
    """Answers redis-py's managed connections, which ask their pool where to connect to."""

    is_master = True
    check_connection = False

    def __init__(self, url: SentinelUrl, options: dict[str, Any]) -> None:
        # It asks the Sentinel first that answered last.
        self._sentinels: Any = Sentinel(  # type: ignore[no-untyped-call]
            url.addresses, sentinel_kwargs=options
        )
        self._service = url.service

    def get_master_address(self) -> tuple[str, int]:
        """Returns host and port of the primary; leaves no connection open."""
        try:
            host, port = self._sentinels.discover_master(self._service)
            return host, port
        finally:
            for each in self._sentinels.sentinels:
                each.connection_pool.disconnect(inuse_connections=False)


class _AsyncPrimary:
    """The same for asyncio."""

    is_master = True
    check_connection = False

    def __init__(self, url: SentinelUrl, options: dict[str, Any]) -> None:
        self._sentinels: Any = AsyncSentinel(url.addresses, sentinel_kwargs=options)  # type: ignore[no-untyped-call]
        self._service = url.service

    async def get_master_address(self) -> tuple[str, int]:
        """Returns host and port of the primary; leaves no connection open."""
        try:
            host, port = await self._sentinels.discover_master(self._service)
            return host, port
        finally:
            for each in self._sentinels.sentinels:
                await each.connection_pool.disconnect(inuse_connections=False)


def pool(kind: type[_Pool], url: str, **options: Any) -> _Pool:
    """Returns a pool of a kind; it connects when first used.

    Raises TypeError and ValueError for parameters of the URL that do not exist.
    """
    found = sentinel_url(url)
    if found is None:
        return kind.from_url(url, **options)
    managed = _managed(found, options)
    connection = SentinelManagedSSLConnection if managed.uses_tls else SentinelManagedConnection
    primary = _Primary(found, managed.sentinel)
    return kind(connection_class=connection, connection_pool=primary, **managed.connection)


def async_pool(kind: type[_AsyncPool], url: str, **options: Any) -> _AsyncPool:
    """Returns a pool like `pool`, for one event loop."""
    found = sentinel_url(url)
    if found is None:
        return kind.from_url(url, **options)
    managed = _managed(found, options)
    connection = AsyncManagedTls if managed.uses_tls else AsyncManaged
    primary = _AsyncPrimary(found, managed.sentinel)
    return kind(connection_class=connection, connection_pool=primary, **managed.connection)


def sentinel_options(url: SentinelUrl, **options: Any) -> dict[str, Any]:
    """Returns the arguments of a client of the Sentinels; it does not repeat what failed."""
    return _managed(url, options).sentinel


def tls_options(url: SentinelUrl) -> dict[str, Any]:
    """Returns the options `ssl_…` of the URL."""
    given = _parameters(url)
    return {name: value for name, value in given.items() if name.startswith("ssl_")}


def _parameters(url: SentinelUrl) -> dict[str, Any]:
    parsed: dict[str, Any] = parse_url(url.redis)  # type: ignore[no-untyped-call]
    return parsed


def _managed(url: SentinelUrl, options: dict[str, Any]) -> _Managed:
    given = _parameters(url)
    uses_tls = given.pop("connection_class", None) is SSLConnection
    for name in ("host", "port"):
        given.pop(name, None)
    sentinel = {
        **{name: value for name, value in options.items() if name in _SHARED},
        **{name: value for name, value in given.items() if name.startswith("ssl_")},
        "username": url.sentinel_username,
        "password": url.sentinel_password,
        "ssl": uses_tls,
        "retry": Retry(NoBackoff(), 0),
    }
    return _Managed({**given, **options}, sentinel, uses_tls)
