"""Saying what was answered, and hearing it: best effort over Redis, rows are the truth."""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from enrollment.runtime.circuit_breaker import CircuitBreaker, Dependency

#: Channel on which workers say what they answered.
COMPLETION_CHANNEL = "enroll:answered"
#: Ids in one message at most.
MAX_IDS = 1_000


class CompletionEvent(NamedTuple):
    """What a worker answered in one transaction."""

    batch_ids: tuple[int, ...]
    submission_ids: tuple[UUID, ...]


def encode_event(answered: CompletionEvent) -> bytes:
    """The message."""
    return json.dumps(
        {
            "batches": answered.batch_ids[:MAX_IDS],
            "submissions": [submission.hex for submission in answered.submission_ids[:MAX_IDS]],
        }
    ).encode()


def decode_event(message: bytes | str) -> CompletionEvent | None:
    """What the message says; None for one that is not ours."""
    try:
        said: Any = json.loads(message)
        return CompletionEvent(
            tuple(int(batch) for batch in said["batches"]),
            tuple(UUID(hex=submission) for submission in said["submissions"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return None


def bounded_redis(url: str, *, timeout: float = 0.25) -> "Redis":
    """A client whose every call ends within the time-out, without trying again by itself."""
    return Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        max_connections=2,
        health_check_interval=10,
    )


class CompletionPublisher:
    """Wakes waiters in every gateway. No method raises."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = bounded_redis(url)
        self._breaker = CircuitBreaker(Dependency.COMPLETION_CHANNEL, clock)

    def publish(self, batch_ids: Sequence[int], submission_ids: Sequence[UUID]) -> bool:
        """Say what was answered; False where Redis is away (waiters then ask the records)."""
        message = encode_event(CompletionEvent(tuple(batch_ids), tuple(submission_ids)))
        return self._tried(lambda: self._redis.publish(COMPLETION_CHANNEL, message))

    def ping(self) -> bool:
        """Whether Redis answers; while it does not, it is asked once a pause."""
        return self._tried(self._redis.ping)

    def _tried(self, call: Callable[[], object]) -> bool:
        if not self._breaker.allow():
            return False
        try:
            call()
        except (RedisError, OSError) as error:
            self._breaker.record_failure(error)
            return False
        self._breaker.record_success()
        return True
