"""Completion events over Redis pub/sub: best effort; the database is authoritative."""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from redis import BlockingConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from enrollment.runtime.circuit_breaker import CircuitBreaker, Dependency
from enrollment.runtime.redis_servers.pools import pool

#: Channel to which workers publish completion events.
COMPLETION_CHANNEL = "enroll:answered"
#: Maximum number of ids of each kind in one message.
MAX_IDS = 1_000


class CompletionEvent(NamedTuple):
    """The batches and submissions that a worker completed in one transaction."""

    batch_ids: tuple[int, ...]
    submission_ids: tuple[UUID, ...]


def encode_event(event: CompletionEvent) -> bytes:
    """Returns the message of an event."""
    return json.dumps(
        {
            "batches": event.batch_ids[:MAX_IDS],
            "submissions": [submission.hex for submission in event.submission_ids[:MAX_IDS]],
        }
    ).encode()


def decode_event(message: bytes | str) -> CompletionEvent | None:
    """Parses a message; returns None for one of another form."""
    try:
        body: Any = json.loads(message)
        return CompletionEvent(
            tuple(int(batch) for batch in body["batches"]),
            tuple(UUID(hex=submission) for submission in body["submissions"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return None


def bounded_redis(url: str, *, timeout: float = 0.25) -> "Redis":
    """Returns a client that applies the timeout in seconds to every call and never retries.

    It has two connections; who finds them in use waits, for as long as the timeout.
    """
    connections = pool(
        BlockingConnectionPool,
        url,
        timeout=timeout,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        max_connections=2,
        health_check_interval=10,
    )
    return Redis.from_pool(connections)


class CompletionPublisher:
    """Publishes completion events, which wake waiters in every gateway. No method raises."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = bounded_redis(url)
        self._breaker = CircuitBreaker(Dependency.COMPLETION_CHANNEL, clock)

    def publish(self, batch_ids: Sequence[int], submission_ids: Sequence[UUID]) -> bool:
        """Publishes an event; False where Redis is unavailable (waiters then poll the database)."""
        message = encode_event(CompletionEvent(tuple(batch_ids), tuple(submission_ids)))
        return self._call(lambda: self._redis.publish(COMPLETION_CHANNEL, message))

    def ping(self) -> bool:
        """Returns whether Redis responds; pings only as often as the circuit breaker allows."""
        return self._call(self._redis.ping)

    def _call(self, command: Callable[[], object]) -> bool:
        if not self._breaker.allow():
            return False
        try:
            command()
        except (RedisError, OSError) as error:
            self._breaker.record_failure(error)
            return False
        self._breaker.record_success()
        return True
