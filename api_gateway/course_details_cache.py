"""Read-through cache of course details: in process, then Redis, then the database.

Course details are read far more often than changed. Entries are stored under the *edition* of
the courses, a number in the database that every change of a course increments in its own
transaction. A process trusts the edition that it read for one short lease, and a change is
answered only after every older lease has expired. So after the answer no process reads the
old entry, whatever the state of Redis, and a slow reader can only write an entry that nobody
reads any more.
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

from api_gateway.database import Database
from enrollment.domain.model import Course
from enrollment.runtime.cache import Cache
from enrollment.storage import course_edition, courses
from schemas.courses import dump_details

#: Seconds for which a process trusts the edition it read.
LEASE_SECONDS = 0.2
#: Seconds that a change waits beyond the lease before it is answered.
LEASE_MARGIN_SECONDS = 0.05
#: Seconds that Redis keeps an entry, and a random addition so that not all expire at once.
TTL_SECONDS = 60.0
TTL_JITTER_SECONDS = 15.0
#: Maximum number of entries of one lease.
MAX_ENTRIES = 10_000
#: Maximum number of writes to Redis in progress; entries beyond are not written.
MAX_PUTS = 64


class CachedDetails(NamedTuple):
    """A response, ready to be sent."""

    body: bytes
    etag: str


#: (course_id, whether expired modes are included).
DetailsKey = tuple[str, bool]


@dataclass(slots=True)
class Lease:
    """A trusted edition, and the entries read under it; None for a course that does not exist."""

    edition: int
    started: float
    entries: dict[DetailsKey, CachedDetails | None] = field(default_factory=dict)
    loading: dict[DetailsKey, asyncio.Task[CachedDetails | None]] = field(default_factory=dict)


class NotCached:
    """The process has no entry: call ``get``."""


NOT_CACHED: Final = NotCached()


class CourseDetailsCache:
    """The course details cache of one process."""

    def __init__(
        self,
        database: Database,
        cache: Cache,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._cache = cache
        self._now = now
        self._clock = clock
        self._sleep = sleep
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="cache")
        self._lease = Lease(edition=-1, started=float("-inf"))
        self._renewal: asyncio.Task[Lease] | None = None
        self._puts = threading.BoundedSemaphore(MAX_PUTS)

    def peek(self, key: DetailsKey) -> CachedDetails | NotCached | None:
        """Return the entry of this process, without waiting; None: no such course."""
        lease = self._lease
        if self._clock() - lease.started >= LEASE_SECONDS:
            return NOT_CACHED
        return lease.entries.get(key, NOT_CACHED)

    async def get(self, key: DetailsKey) -> CachedDetails | None:
        """Return the details of a course; None if it does not exist.

        Raises RecordsUnavailable, Overloaded.
        """
        lease = await self._current_lease()
        if key in lease.entries:
            return lease.entries[key]
        task = lease.loading.get(key)
        if task is None:
            task = lease.loading[key] = asyncio.create_task(self._load(lease, key))
            task.add_done_callback(_retrieve_error)
        return await asyncio.shield(task)

    async def wait_for_leases(self) -> None:
        """Wait, after a change was committed, until all leases on older editions expired."""
        await self._sleep(LEASE_SECONDS + LEASE_MARGIN_SECONDS)

    def close(self) -> None:
        """Wait for the writes to Redis in progress."""
        self._pool.shutdown(wait=True)
        self._cache.close()

    async def _current_lease(self) -> Lease:
        """Return a lease that was valid when this was called, however long reading it takes."""
        asked = self._clock()
        while not self._is_valid(self._lease, asked):
            if self._renewal is None:
                self._renewal = asyncio.create_task(self._renew())
                self._renewal.add_done_callback(_retrieve_error)
            await asyncio.shield(self._renewal)
        return self._lease

    def _is_valid(self, lease: Lease, asked: float) -> bool:
        return asked <= lease.started or self._clock() - lease.started < LEASE_SECONDS

    async def _renew(self) -> Lease:
        started = self._clock()
        try:
            edition = await self._database.read(course_edition.edition)
            self._lease = Lease(edition, started)
            return self._lease
        finally:
            self._renewal = None

    async def _load(self, lease: Lease, key: DetailsKey) -> CachedDetails | None:
        try:
            name = f"course:{lease.edition}:{key[0]}:{key[1]:d}"
            body = await self._load_from_redis(name)
            if body is None:
                body = await self._load_from_database(name, key)
            entry = None if body is None else CachedDetails(body, etag_of(body))
            if len(lease.entries) < MAX_ENTRIES:
                lease.entries[key] = entry
            return entry
        finally:
            del lease.loading[key]

    async def _load_from_redis(self, name: str) -> bytes | None:
        if self._cache.is_open:
            return None
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._cache.get, name)

    async def _load_from_database(self, name: str, key: DetailsKey) -> bytes | None:
        course = await self._database.read(courses.find, key[0])
        if course is None:
            return None
        now = self._now()
        body = orjson.dumps(dump_details(course, at=now, include_expired=key[1]))
        self._put(name, body, _ttl(course, now))
        return body

    def _put(self, name: str, body: bytes, ttl: float) -> None:
        """Write to Redis in the background."""
        if self._cache.is_open or not self._puts.acquire(blocking=False):
            return
        put = self._pool.submit(self._cache.put, name, body, ttl)
        put.add_done_callback(lambda _: self._puts.release())


def etag_of(body: bytes) -> str:
    """The strong entity tag of these bytes."""
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def _ttl(course: Course, now: datetime) -> float:
    """Seconds until the first mode expires, which changes the details; at most the usual time."""
    ends = [mode.expires_at for mode in course.modes if mode.expires_at and mode.expires_at >= now]
    usual = TTL_SECONDS + random.uniform(0, TTL_JITTER_SECONDS)  # noqa: S311 (spreads load, not for security)
    return min([usual, *((end - now).total_seconds() for end in ends)])


def _retrieve_error(task: asyncio.Task[Lease] | asyncio.Task[CachedDetails | None]) -> None:
    """Mark the error as retrieved, for the case that every waiting request was cancelled."""
    if not task.cancelled():
        task.exception()
