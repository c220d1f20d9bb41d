"""Sliding windows of requests in Redis, which all processes share (library `limits`)."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

from limits.aio.storage import RedisStorage
from redis import RedisError
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from api_gateway.throttle.local_windows import Usage
from enrollment.runtime.circuit_breaker import CircuitBreaker, Dependency
from enrollment.runtime.redis_servers.pools import async_pool
from enrollment.runtime.setting_values import Rate

#: Timeout of a round trip in seconds.
REDIS_TIMEOUT_SECONDS = 0.1
#: Most requests that are counted in one round trip; the embedded server needs 0.3 ms for each.
MAX_HITS_PER_TRIP = 64
REDIS_PREFIX = "enroll:throttle"


class Hit(NamedTuple):
    """A request that waits to be counted."""

    key: str
    rate: Rate
    now: float
    usage: "asyncio.Future[Usage | None]"


class RedisWindows:
    """Counts requests with the scripts of `limits` for a moving window.

    Requests that arrive during a round trip are counted together by the next one. Belongs to one
    event loop.
    """

    def __init__(
        self, url: str, *, clock: Callable[[], float], timeout: float = REDIS_TIMEOUT_SECONDS
    ) -> None:
        """Connects when first used; `clock` is monotonic, `timeout` in seconds."""
        self._timeout = timeout
        self._pool = async_pool(
            BlockingConnectionPool,
            url,
            max_connections=1,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        storage: Any = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix=REDIS_PREFIX,
            connection_pool=cast("Any", self._pool),
        )
        self._bridge = storage.bridge
        self._redis = self._bridge.storage
        self._breaker = CircuitBreaker(Dependency.THROTTLE, clock)
        self._waiting: list[Hit] = []
        self._sending: asyncio.Task[None] | None = None

    async def hit(self, key: str, rate: Rate, now: float) -> Usage | None:
        """Admits a request at `now` if the window has a place; None while Redis is unavailable."""
        if self._breaker.is_open:
            return None
        usage = asyncio.get_running_loop().create_future()
        self._waiting.append(Hit(key, rate, now, usage))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all())
        return cast("Usage | None", await usage)

    async def close(self) -> None:
        """Closes the connection."""
        await self._pool.disconnect()

    async def _send_all(self) -> None:
        """Counts all waiting requests; answers None to those that Redis did not count."""
        try:
            while self._waiting:
                hits = self._waiting[:MAX_HITS_PER_TRIP]
                usages = await self._count(hits)
                del self._waiting[: len(hits)]
                _answer(hits, usages)
        finally:
            left, self._waiting, self._sending = self._waiting, [], None
            _answer(left, [None] * len(left))  # after an unexpected error

    async def _count(self, hits: list[Hit]) -> list[Usage | None]:
        if not self._breaker.allow():
            return [None] * len(hits)
        try:
            async with asyncio.timeout(self._timeout):
                results = await self._run_scripts(hits)
        except (RedisError, OSError, ValueError, TimeoutError) as error:
            self._breaker.record_failure(error)
            return [None] * len(hits)
        self._breaker.record_success()
        return [
            _usage(hit, acquired, window)
            for hit, acquired, window in zip(hits, results[::2], results[1::2], strict=True)
        ]

    async def _run_scripts(self, hits: list[Hit]) -> list[Any]:
        """Returns two results for each request, in one round trip if Redis has the scripts."""
        try:
            return await self._pipeline(hits)
        except NoScriptError:
            scripts = (self._bridge.lua_acquire_moving_window, self._bridge.lua_moving_window)
            for script in scripts:
                await self._redis.script_load(script.script)
            return await self._pipeline(hits)

    async def _pipeline(self, hits: list[Hit]) -> list[Any]:
        acquire, read = self._bridge.lua_acquire_moving_window, self._bridge.lua_moving_window
        async with self._redis.pipeline(transaction=False) as pipeline:
            for hit in hits:
                key = self._bridge.prefixed_key(hit.key)
                amount, seconds = hit.rate
                pipeline.evalsha(acquire.sha, 1, key, hit.now, amount, seconds, 1)
                pipeline.evalsha(read.sha, 1, key, hit.now - seconds, amount)
            return cast("list[Any]", await pipeline.execute())


def _answer(hits: Sequence[Hit], usages: Sequence[Usage | None]) -> None:
    for hit, usage in zip(hits, usages, strict=True):
        if not hit.usage.done():  # its caller may have hung up
            hit.usage.set_result(usage)


def _usage(hit: Hit, acquired: object, window: list[Any] | None) -> Usage:
    oldest, count = (float(window[0]), int(window[1])) if window else (hit.now, 1)
    # Redis rounds times: an entry of this moment may seem to be of the next one.
    reset_seconds = min(oldest - hit.now, 0.0) + hit.rate.seconds
    return Usage(bool(acquired), max(0, hit.rate.amount - count), reset_seconds)
