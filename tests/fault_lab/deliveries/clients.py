"""The other systems: one that appends requests to the stream, and one that reads all streams."""

import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Self

from redis import Redis, RedisError

from tests.fault_lab.checker.deliveries import Arrival, Reply
from tests.fault_lab.deliveries import entries
from tests.fault_lab.deliveries.entries import SentMessage

COURSE = "course-v1:Uni+Messages+2026"
#: How many changes each learner gets, one after the other.
CHANGES: Sequence[dict[str, object]] = (
    {"is_active": True, "mode": "audit"},
    {"mode": "verified"},
    {"is_active": False},
    {"is_active": True},
    {"is_active": False},
)
#: Every so many messages one is a list, of so many requests.
LIST_EVERY, LIST_REQUESTS = 20, 5
#: Entries of one call, and seconds until a call that failed is repeated.
TOGETHER, PAUSE = 50, 0.1
#: Milliseconds that a read waits, and entries that it returns.
BLOCK_MS, MOST_ENTRIES = 200, 2_000


def messages_of(requests: int) -> list[SentMessage]:
    """Returns messages with so many requests in all: several changes of each enrollment."""
    learners = max(1, requests // len(CHANGES))
    left = [
        {"user": f"learner{number % learners}", "course_id": COURSE, **change}
        for number in range(requests)
        for change in [CHANGES[number // learners % len(CHANGES)]]
    ]
    messages: list[SentMessage] = []
    while left:
        size = LIST_REQUESTS if len(messages) % LIST_EVERY == LIST_EVERY - 1 else 1
        messages.append(SentMessage(f"message-{len(messages) + 1}", tuple(left[:size])))
        left = left[size:]
    return messages


class Sender:
    """Appends messages until Redis has confirmed each; one without an answer is appended again."""

    def __init__(self, url: str, key: str) -> None:
        self._url, self._key = url, key
        #: Calls that failed.
        self.repeated = 0

    def send(self, messages: Sequence[SentMessage]) -> None:
        """Appends the messages in their order."""
        with Redis.from_url(self._url, socket_timeout=5) as redis:
            for start in range(0, len(messages), TOGETHER):
                while not self._append(redis, messages[start : start + TOGETHER]):
                    self.repeated += 1
                    time.sleep(PAUSE)

    def _append(self, redis: Redis, messages: Sequence[SentMessage]) -> bool:
        try:
            with redis.pipeline(transaction=False) as pipeline:
                for message in messages:
                    pipeline.xadd(entries.REQUESTS, message.fields(self._key))  # type: ignore[arg-type]
                pipeline.execute()
        except RedisError:
            return False
        return True


class StreamReader:
    """Reads the event stream, the event bus and the replies for as long as it runs."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._after = dict.fromkeys([entries.EVENTS, *entries.TOPICS, entries.REPLIES], "0")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stream-reader")
        self.arrivals: dict[str, list[Arrival]] = defaultdict(list)
        self.replies: list[Reply] = []

    def __enter__(self) -> Self:
        """Starts to read."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends after the current read."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        with Redis.from_url(self._url, socket_timeout=5) as redis:
            while not self._ended.is_set():
                try:
                    found: Any = redis.xread(self._after, count=MOST_ENTRIES, block=BLOCK_MS)
                except RedisError:
                    self._ended.wait(PAUSE)
                    continue
                for stream, read in found:
                    self._keep(stream.decode(), read)

    def _keep(self, stream: str, read: Sequence[Any]) -> None:
        for id_, fields in read:
            self._after[stream] = id_
            if stream == entries.REPLIES:
                self.replies.append(entries.read_reply(fields))
            elif stream == entries.EVENTS:
                self.arrivals["stream"].append(entries.stream_arrival(fields))
            else:
                self.arrivals["bus"].append(entries.bus_arrival(stream, fields))
