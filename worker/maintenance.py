"""Finding again what was accepted and not answered, and letting go of what is over."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import takewhile

from enrollment.runtime.broker import REDISPATCH_AFTER, REDISPATCH_LIMIT
from enrollment.runtime.failpoints import Point, fail_point
from enrollment.storage import idempotency, retention
from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.queue import batches
from enrollment.storage.queue.batches import BatchRef

#: How long Idempotency-Keys are kept; never longer than what they stand for.
KEY_RETENTION = timedelta(days=7)
#: An upload that is not complete after so long broke off.
ABANDONED_UPLOAD_AGE = timedelta(days=1)
#: What one transaction deletes at most: bulks with all of their batches, batches of singles.
BULKS_PER_PURGE = 5
BATCHES_PER_PURGE = 200


class MinInterval:
    """Lets one call through in so many seconds: what piled up while nobody worked costs nothing."""

    def __init__(self, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._latest = monotonic() - seconds

    def lets_through(self) -> bool:
        """Whether the last call that was let through is long ago."""
        now = self._monotonic()
        if now - self._latest < self._seconds:
            return False
        self._latest = now
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """Repeats what may have been lost with the queue."""

    sessions: Sessions
    announce: Callable[[BatchRef], bool]
    retention: timedelta = timedelta(days=30)

    def sweep(self) -> int:
        """Announce again what was announced a while ago and is not answered; how many."""
        with self.sessions.begin() as session:
            now = database_now(session)
            overdue = batches.mark_redispatched(
                session,
                before=now - timedelta(seconds=REDISPATCH_AFTER),
                now=now,
                limit=REDISPATCH_LIMIT,
            )
        fail_point(Point.SWEEP_READ)
        rung = takewhile(self._announce, overdue)  # one that fails is enough: the queue is away
        return sum(1 for _ in rung)

    def _announce(self, waiting: BatchRef) -> bool:
        rung = self.announce(waiting)
        return self.announce(waiting) if fail_point(Point.SWEEP_ANNOUNCED) else rung

    def tidy(self) -> None:
        """Delete what is kept no longer, a little in each transaction."""
        with self.sessions.begin() as session:
            now = database_now(session)
            retention.purge_abandoned_uploads(session, before=now - ABANDONED_UPLOAD_AGE)
            idempotency.purge(session, before=now - min(KEY_RETENTION, self.retention))
        for purge, portion in (
            (retention.purge_bulks, BULKS_PER_PURGE),
            (retention.purge_singles, BATCHES_PER_PURGE),
        ):
            deleted = portion
            while deleted == portion:
                with self.sessions.begin() as session:
                    deleted = purge(session, before=now - self.retention, limit=portion)
