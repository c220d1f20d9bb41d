"""Keeps courses like the catalog of Open edX: reads its events with a consumer group.

One consumer works at a time, under a lease, so that two events of one course are applied in their
order. All have one name in the group: the next one reads again the entries that one did not
acknowledge.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import structlog
from redis.exceptions import RedisError, ResponseError

from enrollment.runtime.circuit_breaker import CircuitBreaker, Dependency
from enrollment.runtime.completion_channel import bounded_redis
from enrollment.storage import course_patches
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.outbox import relay_positions
from enrollment.storage.outbox.relay_positions import ChannelName
from schemas.course_patches import CoursePatch
from schemas.openedx_events.catalog import MalformedEvent, load_catalog_event
from worker.relay.streams import TIMEOUT_SECONDS

log = structlog.get_logger()

#: The consumer group, and the name of its only consumer.
CATALOG_GROUP = "enroll"
CONSUMER = "enroll"
#: Most entries that are read at once, and so applied by one transaction.
BATCH_ENTRIES = 100
#: Seconds of the lease, and after which it is renewed.
_LEASE_SECONDS = 10.0
_RENEW_SECONDS = 5.0


class _Entry(NamedTuple):
    id: bytes
    #: Empty for an entry that was trimmed from the stream.
    fields: Mapping[bytes, bytes]


class CatalogConsumer:
    """Applies catalog events to the courses that exist here. Used by one thread.

    An event of a course that does not exist here is passed over: it has neither modes nor seats,
    and with it the course would be open to everybody.
    """

    def __init__(
        self,
        sessions: Sessions,
        url: str,
        key: str,
        *,
        holder: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sessions = sessions
        self._redis = bounded_redis(url, timeout=TIMEOUT_SECONDS)
        self._key = key
        self._holder = holder
        self._monotonic = monotonic
        self._breaker = CircuitBreaker(Dependency.CATALOG, monotonic)
        self._lease = timedelta(seconds=_LEASE_SECONDS)
        self._renew_at = monotonic()
        #: Whether entries that were read before and not acknowledged may be left.
        self._has_pending = True

    def consume_next(self) -> int:
        """Applies the next entries and acknowledges them; returns how many they were.

        0: there are none, another consumer works, or Redis is away. Raises DatabaseUnavailable,
        Conflict; nothing is acknowledged then.
        """
        if not self._breaker.allow() or not self._hold_lease():
            return 0
        try:
            entries = self._read()
            if entries and self._apply(entries):
                self._redis.xack(self._key, CATALOG_GROUP, *(entry.id for entry in entries))
        except (RedisError, OSError) as error:
            self._has_pending = True
            self._breaker.record_failure(error)
            return 0
        self._breaker.record_success()
        return len(entries)

    def release(self) -> None:
        """Lets another consumer work at once."""
        with self._sessions.begin() as session:
            relay_positions.release(session, ChannelName.CATALOG, self._holder)

    def _hold_lease(self) -> bool:
        started = self._monotonic()
        if started < self._renew_at:
            return True
        self._has_pending = True
        with self._sessions.begin() as session:
            held = relay_positions.claim(
                session, ChannelName.CATALOG, self._holder, lease=self._lease
            )
        if held is None:
            return False
        self._renew_at = started + _RENEW_SECONDS
        return True

    def _read(self) -> list[_Entry]:
        """Returns the next entries: first those that were read and not acknowledged."""
        try:
            if self._has_pending and (pending := self._read_from("0")):
                return pending
            self._has_pending = False
            return self._read_from(">")
        except ResponseError as error:
            self._create_group(error)
            return []

    def _create_group(self, cause: ResponseError) -> None:
        """Creates the group, and the stream. Raises `cause` if there is one: it was not missing.

        Servers have different words for a group and for a stream that are missing.
        """
        try:
            self._redis.xgroup_create(self._key, CATALOG_GROUP, id="0", mkstream=True)
        except ResponseError:
            raise cause from None

    def _read_from(self, start: str) -> list[_Entry]:
        answer: Any = self._redis.xreadgroup(
            CATALOG_GROUP, CONSUMER, {self._key: start}, count=BATCH_ENTRIES
        )
        streams = answer.values() if isinstance(answer, dict) else (each[1] for each in answer)
        # redis-py answers RESP3 with one more list around the entries.
        found = [entry for entries in streams for entry in _entries(entries)]
        self._has_pending |= bool(found)
        return found

    def _apply(self, entries: Sequence[_Entry]) -> bool:
        """Applies entries in one transaction; False if another consumer has taken over."""
        patches: dict[str, dict[str, Any]] = {}
        for entry in entries:
            if (patch := _parse(entry)) is not None:
                patches.setdefault(patch.course_id, {}).update(patch.members)
        with self._sessions.begin() as session:
            held = relay_positions.claim(
                session, ChannelName.CATALOG, self._holder, lease=self._lease
            )
            if held is None:
                self._renew_at = self._monotonic()
                return False
            changes = course_patches.update_existing(session, patches)
        for course_id in changes.changed:
            log.info("catalog.course_changed", course_id=course_id)
        if changes.unknown:
            log.info("catalog.unknown_courses", number=len(changes.unknown))
        return True


def _entries(found: Sequence[Any]) -> list[_Entry]:
    flat = (
        found[0]
        if len(found) == 1 and found[0] and isinstance(found[0][0], list | tuple)
        else found
    )
    return [_Entry(each[0], each[1] or {}) for each in flat]


def _parse(entry: _Entry) -> CoursePatch | None:
    """Returns the patch of an entry; None, with a record in the log, for one without."""
    try:
        return load_catalog_event(entry.fields)
    except MalformedEvent as error:
        log.warning("catalog.malformed", entry=entry.id.decode(), because=str(error)[:500])
        return None
