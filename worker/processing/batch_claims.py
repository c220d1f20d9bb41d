"""Claims the batches that one message stands for, and starts their attempts."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from enrollment.domain.codes import Lane
from enrollment.storage.engine.attempt_locks import HeldLocks
from enrollment.storage.queue import claims
from enrollment.storage.queue.batches import BatchRef
from enrollment.storage.queue.claims import ClaimedBatch
from enrollment.storage.queue.lane_floor import LaneFloor
from worker.processing import attempts
from worker.processing.attempts import Started


def claim_due(
    session: Session, batch_id: int, floor: LaneFloor
) -> tuple[list[ClaimedBatch], tuple[BatchRef, ...]]:
    """Claims the batch if it is due; in the interactive lane, all batches that wait there.

    Also returns the next batch of that lane, if one did not fit.
    """
    claimed, more = claims.claim(session, batch_id)
    is_for_all = claimed[0].claims_lane if claimed else _is_in_lane(session, batch_id)
    if is_for_all:
        including = claimed[0].waiting_since if claimed else None
        claimed, more = claims.claim_lane(session, Lane.INTERACTIVE, floor, including=including)
    return claimed, () if more is None else (more,)


def _is_in_lane(session: Session, batch_id: int) -> bool:
    return claims.lane_of(session, batch_id) == (Lane.INTERACTIVE, False)


def start_next_attempts(
    session: Session,
    claimed: Sequence[ClaimedBatch],
    locks: HeldLocks,
    floor: LaneFloor,
    *,
    now: datetime,
) -> Started:
    """Starts attempts at the batches, or at the next ones if other workers attempt all of these."""
    started = attempts.start_attempts(session, claimed, locks, now=now)
    busy = list(started.busy)
    while started.is_all_busy and claimed[0].claims_lane:
        oldest = claimed[0].waiting_since
        claimed = claims.claim_lane(
            session, Lane.INTERACTIVE, floor, including=oldest, busy=busy
        ).batches
        if not claimed:
            break
        started = attempts.start_attempts(session, claimed, locks, now=now)
        busy += started.busy
    return started
