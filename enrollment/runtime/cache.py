"""Redis cache: optional, verified by checksum, with a short timeout.

A hanging Redis costs one timeout per second; one that refuses connections costs less. A value with
a wrong format or checksum counts as absent.
"""

import time
import zlib
from collections.abc import Callable

from redis import BlockingConnectionPool, Redis, RedisError, ResponseError
from redis.backoff import NoBackoff
from redis.retry import Retry

from enrollment.runtime.circuit_breaker import CircuitBreaker, Dependency
from enrollment.runtime.redis_servers.pools import pool

#: Timeout of one call in seconds.
CACHE_TIMEOUT_SECONDS = 0.1
#: Maximum number of connections per process; the embedded server pays for each idle one.
MAX_CACHE_CONNECTIONS = 2
_HEALTH_CHECK_SECONDS = 30
#: Version of the format; each value is stored after it and a CRC-32 of the value.
_VERSION = b"1"
_HEADER_LENGTH = len(_VERSION) + 4


def connect(url: str) -> Redis:
    """Returns a client with short timeouts and no retries; it connects at the first call."""
    connections = pool(
        BlockingConnectionPool,
        url,
        max_connections=MAX_CACHE_CONNECTIONS,
        timeout=CACHE_TIMEOUT_SECONDS,
        socket_timeout=CACHE_TIMEOUT_SECONDS,
        socket_connect_timeout=CACHE_TIMEOUT_SECONDS,
        health_check_interval=_HEALTH_CHECK_SECONDS,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    return Redis.from_pool(connections)


class Cache:
    """Stores bytes by key for a limited time. No method raises; safe to share between threads."""

    def __init__(self, redis: Redis, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._breaker = CircuitBreaker(Dependency.CACHE, clock)

    @property
    def is_open(self) -> bool:
        """Whether Redis just failed, so that a call now would be refused."""
        return self._breaker.is_open

    def get(self, key: str) -> bytes | None:
        """Returns the value; None where it is absent, invalid, or Redis is unavailable."""
        if not self._breaker.allow():
            return None
        try:
            stored = self._redis.get(key)
        except ResponseError:  # the key has another type; Redis itself works
            self._breaker.record_success()
            return None
        except (RedisError, OSError, ValueError) as error:
            self._breaker.record_failure(error)
            return None
        self._breaker.record_success()
        return _decode(stored) if isinstance(stored, bytes) else None

    def put(self, key: str, value: bytes, ttl: float) -> None:
        """Stores the value for `ttl` seconds; does nothing where Redis is unavailable."""
        milliseconds = int(ttl * 1000)
        if milliseconds < 1 or not self._breaker.allow():
            return
        try:
            self._redis.set(key, _encode(value), px=milliseconds)
        except ResponseError:  # out of memory, or a replica; reading may still work
            self._breaker.record_success()
        except (RedisError, OSError, ValueError) as error:
            self._breaker.record_failure(error)
        else:
            self._breaker.record_success()

    def close(self) -> None:
        """Closes all connections."""
        self._redis.connection_pool.disconnect()


def _encode(value: bytes) -> bytes:
    return _VERSION + zlib.crc32(value).to_bytes(4, "big") + value


def _decode(stored: bytes) -> bytes | None:
    value = stored[_HEADER_LENGTH:]
    if stored[:_HEADER_LENGTH] != _VERSION + zlib.crc32(value).to_bytes(4, "big"):
        return None
    return value
