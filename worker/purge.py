"""Purge: deletes what is no longer kept, in turns of a fraction of a second.

A turn deletes bounded portions, each in a transaction of its own, until its time is over. Then its
message is put on the queue again, behind what waits there, with the number of the next turn, until
nothing is left. So no request waits for longer than a turn, and however much there is, all of it is
deleted.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from enrollment.domain.errors import Conflict, StatementTimeout
from enrollment.runtime.broker import PURGE_INTERVAL
from enrollment.storage import idempotency
from enrollment.storage.destinations import removal
from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.upkeep import maintenance_turns, retention
from enrollment.storage.webhooks import deliveries

log = structlog.get_logger()

#: How long Idempotency-Keys are stored; never longer than the submissions they refer to.
KEY_RETENTION = timedelta(days=7)
#: Age after which an incomplete upload counts as abandoned.
ABANDONED_UPLOAD_AGE = timedelta(days=1)
#: Rows that one portion deletes at most.
KEYS_PER_PORTION, FILES_PER_PORTION, BATCHES_PER_PORTION = 2_000, 100, 100
#: Seconds after which a turn begins no further portion.
PURGE_TURN_SECONDS = 0.1
#: Seconds after which a portion is given up, on PostgreSQL.
PORTION_SECONDS = 2.0
#: Seconds for which a part that failed is left out.
PAUSE_SECONDS = 60.0
#: Age of the last turn from which its successor counts as lost.
LOST_AFTER = timedelta(seconds=60)

#: Deletes a portion; returns whether more may be left.
Portion = Callable[[Session], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge:
    """Deletes expired data in turns. Belongs to one process."""

    sessions: Sessions
    retention: timedelta = timedelta(days=30)
    monotonic: Callable[[], float] = time.monotonic
    #: Monotonic seconds until which parts are left out, by name.
    paused: dict[str, float] = field(default_factory=dict)

    def run_turn(self, turn: int | None = None) -> int | None:
        """Runs a turn; returns the number of the next one, or None if there is none.

        Without a number it is the first of a chain, if that is due. A part that fails does not stop
        the others, but then the purge does not count as complete.
        """
        until = self.monotonic() + PURGE_TURN_SECONDS
        with self.sessions.begin() as session:
            now = database_now(session)
            following = self._begin(session, turn, now)
        if following is None:
            return None
        parts = self._parts(now, first=following)
        if self._run(parts, until):
            return following
        is_complete = not any(self._is_paused(name) for name in parts)
        with self.sessions.begin() as session:
            maintenance_turns.end_turns(session, now=now, is_complete=is_complete)
        return None

    def _begin(self, session: Session, turn: int | None, now: datetime) -> int | None:
        if turn is not None:
            return maintenance_turns.begin_turn(session, turn, now=now)
        return maintenance_turns.begin_first_turn(
            session,
            now=now,
            stopped_before=now - LOST_AFTER,
            ended_before=now - timedelta(seconds=PURGE_INTERVAL),
        )

    def _parts(self, now: datetime, *, first: int) -> Mapping[str, Portion]:
        """Returns the parts by name; each turn begins with another one."""
        expired = now - self.retention
        files, batches = FILES_PER_PORTION, BATCHES_PER_PORTION
        keys_expired = now - min(KEY_RETENTION, self.retention)
        abandoned = now - ABANDONED_UPLOAD_AGE
        parts: list[tuple[str, Portion]] = [
            ("keys", partial(idempotency.purge, before=keys_expired, limit=KEYS_PER_PORTION)),
            ("files", partial(retention.hide_expired_files, before=expired, limit=files)),
            (
                "uploads",
                partial(retention.hide_abandoned_uploads, before=abandoned, now=now, limit=files),
            ),
            ("hidden_files", partial(retention.delete_hidden_files, limit=batches)),
            (
                "singles",
                partial(retention.purge_singles, before=expired, limit=batches),
            ),
            ("deliveries", partial(deliveries.purge, before=expired, limit=KEYS_PER_PORTION)),
            ("destinations", partial(removal.purge, limit=KEYS_PER_PORTION)),
        ]
        at = first % len(parts)
        return dict(parts[at:] + parts[:at])

    def _run(self, parts: Mapping[str, Portion], until: float) -> bool:
        """Deletes portions of each part in turn until the time is over; returns if more is left."""
        while True:
            is_left = False
            for name in self._active(parts):
                is_left |= self._delete(name, parts[name])
                if self.monotonic() >= until:
                    return True
            if not is_left:
                return False

    def _active(self, parts: Mapping[str, Portion]) -> Iterator[str]:
        return (name for name in parts if not self._is_paused(name))

    def _is_paused(self, name: str) -> bool:
        return self.monotonic() < self.paused.get(name, 0.0)

    def _delete(self, name: str, delete: Portion) -> bool:
        """Deletes a portion in a transaction; a part that fails is left out for a while."""
        try:
            with self.sessions.begin(seconds=PORTION_SECONDS) as session:
                return delete(session)
        except (Conflict, StatementTimeout, SQLAlchemyError) as error:
            log.exception("purge.part_failed", part=name, because=str(error))
            self.paused[name] = self.monotonic() + PAUSE_SECONDS
            return False
