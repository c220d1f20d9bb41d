"""Processing a batch whatever happens: lost races, a database that is away, poison requests.

The database is the queue: a batch is claimed by locking its row, so a second delivery of its
message finds nothing. What fails is recorded, retried, and searched for the poison request.
"""

import errno
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import structlog
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy.orm import Session

from enrollment.domain.codes import Lane
from enrollment.domain.errors import Conflict, RecordsUnavailable, TookTooLong
from enrollment.storage import claims
from enrollment.storage.attempt_locks import HeldLocks
from enrollment.storage.batches import Waiting
from enrollment.storage.claims import ClaimedBatch, Together
from enrollment.storage.sessions import Sessions, clock
from worker import suspecting
from worker.answering import Answerer, Done
from worker.overlaying import Crowded, Overlays, ReadsBack
from worker.reading_ahead import ReadAhead
from worker.suspecting import ProbeSucceeded, Started

log = structlog.get_logger()

#: Errors that say that this machine has no room or no files left, and nothing about a batch.
MACHINES_FAULT = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})
#: How often a batch is processed again because somebody else wrote first.
TRIES = 10
#: Seconds after which it is not tried again at once: each try may wait for a lock.
RETRY_SECONDS = 4.0
#: Seconds that one attempt may take, wherever the time goes; less than a task may.
ATTEMPT_SECONDS = 15.0
#: Seconds of processor time that an attempt must have used to be blamed for its time limit: half
#: of the limit. With less it waited, for the database or for the machine.
BLAMED_CPU_SECONDS = 10.0
#: Seconds that the empty prefix may take; where even that is slow, no failure proves anything.
EMPTY_PREFIX_SECONDS = 2.0
#: Seconds that one message's work on a file may take before it is another's turn, and its batches.
TURN_SECONDS = 0.25
TURN_BATCHES = 8
#: Batches of one file that one transaction answers: what it costs by itself is shared by them.
AT_ONCE = 4


class Interrupted(NamedTuple):
    """An attempt that did not come to its end."""

    attempted: Sequence[ClaimedBatch]
    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """Processes batches. Safe to call twice with the same id."""

    sessions: Sessions
    default_mode: str = "audit"
    accepts_unknown_learners: bool = True
    #: What dry runs would have changed so far, for their next batches.
    overlays: Overlays = field(default_factory=Overlays)
    #: What was read ahead of the file that is being processed.
    ahead: ReadAhead = field(default_factory=ReadAhead)
    #: Batches of one file that one transaction processes at most.
    at_once: int = AT_ONCE
    #: Attempts whose record could not be taken back, since the database was away.
    unsettled: list[ClaimedBatch] = field(default_factory=list, init=False)

    def process(self, batch_id: int) -> Done:
        """Processes the batch (in the interactive lane, all that waits there), or does nothing.

        A batch that fails is recorded, and dispatched by itself. Raises Conflict and
        RecordsUnavailable, which say nothing about the batch.
        """
        self._settle()
        until = time.monotonic() + RETRY_SECONDS
        for attempt in range(1, TRIES + 1):
            with self.sessions.attempt_locks.scope() as locks:
                result = self._attempt(batch_id, locks)
                is_last = attempt == TRIES or time.monotonic() > until
                done = self._recovered(batch_id, result, is_last=is_last)
            if done is not None:
                return done
        return Done()

    def process_in_turn(self, batch_id: int) -> Iterator[Done]:
        """Processes the batch and, for a moment, those of its file behind it.

        The queue is asked only now and then, which is faster; singles and other files wait
        for a few batches at most.
        """
        until = time.monotonic() + TURN_SECONDS
        done = self.process(batch_id)
        left = TURN_BATCHES - len(done.batch_ids)
        while left > 0 and self._goes_on(done) and time.monotonic() < until:
            yield done._replace(next=())
            done = self.process(done.next[0].id)
            left -= len(done.batch_ids)
        yield done

    def _goes_on(self, done: Done) -> bool:
        if len(done.next) != 1 or done.next[0].is_for_all:
            return False
        with self.sessions.read() as session:
            return not claims.singles_wait(session)

    # --- one attempt --------------------------------------------------------------------------

    def _attempt(self, batch_id: int, locks: HeldLocks) -> Done | Interrupted:
        attempted: Sequence[ClaimedBatch] = ()
        until, used = time.monotonic() + ATTEMPT_SECONDS, time.thread_time()
        try:
            with self.sessions.begin(seconds=ATTEMPT_SECONDS) as session:
                claimed, more = _claim(session, batch_id)
                if not claimed:
                    return Done()
                now = clock(session)
                if not any(batch.is_suspect(now) for batch in claimed):
                    # not those behind it: it is not their turn before this one's end
                    attempted = tuple(claimed)
                    claimed += self._behind(session, claimed[0])
                    return _and_more(self._answerer.answer(session, claimed, now=now), more)
                started = _start(session, claimed, locks, now=now)
            attempted = started.ready
            done = _and_more(self._process_recorded(attempted, until), more)
            return done._replace(next=(*done.next, *_alone(started.apart)))
        except Exception as error:  # noqa: BLE001 (returned: `_recovered` decides on it)
            is_blamed = time.thread_time() - used > BLAMED_CPU_SECONDS
            return Interrupted(attempted, error if is_blamed else _unless_waiting(error))

    def _behind(self, session: Session, first: ClaimedBatch) -> list[ClaimedBatch]:
        if first.is_for_all or first.alone:
            return []
        return claims.claim_behind(session, first, self.at_once - 1)

    @property
    def _answerer(self) -> Answerer:
        return Answerer(
            default_mode=self.default_mode,
            accepts_unknown_learners=self.accepts_unknown_learners,
            overlays=self.overlays,
            ahead=self.ahead,
        )

    def _process_recorded(self, attempted: Sequence[ClaimedBatch], until: float) -> Done:
        """Processes batches whose attempt is recorded, until a moment at most."""
        began = time.monotonic()
        try:
            with self.sessions.begin(seconds=until - began) as session:
                claimed = suspecting.reclaim_attempted(session, attempted)
                if not claimed:
                    return Done()
                return self._answerer.answer(session, claimed, now=clock(session))
        except ProbeSucceeded:
            (batch,) = attempted
            took = time.monotonic() - began
            if suspecting.prefix_length(batch) == 0 and took > EMPTY_PREFIX_SECONDS:
                message = "even a batch without requests is slow"
                raise TookTooLong(message) from None
            with self.sessions.begin() as session:
                suspecting.record_probe(session, batch, now=clock(session))
            return Done(next=_alone(attempted))

    # --- what follows an interrupted one ------------------------------------------------------

    def _recovered(
        self, batch_id: int, result: Done | Interrupted, *, is_last: bool
    ) -> Done | None:
        """Takes back or counts an attempt that was interrupted; None: it is to be made again."""
        if isinstance(result, Done):
            return result
        attempted, error = result
        match error:
            case Conflict():
                self._cancel(attempted)
                if is_last:
                    raise error
                log.info("batch.judged_again", batch_id=batch_id, because=str(error))
                return None
            case ReadsBack():
                self._cancel(attempted)
                return Done(next=_alone(attempted))
            case Crowded():
                self._cancel(attempted)
                return Done()  # it is dispatched again
            case TookTooLong():
                log.warning("batch.took_too_long", batch_ids=[batch.id for batch in attempted])
                self._cancel(attempted, timed_out=True)
                raise error
            case RecordsUnavailable():
                self._cancel(attempted)
                raise error
            case OSError(errno=number) if number in MACHINES_FAULT:
                self._cancel(attempted)
                raise RecordsUnavailable(str(error)) from error
            case _:
                return self._fail(batch_id, attempted, error)

    def _fail(self, batch_id: int, attempted: Sequence[ClaimedBatch], error: Exception) -> Done:
        batch_ids = [batch.id for batch in attempted] or [batch_id]
        log.error("batch.failed", batch_ids=batch_ids, exc_info=error)
        if not attempted:
            raise error
        with self.sessions.begin() as session:
            suspecting.record_failures(session, attempted, now=clock(session))
        return Done(next=_alone(attempted))

    def _cancel(self, attempted: Sequence[ClaimedBatch], *, timed_out: bool = False) -> None:
        """Takes the record of an attempt back, at once or before this process works again."""
        recorded = [batch for batch in attempted if batch.suspicion is not None]
        if not recorded and not timed_out:
            return
        try:
            with self.sessions.begin() as session:
                if timed_out:
                    suspecting.record_timeouts(session, attempted, now=clock(session))
                else:
                    suspecting.cancel_attempts(session, recorded, now=clock(session))
        except (Conflict, RecordsUnavailable):
            self.unsettled.extend(recorded)

    def _settle(self) -> None:
        if self.unsettled:
            with self.sessions.begin() as session:
                suspecting.cancel_attempts(session, self.unsettled, now=clock(session))
            self.unsettled.clear()


def _unless_waiting(error: Exception) -> Exception:
    """A time limit that was reached while waiting says nothing about the batch."""
    if isinstance(error, SoftTimeLimitExceeded):
        return TookTooLong("the time limit of the task")
    return error


def _and_more(done: Done, more: Waiting | None) -> Done:
    return done if more is None else done._replace(next=(*done.next, more))


def _alone(tried: Sequence[ClaimedBatch]) -> tuple[Waiting, ...]:
    return tuple(Waiting(batch.id, Lane(batch.lane), alone=True) for batch in tried)


def _claim(session: Session, batch_id: int) -> Together:
    """The batch, with what waits beside it in the interactive lane; nothing if not its turn."""
    claimed = claims.claim(session, batch_id)
    if claimed.taken and not claimed.taken[0].is_for_all:
        return claimed
    if claimed.taken or claims.lane_of(session, batch_id) == (Lane.INTERACTIVE, False):
        return claims.claim_lane(session, Lane.INTERACTIVE)
    return claimed


def _start(
    session: Session, claimed: Sequence[ClaimedBatch], locks: HeldLocks, *, now: datetime
) -> Started:
    """Starts attempts of the batches; of the next ones where others attempt all of these."""
    started = suspecting.start_attempts(session, claimed, locks, now=now)
    busy = list(started.busy)
    while started.is_all_busy and claimed[0].is_for_all:
        claimed = claims.claim_lane(session, Lane.INTERACTIVE, busy=busy).taken
        if not claimed:
            break
        started = suspecting.start_attempts(session, claimed, locks, now=now)
        busy += started.busy
    return started
