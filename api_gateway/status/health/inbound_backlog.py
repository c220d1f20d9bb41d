"""The entries of the request stream that are not stored yet."""

import time
from collections.abc import Callable, Iterable
from typing import Annotated, NamedTuple, TypedDict

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from redis import Redis, RedisError

from enrollment.runtime.completion_channel import bounded_redis
from enrollment.runtime.settings import Settings
from schemas.encoding.json_types import Count, Doc

#: Age in seconds of an entry from which it is reported.
OLD_ENTRY_SECONDS = 60.0


class InboundBacklogJson(TypedDict):
    """Entries of the request stream that are not stored yet."""

    waiting_requests: Count
    oldest_seconds: Annotated[Count, Doc("Age of the oldest of them.")]


class InboundBacklog(NamedTuple):
    """The number of entries, and the age in seconds of the oldest; its id has the time."""

    number: int
    age: float

    @property
    def finding(self) -> str:
        """A sentence for operators if an entry waits for too long, else empty."""
        if self.age <= OLD_ENTRY_SECONDS:
            return ""
        return (
            f"{self.number} entries of the request stream wait, the oldest for {self.age:.0f} "
            "seconds: check that beat runs, and its log for inbound.postponed"
        )

    def dump(self) -> InboundBacklogJson:
        """Renders it."""
        return {"waiting_requests": self.number, "oldest_seconds": int(self.age)}


class InboundProbe:
    """Reads the backlog with one round trip; may be used by several threads.

    A consumer deletes what it has stored, so all that is in the stream waits.
    """

    def __init__(
        self, redis: Redis, stream: str, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._redis = redis
        self._stream = stream
        self._wall_clock = wall_clock

    def read(self) -> InboundBacklog | None:
        """Returns the backlog; None while Redis cannot be read. Blocks, for a bounded time."""
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.xlen(self._stream)
                pipeline.xrange(self._stream, count=1)
                number, oldest = pipeline.execute()
        except (RedisError, OSError):
            return None
        if not oldest:
            return InboundBacklog(0, 0.0)
        written_ms = int(bytes(oldest[0][0]).partition(b"-")[0])
        return InboundBacklog(number, max(self._wall_clock() - written_ms / 1e3, 0.0))


def make_inbound_probe(settings: Settings) -> InboundProbe | None:
    """Returns the probe of the request stream; None where the settings have none."""
    if settings.request_stream is None:
        return None
    return InboundProbe(bounded_redis(settings.redis_url), settings.request_stream)


class InboundMetrics(Collector):
    """The backlog of the request stream as metrics; none while Redis cannot be read."""

    def __init__(self, backlog: InboundBacklog | None) -> None:
        self._backlog = backlog

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Returns the number of entries and the age of the oldest."""
        if self._backlog is None:
            return
        number = GaugeMetricFamily(
            "enroll_inbound_waiting_requests", "Entries of the request stream that wait."
        )
        number.add_metric([], self._backlog.number)
        age = GaugeMetricFamily("enroll_inbound_oldest_age_seconds", "Age of the oldest of them.")
        age.add_metric([], self._backlog.age)
        yield number
        yield age
