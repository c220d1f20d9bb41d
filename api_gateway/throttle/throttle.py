"""Limits the rates of requests: through Redis, or in this process while Redis is away."""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus

from falcon.asgi import Response

from api_gateway.http.problems import Problem
from api_gateway.throttle.local_windows import LocalWindows, Usage
from api_gateway.throttle.redis_windows import RedisWindows
from enrollment.runtime.setting_values import Rate

#: Most refused keys that are remembered.
MAX_REFUSED_KEYS = 10_000


class Throttle:
    """Counts requests by policy and caller. Belongs to one event loop."""

    def __init__(self, shared: RedisWindows, clock: Callable[[], float]) -> None:
        """`clock` is in seconds since 1970: all processes compare their times."""
        self._shared = shared
        self._clock = clock
        self._local = LocalWindows()
        #: The time until which a key is refused, without asking Redis again.
        self._refused_until: OrderedDict[str, float] = OrderedDict()

    async def hit(self, policy: str, caller: str, rate: Rate) -> Usage:
        """Counts a request if the rate admits it; one that is refused does not count."""
        key, now = _key(policy, caller), self._clock()
        wait = self._seconds_refused(key, rate, now)
        if wait is not None:
            return Usage(is_admitted=False, remaining=0, reset_seconds=wait)
        usage = await self._shared.hit(key, rate, now) or self._local.hit(key, rate, now)
        if not usage.is_admitted:
            self._refused_until[key] = now + usage.reset_seconds
            if len(self._refused_until) > MAX_REFUSED_KEYS:
                self._refused_until.popitem(last=False)
        return usage

    def seconds_refused(self, policy: str, caller: str, rate: Rate) -> float | None:
        """Returns the seconds for which requests are refused, by what this process knows."""
        return self._seconds_refused(_key(policy, caller), rate, self._clock())

    async def close(self) -> None:
        """Closes the connection to Redis."""
        await self._shared.close()

    def _seconds_refused(self, key: str, rate: Rate, now: float) -> float | None:
        until = self._refused_until.get(key)
        if until is None:
            return None
        if 0 < until - now <= rate.seconds:
            return until - now
        del self._refused_until[key]
        return None


def _key(policy: str, caller: str) -> str:
    """Returns a key without the name of the caller, which can be a person's."""
    return f"{policy}:{hashlib.blake2b(caller.encode(), digest_size=16).hexdigest()}"


def set_rate_headers(resp: Response, policy: str, rate: Rate, usage: Usage) -> None:
    """Sets RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10)."""
    resp.set_header("RateLimit-Policy", f'"{policy}";q={rate.amount};w={rate.seconds}')
    seconds = whole_seconds(usage.reset_seconds)
    resp.set_header("RateLimit", f'"{policy}";r={usage.remaining};t={seconds}')


def whole_seconds(seconds: float) -> int:
    """Returns the number of whole seconds after which the time is over for sure."""
    return max(1, math.ceil(seconds))


def throttled(rate: Rate, seconds: float) -> Problem:
    """Returns problem 429 in the words of Django REST framework; its advice is the limit."""
    wait = whole_seconds(seconds)
    problem = Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        "throttled",
        f"Request was throttled. Expected available in {_count(wait, 'second')}.",
        headers={"Retry-After": str(wait), "Cache-Control": "no-store"},
    )
    requests, window = _count(rate.amount, "request"), _count(rate.seconds, "second")
    problem.advice = f"The limit is {requests} in {window}."
    return problem


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
