"""Requests that wait for batches and submissions, woken by workers over Redis or by polling.

Completions received a moment ago are remembered, so that a request that registers just after
the message misses nothing. One task per process polls the database for all waiters: often
while Redis is away, seldom while it is connected.
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
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from api_gateway.database import Database
from enrollment.domain.errors import EnrollmentError
from enrollment.domain.submissions import ProgressMark, Submission
from enrollment.runtime.circuit_breaker import RETRY_INTERVAL, CircuitBreaker, Dependency
from enrollment.runtime.completion_channel import COMPLETION_CHANNEL, decode_event
from enrollment.storage import submissions
from enrollment.storage.queue import batches

log = structlog.get_logger()

#: Seconds between two polls of the database while Redis is connected.
POLL_SECONDS = 1.0
#: The same while Redis is away.
POLL_SECONDS_WITHOUT_REDIS = 0.1
#: Number of completed batches that are remembered.
MAX_RECENT = 10_000
#: Seconds without a message after which Redis is pinged, and that it may take to reply.
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
        #: None if the waiter needs the end alone (of the submission, or of the batch).
        self._events: defaultdict[WaitKey, dict[asyncio.Event, ProgressMark | None]] = defaultdict(
            dict
        )
        #: Batches completed last, with the time: a request may register after the message. The
        #: database has the last word, so an entry counts for POLL_SECONDS only.
        self._recent: OrderedDict[WaitKey, float] = OrderedDict()
        self._breaker = CircuitBreaker(Dependency.COMPLETION_CHANNEL)
        self._connected = False
        #: Keys to be polled at once, and the event that says there are some.
        self._due: set[WaitKey] = set()
        self._is_due = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start listening and polling."""
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._poll())]

    async def stop(self) -> None:
        """Stop both tasks. On Python 3.11 the Redis client may swallow one cancellation."""
        running = set(self._tasks)
        while running:
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=PING_AFTER_SECONDS)

    async def wait_for_batch(self, batch_id: int, seconds: float) -> None:
        """Return when the batch is completed, or when the time is over."""
        await self._wait(batch_id, None, seconds)

    async def wait_for_progress(
        self, submission_id: UUID, known: ProgressMark, seconds: float
    ) -> None:
        """Return when a bulk submission differs from `known`, or when the time is over."""
        await self._wait(submission_id, known, seconds)

    async def wait_for_end(self, submission_id: UUID, seconds: float) -> None:
        """Return when a bulk submission is finished, or when the time is over."""
        await self._wait(submission_id, None, seconds)

    @contextmanager
    def watch(self, submission: Submission) -> Iterator[asyncio.Event]:
        """Yield an event that is set once the submission has made progress."""
        if submission.batch_id is None:
            with self._registered(submission.id, submission.progress_mark) as moved:
                yield moved
        else:
            with self._registered(submission.batch_id, None) as completed:
                yield completed

    async def _wait(self, key: WaitKey, known: ProgressMark | None, seconds: float) -> None:
        with self._registered(key, known) as event:
            await wait_until_set(event, seconds)

    @contextmanager
    def _registered(self, key: WaitKey, known: ProgressMark | None) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        self._events[key][event] = known
        completed_at = self._recent.get(key)
        if completed_at is not None and time.monotonic() - completed_at < POLL_SECONDS:
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
        """Wake the waiters of completed batches, and of submissions that made progress.

        A message does not say whether a submission is finished, so for those who wait for its
        end one poll finds out.
        """
        for key in keys:
            for event, known in self._events.get(key, {}).items():
                if known is None and isinstance(key, UUID):
                    self._poll_soon(key)
                else:
                    event.set()

    def _poll_soon(self, key: WaitKey) -> None:
        self._due.add(key)
        self._is_due.set()

    async def _listen(self) -> None:
        while True:
            try:
                await self._receive()
            except Exception as error:  # noqa: BLE001 (listening must go on, whatever failed)
                self._breaker.record_failure(error)
            if self._connected:  # messages may have been lost
                self._connected = False
                self._due.update(self._events)
                self._is_due.set()
            await asyncio.sleep(RETRY_INTERVAL)

    async def _receive(self) -> None:
        redis = Redis.from_url(
            self._redis_url,
            socket_timeout=PING_AFTER_SECONDS,
            socket_connect_timeout=PING_AFTER_SECONDS,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
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
            self._remember(completed.batch_ids)
            self.wake(completed.batch_ids)
            self.wake(completed.submission_ids)

    def _remember(self, batch_ids: Iterable[int]) -> None:
        self._recent.update(dict.fromkeys(batch_ids, time.monotonic()))
        while len(self._recent) > MAX_RECENT:
            self._recent.popitem(last=False)

    async def _poll(self) -> None:
        """Ask the database: for due keys at once, for all keys at intervals."""
        polled_all_at = -math.inf
        while True:
            pause = POLL_SECONDS if self._connected else POLL_SECONDS_WITHOUT_REDIS
            await wait_until_set(self._is_due, polled_all_at + pause - time.monotonic())
            keys = self._due
            if time.monotonic() - polled_all_at >= pause:
                polled_all_at = time.monotonic()
                keys = set(self._events)
            self._due = set()
            self._is_due.clear()
            await self._query(
                {key for key in keys if isinstance(key, int)},
                {key for key in keys if isinstance(key, UUID)},
            )

    async def _query(self, batch_ids: Collection[int], bulks: Collection[UUID]) -> None:
        try:
            if batch_ids:
                self.wake(await self._database.read(batches.answered_of, batch_ids))
            if bulks:
                self._compare(await self._database.read(submissions.progress_marks, bulks), bulks)
        except EnrollmentError as error:
            log.info("waiters.not_answered", because=str(error))
        except Exception:
            log.exception("waiters.not_answered")

    def _compare(self, marks: Mapping[UUID, ProgressMark], bulks: Collection[UUID]) -> None:
        """Wake the waiters of submissions that made progress, ended, or no longer exist."""
        for bulk in bulks:
            mark = marks.get(bulk)
            for event, known in self._events.get(bulk, {}).items():
                has_ended = mark is None or mark.is_finished
                if has_ended if known is None else mark != known:
                    event.set()


async def wait_until_set(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event for so many seconds; return whether it is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


async def _next_message(channel: PubSub) -> Mapping[str, Any]:
    """Return the next message. Raises ConnectionError if a ping gets no reply.

    A half-open connection is as quiet as one without traffic, so silence is followed by a ping.
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
