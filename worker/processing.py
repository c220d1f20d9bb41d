"""Answering a batch whatever happens: others are first, the database goes, a request is poison.

The records are the queue: a batch is claimed by locking its row, so a second delivery of its
message finds nothing. What fails is noted, tried again, and taken apart.
"""

import errno
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog
from sqlalchemy.orm import Session

from enrollment.domain.codes import Lane
from enrollment.domain.errors import Conflict, RecordsUnavailable, TookTooLong
from enrollment.storage import claims
from enrollment.storage.batches import Waiting
from enrollment.storage.claims import ClaimedBatch, Together
from enrollment.storage.sessions import Sessions, clock
from worker import suspecting
from worker.answering import Answerer, Done
from worker.overlaying import Crowded, Overlays, ReadsBack
from worker.reading_ahead import ReadAhead
from worker.suspecting import BeginningPasses

log = structlog.get_logger()

#: Errors that say of this machine that it has no room or no files left, and nothing of a batch.
MACHINES_FAULT = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})
#: How often a batch is judged again because somebody else wrote first.
TRIES = 10
#: Seconds after which it is not tried again at once: each try may wait for a lock.
TRY_SECONDS = 8.0
#: Seconds that one message's work on a file may take before it is another's turn, and its batches.
TURN_SECONDS = 0.25
TURN_BATCHES = 8
#: Batches of one file that one transaction answers: what it costs by itself is shared by them.
AT_ONCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """Answers batches. Safe to call twice with the same id."""

    sessions: Sessions
    default_mode: str = "audit"
    accepts_unknown_learners: bool = True
    #: What dry runs would have done so far, for their next batches.
    overlays: Overlays = field(default_factory=Overlays)
    #: What was read of the file that is at work.
    ahead: ReadAhead = field(default_factory=ReadAhead)
    #: Batches of one file that one transaction answers at most.
    at_once: int = AT_ONCE

    def process(self, batch_id: int) -> Done:
        """Answer the batch (in the interactive lane, all that waits there), or do nothing.

        A batch that fails is noted, and is next by itself. Raises Conflict and
        RecordsUnavailable, which say nothing about the batch.
        """
        tried: list[ClaimedBatch] = []
        try:
            return self._until_first(batch_id, tried)
        except (Conflict, RecordsUnavailable):
            raise
        except Exception:
            log.exception("batch.failed", batch_ids=[batch.id for batch in tried] or [batch_id])
            if not tried:
                raise
            return self._fail(tried)

    def process_in_turn(self, batch_id: int) -> Iterator[Done]:
        """Answer the batch and, for a moment, those of its file behind it.

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

    def _until_first(self, batch_id: int, tried: list[ClaimedBatch]) -> Done:
        until = time.monotonic() + TRY_SECONDS
        for attempt in range(TRIES):
            try:
                return self._once(batch_id, tried)
            except Conflict as conflict:
                self._forgive(tried)
                if attempt == TRIES - 1 or time.monotonic() > until:
                    raise
                log.info("batch.judged_again", batch_id=batch_id, because=str(conflict))
            except ReadsBack:
                same = _alone(tried)
                self._forgive(tried)
                return Done(next=same)
            except Crowded:
                self._forgive(tried)
                return Done()  # the sweep rings again
            except TookTooLong:
                log.warning("batch.took_too_long", batch_ids=[batch.id for batch in tried])
                self._forgive(tried, apart=True)
                raise
            except RecordsUnavailable:
                self._forgive(tried)
                raise
            except OSError as error:
                if error.errno not in MACHINES_FAULT:
                    raise
                self._forgive(tried)
                raise RecordsUnavailable(str(error)) from error
        return Done()

    def _once(self, batch_id: int, tried: list[ClaimedBatch]) -> Done:
        with self.sessions.begin() as session:
            claimed, more = _claim(session, batch_id)
            if not claimed:
                return Done()
            now = clock(session)
            if not any(batch.is_suspect(now) for batch in claimed):
                tried[:] = (
                    claimed  # not those behind it: it is not their turn before this one's end
                )
                claimed += self._behind(session, claimed[0])
                return _and_more(self._answerer.answer(session, claimed, now=now), more)
            begun = suspecting.begin(session, claimed, now=now)
            tried[:] = begun.ready
        done = _and_more(self._try(tried), more)
        return done._replace(next=(*done.next, *_alone(begun.apart)))

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

    def _try(self, noted: Sequence[ClaimedBatch]) -> Done:
        """Answer batches whose try is noted, as far as nobody else does."""
        try:
            with self.sessions.begin() as session:
                claimed = suspecting.claim_noted(session, noted)
                if not claimed:
                    return Done()
                return self._answerer.answer(session, claimed, now=clock(session))
        except BeginningPasses:
            (batch,) = noted
            with self.sessions.begin() as session:
                suspecting.succeed(session, batch, now=clock(session))
            return Done(next=_alone(noted))

    def _fail(self, tried: Sequence[ClaimedBatch]) -> Done:
        with self.sessions.begin() as session:
            suspecting.fail(session, tried, now=clock(session))
        return Done(next=_alone(tried))

    def _forgive(self, tried: list[ClaimedBatch], *, apart: bool = False) -> None:
        """Take the note of a try back; where that cannot be, it counts as failed."""
        noted = [batch for batch in tried if apart or batch.suspicion is not None]
        tried.clear()
        if not noted:
            return
        with suppress(Conflict, RecordsUnavailable), self.sessions.begin() as session:
            suspecting.forgive(session, noted, apart=apart, now=clock(session))


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
        return claims.claim_together(session, Lane.INTERACTIVE)
    return claimed
