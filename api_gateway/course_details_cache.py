"""Read-through cache of course details: in process, then Redis, then the database.

Course details are read far more often than changed. The key of an entry contains the *edition*
of the courses, a number in the database that every change of a course increments in its own
transaction. A process uses the edition that it read for one short lease, and a change is
answered only after every older lease has expired. So after the response no process serves the
old entry, even while Redis is unreachable, and a slow reader can only write an entry under an
edition that is no longer read.
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
from enrollment.runtime.metrics.instruments import COURSE_CACHE_LOOKUPS
from enrollment.storage import course_edition, courses
from schemas.courses import dump_details

#: Seconds for which a process uses the edition that it read.
LEASE_SECONDS = 0.2
#: Seconds that a change waits beyond the lease before it is answered.
LEASE_MARGIN_SECONDS = 0.05
#: Seconds that Redis keeps an entry, plus a random part so that entries do not expire together.
DETAILS_TTL_SECONDS = 60.0
TTL_JITTER_SECONDS = 15.0
#: Maximum number of entries of one lease.
MAX_ENTRIES = 10_000
#: Maximum number of writes to Redis in progress; entries beyond are not written.
MAX_PENDING_PUTS = 64

_HIT, _REDIS, _DATABASE = map(COURSE_CACHE_LOOKUPS.labels, ("hit", "redis", "database"))


class CachedDetails(NamedTuple):
    """A rendered response."""

    body: bytes
    etag: str


#: (course_id, whether expired modes are included).
DetailsKey = tuple[str, bool]


@dataclass(slots=True)
class Lease:
    """An edition and the entries read under it; None for a course that does not exist."""

    edition: int
    #: Monotonic seconds at which reading the edition began.
    started_at: float
    entries: dict[DetailsKey, CachedDetails | None] = field(default_factory=dict)
    loading: dict[DetailsKey, asyncio.Task[CachedDetails | None]] = field(default_factory=dict)


class NotCached:
    """Marks a missing entry; call `get`."""


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
        self._lease = Lease(edition=-1, started_at=float("-inf"))
        self._renewal: asyncio.Task[Lease] | None = None
        self._puts = threading.BoundedSemaphore(MAX_PENDING_PUTS)

    def peek(self, key: DetailsKey) -> CachedDetails | NotCached | None:
        """Returns the entry of this process without waiting; None if there is no such course."""
        lease = self._lease
        if self._clock() - lease.started_at >= LEASE_SECONDS:
            return NOT_CACHED
        found = lease.entries.get(key, NOT_CACHED)
        if found is not NOT_CACHED:
            _HIT.inc()
        return found

    async def get(self, key: DetailsKey) -> CachedDetails | None:
        """Returns the details of a course; None if it does not exist.

        Raises DatabaseUnavailable, Overloaded.
        """
        lease = await self._current_lease()
        if key in lease.entries:
            _HIT.inc()
            return lease.entries[key]
        task = lease.loading.get(key)
        if task is None:
            task = lease.loading[key] = asyncio.create_task(self._load(lease, key))
            task.add_done_callback(_retrieve_error)
        return await asyncio.shield(task)

    async def wait_for_leases(self) -> None:
        """Waits until all leases on older editions have expired; call it after a commit."""
        await self._sleep(LEASE_SECONDS + LEASE_MARGIN_SECONDS)

    def close(self) -> None:
        """Waits for the writes to Redis in progress, then closes the connection."""
        self._pool.shutdown(wait=True)
        self._cache.close()

    async def _current_lease(self) -> Lease:
        """Returns a lease that was valid when this was called, even if reading it takes long."""
        called_at = self._clock()
        while not self._is_valid(self._lease, called_at):
            if self._renewal is None:
                self._renewal = asyncio.create_task(self._renew())
                self._renewal.add_done_callback(_retrieve_error)
            await asyncio.shield(self._renewal)
        return self._lease

    def _is_valid(self, lease: Lease, called_at: float) -> bool:
        is_newer = called_at <= lease.started_at
        return is_newer or self._clock() - lease.started_at < LEASE_SECONDS

    async def _renew(self) -> Lease:
        """Reads the edition and replaces the lease."""
        started_at = self._clock()
        try:
            edition = await self._database.read(course_edition.edition)
            self._lease = Lease(edition, started_at)
            return self._lease
        finally:
            self._renewal = None

    async def _load(self, lease: Lease, key: DetailsKey) -> CachedDetails | None:
        """Loads an entry from Redis or the database and adds it to the lease."""
        try:
            redis_key = f"course:{lease.edition}:{key[0]}:{key[1]:d}"
            body = await self._load_from_redis(redis_key)
            (_DATABASE if body is None else _REDIS).inc()
            if body is None:
                body = await self._load_from_database(redis_key, key)
            entry = None if body is None else CachedDetails(body, etag_of(body))
            if len(lease.entries) < MAX_ENTRIES:
                lease.entries[key] = entry
            return entry
        finally:
            del lease.loading[key]

    async def _load_from_redis(self, redis_key: str) -> bytes | None:
        if self._cache.is_open:
            return None
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._cache.get, redis_key)

    async def _load_from_database(self, redis_key: str, key: DetailsKey) -> bytes | None:
        course = await self._database.read(courses.find, key[0])
        if course is None:
            return None
        now = self._now()
        body = orjson.dumps(dump_details(course, at=now, include_expired=key[1]))
        self._put(redis_key, body, _ttl(course, now))
        return body

    def _put(self, redis_key: str, body: bytes, ttl: float) -> None:
        """Writes to Redis in the background, unless Redis fails or too many writes are pending."""
        if self._cache.is_open or not self._puts.acquire(blocking=False):
            return
        put = self._pool.submit(self._cache.put, redis_key, body, ttl)
        put.add_done_callback(lambda _: self._puts.release())


def etag_of(body: bytes) -> str:
    """Returns the strong entity tag of the bytes."""
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def _ttl(course: Course, now: datetime) -> float:
    """Returns the seconds until a mode expires, which changes the details; at most the default."""
    ends = [mode.expires_at for mode in course.modes if mode.expires_at and mode.expires_at >= now]
    default = DETAILS_TTL_SECONDS + random.uniform(0, TTL_JITTER_SECONDS)  # noqa: S311 (spreads load, not for security)
    return min([default, *((end - now).total_seconds() for end in ends)])


def _retrieve_error(task: asyncio.Task[Lease] | asyncio.Task[CachedDetails | None]) -> None:
    """Marks the error as retrieved, in case every waiting request was cancelled."""
    if not task.cancelled():
        task.exception()
