"""Appends entries to Redis streams."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from enrollment.runtime.completion_channel import bounded_redis

#: Time limit of each call of Redis in seconds: to connect, and to read a reply.
TIMEOUT_SECONDS = 2.0


class StreamEntry(NamedTuple):
    """An entry to be appended to a stream, which keeps about `max_length` entries."""

    key: str
    fields: Mapping[str, str | bytes]
    max_length: int


class StreamAppender:
    """Appends entries in order, all or none of a call's.

    A call that fails may have appended them all the same. It is never repeated here.
    """

    def __init__(self, url: str) -> None:
        self._redis = bounded_redis(url, timeout=TIMEOUT_SECONDS)

    def append(self, entries: Sequence[StreamEntry]) -> None:
        """Appends the entries in one transaction of Redis. Raises RedisError, OSError.

        Without a transaction an entry could be refused for lack of memory, and the one behind it
        be taken: then the first delivery of the two would be out of order.
        """
        with self._redis.pipeline(transaction=True) as pipeline:
            for key, fields, max_length in entries:
                pipeline.xadd(key, dict(fields), maxlen=max_length, approximate=True)  # type: ignore[arg-type]
            pipeline.execute()

    def close(self) -> None:
        """Closes the connections."""
        self._redis.close()
