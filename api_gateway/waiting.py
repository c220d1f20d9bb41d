"""Waiting for answers: woken by the workers over Redis, or by asking the records.

Who waits registers first, then the records are asked, so that no answer is missed. One
task per process asks for all: often while Redis is away, seldom while it is there.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection
from contextlib import suppress
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from api_gateway.records import Records
from enrollment.domain.errors import EnrollmentError
from enrollment.storage import batches
from enrollment.waking import ANSWERED_CHANNEL, decode

log = structlog.get_logger()

#: Seconds between two questions to the records while Redis is away.
POLL_SECONDS = 0.1
#: The same while it is there.
LOOK_SECONDS = 1.0
#: Seconds before Redis is tried again.
RECONNECT_SECONDS = 1.0

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
        self._events: defaultdict[Key, set[asyncio.Event]] = defaultdict(set)
        self._connected = False
        self._ask = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to listen and to ask."""
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._poll())]

    async def stop(self) -> None:
        """End both."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def until_answered(self, batch_id: int, seconds: float) -> None:
        """Return when the batch is answered, or when the time is over."""
        event = asyncio.Event()
        self._events[batch_id].add(event)
        self._ask.set()
        await self._wait(batch_id, event, seconds)

    async def until_moved(self, submission_id: UUID, seconds: float) -> None:
        """Return when a batch of the submission was answered, or when the time is over."""
        event = asyncio.Event()
        self._events[submission_id].add(event)
        await self._wait(submission_id, event, seconds)

    async def _wait(self, key: Key, event: asyncio.Event, seconds: float) -> None:
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), seconds)
        finally:
            self._events[key].discard(event)
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
            except (RedisError, OSError) as error:
                log.info("waiters.deaf", because=str(error))
            except Exception:
                log.exception("waiters.deaf")
            self._connected = False
            self._ask.set()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _hear_all(self) -> None:
        redis = Redis.from_url(
            self._redis_url, socket_connect_timeout=1.0, retry=Retry(NoBackoff(), 0)
        )
        async with redis, redis.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(ANSWERED_CHANNEL)
            self._connected = True
            async for message in channel.listen():
                answered = decode(message["data"])
                if answered is not None:
                    self._heard(answered.batch_ids)
                    self.wake(answered.batch_ids)
                    self.wake(answered.submission_ids)

    async def _poll(self) -> None:
        while True:
            self._ask.clear()
            waited = {key for key in self._events if isinstance(key, int)}
            if waited:
                await self._ask_for(waited)
            with suppress(TimeoutError):
                pause = LOOK_SECONDS if self._connected else POLL_SECONDS
                if not self._events:
                    pause = None  # type: ignore[assignment]
                await asyncio.wait_for(self._ask.wait(), pause)

    async def _ask_for(self, batch_ids: Collection[int]) -> None:
        try:
            self.wake(await self._records.read(batches.answered_of, batch_ids))
        except EnrollmentError as error:
            log.info("waiters.not_answered", because=str(error))
        except Exception:
            log.exception("waiters.not_answered")
