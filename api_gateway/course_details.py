"""Course details, read a thousand times for each change: in-process, then Redis, then SQL.

Answers are kept under the *edition* of the courses, a number in SQL that every change of a
course raises in its own transaction. A process trusts the edition it read for one short
lease; whoever changes a course answers only after every older lease has run out. So when a
change has been answered nobody looks where the old course lies, whatever became of Redis,
and a slow reader can only write where nobody looks any more.
"""

import asyncio
import hashlib
import random
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

import orjson

from api_gateway.records import Records
from enrollment.cache import Cache
from enrollment.domain.model import Course
from enrollment.storage import course_edition, courses
from schemas.courses import details

#: Seconds that a process trusts the edition it read.
LEASE = 0.2
#: Seconds that a change waits beyond it before it is answered.
MARGIN = 0.05
#: Seconds that Redis keeps an answer, and how much more by chance, so that not all end at once.
KEPT = 60.0
JITTER = 15.0
#: Most answers that one lease holds in the process.
MOST_ENTRIES = 10_000
#: Most answers on their way to Redis; more are not kept there.
MOST_PUTS = 64


class Entry(NamedTuple):
    """An answer, ready to be sent."""

    body: bytes
    etag: str


#: (course_id, whether expired modes are included).
Key = tuple[str, bool]


@dataclass(slots=True)
class Lease:
    """The trust in one edition, and what was answered under it; None: no such course."""

    edition: int
    started: float
    entries: dict[Key, Entry | None] = field(default_factory=dict)
    loading: dict[Key, asyncio.Task[Entry | None]] = field(default_factory=dict)


class Unkept:
    """Nothing is known in the process: ask ``get``."""


UNKEPT: Final = Unkept()


class CourseDetails:
    """Reads course details for one process."""

    def __init__(
        self,
        records: Records,
        cache: Cache,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._records = records
        self._cache = cache
        self._now = now
        self._clock = clock
        self._sleep = sleep
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="cache")
        self._lease = Lease(edition=-1, started=float("-inf"))
        self._renewal: asyncio.Task[Lease] | None = None
        self._puts = threading.BoundedSemaphore(MOST_PUTS)

    def kept(self, key: Key) -> Entry | Unkept | None:
        """What the process holds, without waiting for anything."""
        lease = self._lease
        if self._clock() - lease.started >= LEASE:
            return UNKEPT
        return lease.entries.get(key, UNKEPT)

    async def get(self, key: Key) -> Entry | None:
        """The details of a course; None where there is no such course.

        Raises RecordsUnavailable, Overloaded.
        """
        lease = await self._leased()
        if key in lease.entries:
            return lease.entries[key]
        task = lease.loading.get(key)
        if task is None:
            task = lease.loading[key] = asyncio.create_task(self._load(lease, key))
            task.add_done_callback(_heard)
        return await asyncio.shield(task)

    async def settle(self) -> None:
        """Wait, after a change of a course was committed, until nobody trusts what was before."""
        await self._sleep(LEASE + MARGIN)

    def close(self) -> None:
        """Let what is on its way to Redis end."""
        self._pool.shutdown(wait=True)
        self._cache.close()

    async def _leased(self) -> Lease:
        """A lease that was good at the moment of asking, however long reading it takes."""
        asked = self._clock()
        while not self._serves(self._lease, asked):
            if self._renewal is None:
                self._renewal = asyncio.create_task(self._renew())
                self._renewal.add_done_callback(_heard)
            await asyncio.shield(self._renewal)
        return self._lease

    def _serves(self, lease: Lease, asked: float) -> bool:
        return asked <= lease.started or self._clock() - lease.started < LEASE

    async def _renew(self) -> Lease:
        started = self._clock()
        try:
            edition = await self._records.read(course_edition.edition)
            self._lease = Lease(edition, started)
            return self._lease
        finally:
            self._renewal = None

    async def _load(self, lease: Lease, key: Key) -> Entry | None:
        try:
            name = f"course:{lease.edition}:{key[0]}:{key[1]:d}"
            body = await self._from_redis(name)
            if body is None:
                body = await self._from_records(name, key)
            entry = None if body is None else Entry(body, etag_of(body))
            if len(lease.entries) < MOST_ENTRIES:
                lease.entries[key] = entry
            return entry
        finally:
            del lease.loading[key]

    async def _from_redis(self, name: str) -> bytes | None:
        if self._cache.is_resting:
            return None
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._cache.get, name)

    async def _from_records(self, name: str, key: Key) -> bytes | None:
        course = await self._records.read(courses.find, key[0])
        if course is None:
            return None
        now = self._now()
        body = orjson.dumps(details(course, at=now, include_expired=key[1]))
        self._put(name, body, _lifetime(course, now))
        return body

    def _put(self, name: str, body: bytes, ttl: float) -> None:
        """Send to Redis and not wait."""
        if self._cache.is_resting or not self._puts.acquire(blocking=False):
            return
        put = self._pool.submit(self._cache.put, name, body, ttl)
        put.add_done_callback(lambda _: self._puts.release())


def etag_of(body: bytes) -> str:
    """The strong entity tag of these very bytes."""
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def _lifetime(course: Course, now: datetime) -> float:
    """Seconds until a mode runs out and the answer with it, at most the usual time."""
    ends = [mode.expires_at for mode in course.modes if mode.expires_at and mode.expires_at >= now]
    usual = KEPT + random.uniform(0, JITTER)  # noqa: S311 (spreads load, guards nothing)
    return min([usual, *((end - now).total_seconds() for end in ends)])


def _heard(task: asyncio.Task[Lease] | asyncio.Task[Entry | None]) -> None:
    """An error reaches those who still wait; that all of them went away is no news."""
    if not task.cancelled():
        task.exception()
