"""Maintenance: re-dispatches overdue batches."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import takewhile

from enrollment.domain.codes import Lane
from enrollment.runtime.broker import REDISPATCH_AFTER, REDISPATCH_LIMITS
from enrollment.runtime.failpoints import Point, fail_point
from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.queue import redispatch
from enrollment.storage.queue.batches import BatchRef


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
    """Re-dispatches batches that may have lost their message."""

    sessions: Sessions
    dispatch: Callable[[BatchRef], bool]
    #: Number of messages on the queue of a lane; None if the broker is away.
    queue_length: Callable[[Lane], int | None]

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
