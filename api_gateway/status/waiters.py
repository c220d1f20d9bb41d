"""Requests that wait for batches and submissions, woken by completion events or by polling.

Recent completions are stored, so that a request that registers just after the message misses
nothing. One task per process polls the database for all waiters: at short intervals while Redis
is disconnected, otherwise at longer ones.
"""

import asyncio
import math
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

import structlog
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from api_gateway.database import Database
from enrollment.domain.errors import EnrollmentError
from enrollment.domain.submissions import ProgressMark, Submission
from enrollment.runtime.circuit_breaker import RETRY_INTERVAL, CircuitBreaker, Dependency
from enrollment.runtime.completion_channel import COMPLETION_CHANNEL, decode_event
from enrollment.runtime.redis_servers.pools import async_pool
from enrollment.storage import submissions
from enrollment.storage.queue import batches

log = structlog.get_logger()

#: Seconds between two polls of all keys while Redis is connected.
POLL_INTERVAL_SECONDS = 1.0
#: The same while Redis is disconnected.
POLL_INTERVAL_SECONDS_WITHOUT_REDIS = 0.1
#: Maximum number of recent completions that are stored.
MAX_RECENT = 10_000
#: Seconds without a message after which Redis is pinged, and seconds that it may take to reply.
PING_AFTER_SECONDS = 2.0

#: The id of a batch, or of a bulk submission.
WaitKey = int | UUID


class Waiters:
    """The waiting requests of this process. One per event loop."""

    def __init__(
        self,
        database: Database,
        redis_url: str,
        *,
        on_completed: Callable[[Collection[int]], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._redis_url = redis_url
        self._on_completed = on_completed
        #: Events by key, each with the progress of the submission that its waiter has seen;
        #: None if the waiter waits for the end of the submission, or for a batch.
        self._events: defaultdict[WaitKey, dict[asyncio.Event, ProgressMark | None]] = defaultdict(
            dict
        )
        #: Monotonic seconds of recent completions: a request may register after the message.
        #: An entry is used for `POLL_INTERVAL_SECONDS` only; then the database is polled.
        self._recent: OrderedDict[WaitKey, float] = OrderedDict()
        self._breaker = CircuitBreaker(Dependency.COMPLETION_CHANNEL)
        self._connected = False
        #: Keys to be polled immediately, and the event that is set if there are any.
        self._due: set[WaitKey] = set()
        self._has_due = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        #: Whether the process is shutting down, so that no request waits.
        self.is_released = False

    def start(self) -> None:
        """Starts listening and polling."""
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._poll())]

    def release(self) -> None:
        """Ends all waits, and those that follow, at once: the process is shutting down."""
        self.is_released = True
        for events in self._events.values():
            for event in events:
                event.set()

    async def stop(self) -> None:
        """Stops both tasks. On Python 3.11 the Redis client may swallow one cancellation."""
        running = set(self._tasks)
        while running:
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=PING_AFTER_SECONDS)

    async def wait_for_batch(self, batch_id: int, seconds: float) -> bool:
        """Returns when the batch is completed, or False when the time is over."""
        return await self._wait(batch_id, None, seconds)

    async def wait_for_progress(
        self, submission_id: UUID, known: ProgressMark, seconds: float
    ) -> bool:
        """Returns when a bulk submission differs from `known`, or False when the time is over."""
        return await self._wait(submission_id, known, seconds)

    async def wait_for_end(self, submission_id: UUID, seconds: float) -> bool:
        """Returns when a bulk submission is finished, or False when the time is over."""
        return await self._wait(submission_id, None, seconds)

    @contextmanager
    def watch(self, submission: Submission) -> Iterator[asyncio.Event]:
        """Yields an event that is set once the submission has made progress."""
        if submission.batch_id is None:
            with self._registered(submission.id, submission.progress_mark) as progress:
                yield progress
        else:
            with self._registered(submission.batch_id, None) as completed:
                yield completed

    async def _wait(self, key: WaitKey, known: ProgressMark | None, seconds: float) -> bool:
        with self._registered(key, known) as event:
            return await wait_until_set(event, seconds)

    @contextmanager
    def _registered(self, key: WaitKey, known: ProgressMark | None) -> Iterator[asyncio.Event]:
        """Yields an event that is registered for the key during the block."""
        event = asyncio.Event()
        self._events[key][event] = known
        completed_at = self._recent.get(key)
        is_recent = (
            completed_at is not None and time.monotonic() - completed_at < POLL_INTERVAL_SECONDS
        )
        if is_recent or self.is_released:
            event.set()
        elif completed_at is not None or isinstance(key, UUID) or not self._connected:
            self._poll_soon(key)
        try:
            yield event
        finally:
            del self._events[key][event]
            if not self._events[key]:
                del self._events[key]

    def wake(self, keys: Collection[WaitKey]) -> None:
        """Wakes the waiters of completed batches, and of submissions that made progress."""
        for key in keys:
            self._wake_key(key)

    def _wake_key(self, key: WaitKey) -> None:
        """Wakes the waiters of one key.

        A message does not contain whether a submission is finished, so waiters for its end need
        a poll.
        """
        for event, known in self._events.get(key, {}).items():
            if known is None and isinstance(key, UUID):
                self._poll_soon(key)
            else:
                event.set()

    def _poll_soon(self, key: WaitKey) -> None:
        self._due.add(key)
        self._has_due.set()

    async def _listen(self) -> None:
        """Receives completion events; reconnects after failures and then polls all keys."""
        while True:
            try:
                await self._receive()
            except Exception as error:  # noqa: BLE001 (listening must continue after any failure)
                self._breaker.record_failure(error)
            if self._connected:  # messages may have been lost
                self._connected = False
                self._due.update(self._events)
                self._has_due.set()
            await asyncio.sleep(RETRY_INTERVAL)

    async def _receive(self) -> None:
        """Handles messages until the connection fails. Raises RedisError, OSError."""
        connections = async_pool(
            ConnectionPool,
            self._redis_url,
            socket_timeout=PING_AFTER_SECONDS,
            socket_connect_timeout=PING_AFTER_SECONDS,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        redis = Redis.from_pool(connections)
        async with redis, redis.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(COMPLETION_CHANNEL)
            self._connected = True
            self._breaker.record_success()
            while True:
                self._handle(await _next_message(channel))

    def _handle(self, message: Mapping[str, Any]) -> None:
        completed = decode_event(message["data"])
        if completed is not None:
            self._on_completed(completed.batch_ids)
            self._store_recent(completed.batch_ids)
            self.wake(completed.batch_ids)
            self.wake(completed.submission_ids)

    def _store_recent(self, batch_ids: Iterable[int]) -> None:
        """Stores the time of completions; drops the oldest beyond `MAX_RECENT`."""
        self._recent.update(dict.fromkeys(batch_ids, time.monotonic()))
        while len(self._recent) > MAX_RECENT:
            self._recent.popitem(last=False)

    async def _poll(self) -> None:
        """Polls the database: due keys immediately, all keys at intervals."""
        polled_all_at = -math.inf
        while True:
            pause = (
                POLL_INTERVAL_SECONDS if self._connected else POLL_INTERVAL_SECONDS_WITHOUT_REDIS
            )
            await wait_until_set(self._has_due, polled_all_at + pause - time.monotonic())
            keys = self._due
            if time.monotonic() - polled_all_at >= pause:
                polled_all_at = time.monotonic()
                keys = set(self._events)
            self._due = set()
            self._has_due.clear()
            await self._query(
                {key for key in keys if isinstance(key, int)},
                {key for key in keys if isinstance(key, UUID)},
            )

    async def _query(self, batch_ids: Collection[int], bulks: Collection[UUID]) -> None:
        """Queries the keys and wakes their waiters; logs failures, as the next poll may succeed."""
        try:
            if batch_ids:
                self.wake(await self._database.read(batches.completed_ids, batch_ids))
            if bulks:
                self._compare(await self._database.read(submissions.progress_marks, bulks), bulks)
        except EnrollmentError as error:
            log.info("waiters.not_answered", because=str(error))
        except Exception:
            log.exception("waiters.not_answered")

    def _compare(self, marks: Mapping[UUID, ProgressMark], bulks: Collection[UUID]) -> None:
        """Wakes the waiters of submissions that made progress, ended, or no longer exist."""
        for bulk in bulks:
            self._compare_mark(bulk, marks.get(bulk))

    def _compare_mark(self, bulk: UUID, mark: ProgressMark | None) -> None:
        has_ended = mark is None or mark.is_finished
        for event, known in self._events.get(bulk, {}).items():
            is_reached = has_ended if known is None else mark != known
            if is_reached:
                event.set()


async def wait_until_set(event: asyncio.Event, seconds: float) -> bool:
    """Waits for the event, at most these seconds; returns whether it is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


async def _next_message(channel: PubSub) -> Mapping[str, Any]:
    """Returns the next message. Raises ConnectionError if a ping gets no reply.

    A half-open connection looks like one without traffic, so a pause is followed by a ping.
    """
    is_pinged = False
    while True:
        message: Mapping[str, Any] | None = await channel.get_message(timeout=PING_AFTER_SECONDS)
        if message is not None and message["type"] == "message":
            return message
        if message is None and is_pinged:
            raise ConnectionError("Redis does not answer")
        if message is None:
            await channel.ping()
        is_pinged = message is None
