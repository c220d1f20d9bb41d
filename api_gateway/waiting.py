"""Waiting for answers: woken by the workers over Redis, or by asking the records.

What was heard just now is remembered, so that who registers after the word came misses no
answer. One task per process asks for all who wait: often while Redis is away, seldom while it
is there.
"""

import asyncio
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

from api_gateway.records import Records
from enrollment.breaker import PAUSE, Breaker, Subject
from enrollment.domain.errors import EnrollmentError
from enrollment.domain.submissions import ProgressMark, Submission
from enrollment.storage import batches, submissions
from enrollment.waking import ANSWERED_CHANNEL, decode

log = structlog.get_logger()

#: Seconds between two questions to the records while Redis is away.
POLL_SECONDS = 0.1
#: The same while it is there.
LOOK_SECONDS = 1.0
#: Batches that are remembered to have been answered.
MAX_RECENT = 10_000
#: Seconds without a word after which Redis is asked for one, and that it may take to answer.
QUIET_SECONDS = 2.0

#: A batch's id, or a bulk submission's.
Key = int | UUID


class Waiters:
    """Those who wait in this process. One per event loop."""

    def __init__(
        self,
        records: Records,
        redis_url: str,
        *,
        heard: Callable[[Collection[int]], None] = lambda _: None,
    ) -> None:
        self._records = records
        self._redis_url = redis_url
        self._heard = heard
        #: With what is known already of a bulk by who waits for it to move.
        self._events: defaultdict[Key, dict[asyncio.Event, ProgressMark | None]] = defaultdict(dict)
        #: Batches that were heard of last, and when: who begins to wait now may come too late
        #: for that. The records have the last word, so it counts for a moment only.
        self._recent: OrderedDict[Key, float] = OrderedDict()
        self._breaker = Breaker(Subject.WAKING)
        self._connected = False
        self._ask = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to listen and to ask."""
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._poll())]

    async def stop(self) -> None:
        """End both. On Python 3.11 the client for Redis may swallow being told to once."""
        going_on = set(self._tasks)
        while going_on:
            for task in going_on:
                task.cancel()
            _, going_on = await asyncio.wait(going_on, timeout=QUIET_SECONDS)

    async def until_answered(self, batch_id: int, seconds: float) -> None:
        """Return when the batch is answered, or when the time is over."""
        await self._wait(batch_id, None, seconds)

    async def until_moved(self, submission_id: UUID, known: ProgressMark, seconds: float) -> None:
        """Return when the bulk is no longer where it is known to be, or when the time is over."""
        await self._wait(submission_id, known, seconds)

    @contextmanager
    def watching(self, submission: Submission) -> Iterator[asyncio.Event]:
        """Inside the block the event is set once the submission is not where it is known to be."""
        if submission.batch_id is None:
            with self._registered(submission.id, submission.mark) as moved:
                yield moved
        else:
            with self._registered(submission.batch_id, None) as answered:
                yield answered

    async def _wait(self, key: Key, known: ProgressMark | None, seconds: float) -> None:
        with self._registered(key, known) as event:
            await is_set(event, seconds)

    @contextmanager
    def _registered(self, key: Key, known: ProgressMark | None) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        self._events[key][event] = known
        heard_at = self._recent.get(key)
        if heard_at is not None and time.monotonic() - heard_at < LOOK_SECONDS:
            event.set()
        elif heard_at is not None or isinstance(key, UUID) or not self._connected:
            self._ask.set()
        try:
            yield event
        finally:
            del self._events[key][event]
            if not self._events[key]:
                del self._events[key]

    def wake(self, keys: Collection[Key]) -> None:
        """Wake those who wait for any of the keys."""
        for key in keys:
            for event in self._events.get(key, ()):
                event.set()

    async def _listen(self) -> None:
        while True:
            try:
                await self._hear_all()
            except Exception as error:  # noqa: BLE001 (nobody may stay deaf, whatever it was)
                self._breaker.failed(error)
            self._connected = False
            self._ask.set()
            await asyncio.sleep(PAUSE)

    async def _hear_all(self) -> None:
        redis = Redis.from_url(
            self._redis_url,
            socket_timeout=QUIET_SECONDS,
            socket_connect_timeout=QUIET_SECONDS,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        async with redis, redis.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(ANSWERED_CHANNEL)
            self._connected = True
            self._breaker.succeeded()
            while True:
                self._hear(await _next_word(channel))

    def _hear(self, message: Mapping[str, Any]) -> None:
        answered = decode(message["data"])
        if answered is not None:
            self._heard(answered.batch_ids)
            self._remember(answered.batch_ids)
            self.wake(answered.batch_ids)
            self.wake(answered.submission_ids)

    def _remember(self, batch_ids: Iterable[int]) -> None:
        self._recent.update(dict.fromkeys(batch_ids, time.monotonic()))
        while len(self._recent) > MAX_RECENT:
            self._recent.popitem(last=False)

    async def _poll(self) -> None:
        while True:
            self._ask.clear()
            await self._ask_for(
                {key for key in self._events if isinstance(key, int)},
                {key for key in self._events if isinstance(key, UUID)},
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS if self._connected else POLL_SECONDS):
                    await self._ask.wait()

    async def _ask_for(self, batch_ids: Collection[int], bulks: Collection[UUID]) -> None:
        try:
            if batch_ids:
                self.wake(await self._records.read(batches.answered_of, batch_ids))
            if bulks:
                self._compare(await self._records.read(submissions.progress_marks, bulks), bulks)
        except EnrollmentError as error:
            log.info("waiters.not_answered", because=str(error))
        except Exception:
            log.exception("waiters.not_answered")

    def _compare(self, marks: Mapping[UUID, ProgressMark], bulks: Collection[UUID]) -> None:
        """Wake those who wait for bulks that moved, or that are no more."""
        for bulk in bulks:
            for event, known in self._events.get(bulk, {}).items():
                if marks.get(bulk) != known:
                    event.set()


async def is_set(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event is set before the time is over, for which it is waited."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


async def _next_word(channel: PubSub) -> Mapping[str, Any]:
    """What is heard next. Raises ConnectionError where even a question is met with silence.

    A connection whose other end is gone is as quiet as one on which nothing happens.
    """
    is_asked = False
    while True:
        message: Mapping[str, Any] | None = await channel.get_message(timeout=QUIET_SECONDS)
        if message is not None and message["type"] == "message":
            return message
        if message is None and is_asked:
            raise ConnectionError("Redis does not answer")
        if message is None:
            await channel.ping()
        is_asked = message is None
