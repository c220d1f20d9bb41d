"""Maintenance tasks: re-dispatches overdue batches and purges data past its retention."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import takewhile

from enrollment.domain.codes import Lane
from enrollment.runtime.broker import REDISPATCH_AFTER, REDISPATCH_LIMITS
from enrollment.runtime.failpoints import Point, fail_point
from enrollment.storage import idempotency, retention
from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.queue import redispatch
from enrollment.storage.queue.batches import BatchRef

#: How long Idempotency-Keys are stored; never longer than the submissions they refer to.
KEY_RETENTION = timedelta(days=7)
#: Age after which an incomplete upload counts as abandoned.
ABANDONED_UPLOAD_AGE = timedelta(days=1)
#: Files that one transaction deletes at most, each with all of its batches.
BULKS_PER_PURGE = 5
#: Batches of single requests that one transaction deletes at most.
BATCHES_PER_PURGE = 200


class MinInterval:
    """Lets one call through per interval, so that messages that piled up cost nothing."""

    def __init__(self, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._latest = monotonic() - seconds

    def lets_through(self) -> bool:
        """Returns whether the interval since the last call that was let through has passed."""
        now = self._monotonic()
        if now - self._latest < self._seconds:
            return False
        self._latest = now
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """Re-dispatches batches that may have lost their message, and purges expired data."""

    sessions: Sessions
    dispatch: Callable[[BatchRef], bool]
    #: Number of messages on the queue of a lane; None if the broker is away.
    queue_length: Callable[[Lane], int | None]
    retention: timedelta = timedelta(days=30)

    def redispatch_overdue(self) -> int:
        """Dispatches batches that were dispatched a while ago and not processed; returns how many.

        Only as many as bring the queues to `REDISPATCH_LIMITS`: while a queue is longer than that
        its messages are not lost. Stops at the first failure: the broker is away.
        """
        room = self._room()
        if not any(room.values()):
            return 0
        overdue: list[BatchRef] = []
        with self.sessions.begin() as session:
            now = database_now(session)
            before = now - timedelta(seconds=REDISPATCH_AFTER)
            for lane, limit in room.items():
                overdue += redispatch.mark_redispatched(
                    session, lane, before=before, now=now, limit=limit
                )
        fail_point(Point.SWEEP_READ)
        return sum(1 for _ in takewhile(self._dispatch, overdue))

    def _room(self) -> dict[Lane, int]:
        """Returns how many messages the queue of each lane has room for; none: broker away."""
        room = {}
        for lane, limit in REDISPATCH_LIMITS.items():
            length = self.queue_length(lane)
            if length is None:
                return {}
            room[lane] = max(0, limit - length)
        return room

    def _dispatch(self, waiting: BatchRef) -> bool:
        is_sent = self.dispatch(waiting)
        return self.dispatch(waiting) if fail_point(Point.SWEEP_ANNOUNCED) else is_sent

    def purge_expired(self) -> None:
        """Deletes data past its retention, in many short transactions."""
        with self.sessions.begin() as session:
            now = database_now(session)
            retention.purge_abandoned_uploads(session, before=now - ABANDONED_UPLOAD_AGE)
            idempotency.purge(session, before=now - min(KEY_RETENTION, self.retention))
        for purge, limit in (
            (retention.purge_bulks, BULKS_PER_PURGE),
            (retention.purge_singles, BATCHES_PER_PURGE),
        ):
            deleted = limit
            while deleted == limit:
                with self.sessions.begin() as session:
                    deleted = purge(session, before=now - self.retention, limit=limit)
