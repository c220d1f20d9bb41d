"""The Redis side of the cache: never needed, never trusted, never waited for long.

A frozen Redis costs one short time-out a second; a missing one costs less. Whatever is not
exactly what was put in counts as not there.
"""

import time
import zlib
from collections.abc import Callable

from redis import BlockingConnectionPool, Redis, RedisError, ResponseError
from redis.backoff import NoBackoff
from redis.retry import Retry

from enrollment.runtime.circuit_breaker import CircuitBreaker, Dependency

#: Seconds that one call may take.
CACHE_TIMEOUT_SECONDS = 0.1
#: Connections of one process: the embedded server pays for each idle one.
MAX_CACHE_CONNECTIONS = 2
_HEALTH_CHECK_SECONDS = 30
#: Before each value: the form of what follows, and its checksum.
_FORM = b"1"
_HEAD = len(_FORM) + 4


def connect(url: str) -> Redis:
    """A client that gives up at once; it connects when first used."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CACHE_CONNECTIONS,
        timeout=CACHE_TIMEOUT_SECONDS,
        socket_timeout=CACHE_TIMEOUT_SECONDS,
        socket_connect_timeout=CACHE_TIMEOUT_SECONDS,
        health_check_interval=_HEALTH_CHECK_SECONDS,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    return Redis.from_pool(pool)


class Cache:
    """Bytes under keys, for a while. No method raises; safe to share between threads."""

    def __init__(self, redis: Redis, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._breaker = CircuitBreaker(Dependency.CACHE, clock)

    @property
    def is_open(self) -> bool:
        """Whether Redis failed a moment ago, so that asking is of no use."""
        return self._breaker.is_open

    def get(self, key: str) -> bytes | None:
        """What was put there, or None."""
        if not self._breaker.allow():
            return None
        try:
            kept = self._redis.get(key)
        except ResponseError:  # another type lies there: Redis itself is well
            self._breaker.record_success()
            return None
        except (RedisError, OSError, ValueError) as error:
            self._breaker.record_failure(error)
            return None
        self._breaker.record_success()
        return _decode(kept) if isinstance(kept, bytes) else None

    def put(self, key: str, value: bytes, ttl: float) -> None:
        """Keep the value for some seconds, if that can be done at once."""
        milliseconds = int(ttl * 1000)
        if milliseconds < 1 or not self._breaker.allow():
            return
        try:
            self._redis.set(key, _encode(value), px=milliseconds)
        except ResponseError:  # full, or a replica: reading may still work
            self._breaker.record_success()
        except (RedisError, OSError, ValueError) as error:
            self._breaker.record_failure(error)
        else:
            self._breaker.record_success()

    def close(self) -> None:
        """Close every connection."""
        self._redis.connection_pool.disconnect()


def _encode(value: bytes) -> bytes:
    return _FORM + zlib.crc32(value).to_bytes(4, "big") + value


def _decode(kept: bytes) -> bytes | None:
    value = kept[_HEAD:]
    if kept[:_HEAD] != _FORM + zlib.crc32(value).to_bytes(4, "big"):
        return None
    return value
