"""The transaction that answers batches: claim, load, judge, write; all of it or none.

A fixed number of statements whatever the size. Locks are taken in one order: batches,
courses with a seat cap, enrollments, the courses' seats, the feed.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import NamedTuple
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from enrollment.domain.codes import Code, Lane, OnError
from enrollment.domain.errors import Conflict, RecordsUnavailable, TookTooLong
from enrollment.domain.judging import World, judge, judge_atomically
from enrollment.domain.model import Outcome, Request
from enrollment.domain.submissions import Submission, Tally
from enrollment.storage import batches, changes, learners, submissions
from enrollment.storage.batches import Answer, ClaimedBatch, Together, Waiting
from enrollment.storage.sessions import Sessions, clock
from schemas.outcomes import encode_outcomes, tally_outcomes
from worker.loading import Loaded, load
from worker.reading import Asked, rows_of, settle
from worker.writing import write

log = structlog.get_logger()

#: How often a batch is judged again because somebody else wrote first.
TRIES = 10
#: Seconds after which it is not tried again at once: each try may wait for a lock.
TRY_SECONDS = 8.0
#: Seconds that one message's work on a file may take before it is another's turn.
TURN_SECONDS = 0.25
#: After so many failures a batch is parked, to be retried by hand.
MAX_ATTEMPTS = 5

Heads = Mapping[UUID, Submission]


class Done(NamedTuple):
    """What one transaction answered, and whose turn it is now."""

    batch_ids: tuple[int, ...] = ()
    #: Bulk submissions that moved on.
    submission_ids: tuple[UUID, ...] = ()
    next: tuple[Waiting, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """Answers batches. Safe to call twice with the same id."""

    sessions: Sessions
    default_mode: str = "audit"
    accepts_unknown_learners: bool = True

    def process(self, batch_id: int) -> Done:
        """Answer the batch (in the interactive lane, all that waits there), or do nothing.

        Raises what made it fail, after counting the failure in a transaction of its own.
        """
        taken: list[int] = []
        try:
            return self._until_first(batch_id, taken)
        except TookTooLong:
            log.warning("batch.took_too_long", batch_ids=taken or [batch_id])
            self._count_failure(taken or [batch_id])
            raise
        except (RecordsUnavailable, Conflict):
            raise
        except Exception:
            log.exception("batch.failed", batch_ids=taken or [batch_id])
            self._count_failure(taken or [batch_id])
            raise

    def process_in_turn(self, batch_id: int) -> Iterator[Done]:
        """Answer the batch and, for a moment, those of its file behind it.

        The queue is asked only now and then, which is faster; singles and other files wait
        for a few batches at most.
        """
        until = time.monotonic() + TURN_SECONDS
        done = self.process(batch_id)
        while self._goes_on(done) and time.monotonic() < until:
            yield done._replace(next=())
            done = self.process(done.next[0].id)
        yield done

    def _goes_on(self, done: Done) -> bool:
        if len(done.next) != 1 or done.next[0].is_for_all:
            return False
        with self.sessions.read() as session:
            return not batches.singles_wait(session)

    def _until_first(self, batch_id: int, taken: list[int]) -> Done:
        until = time.monotonic() + TRY_SECONDS
        for _ in range(TRIES - 1):
            try:
                return self._once(batch_id, taken)
            except Conflict as conflict:
                if time.monotonic() > until:
                    raise
                log.info("batch.judged_again", batch_id=batch_id, because=str(conflict))
        return self._once(batch_id, taken)

    def _once(self, batch_id: int, taken: list[int]) -> Done:
        with self.sessions.begin() as session:
            claimed, more = _claim(session, batch_id)
            taken[:] = [batch.id for batch in claimed]
            if not claimed:
                return Done()
            done = self._answer(session, claimed)
            return done if more is None else done._replace(next=(*done.next, more))

    def _count_failure(self, batch_ids: Sequence[int]) -> None:
        with self.sessions.begin() as session:
            batches.count_failure(session, batch_ids, max_attempts=MAX_ATTEMPTS, now=clock(session))

    def _answer(self, session: Session, claimed: list[ClaimedBatch]) -> Done:
        now = clock(session)
        ids = {batch.submission_id for batch in claimed if batch.submission_id is not None}
        heads = submissions.find_all(session, ids)
        cancelled = [batch for batch in claimed if _is_cancelled(batch, heads)]
        dropped = _cancel(session, cancelled, heads, now)
        kept = [batch for batch in claimed if batch not in cancelled]
        if not kept:
            return dropped
        done = self._work(session, kept, heads, now)
        return Done(
            done.batch_ids + dropped.batch_ids,
            done.submission_ids + dropped.submission_ids,
            done.next,
        )

    def _work(
        self, session: Session, claimed: list[ClaimedBatch], heads: Heads, now: datetime
    ) -> Done:
        rows = list(rows_of(claimed, heads))
        settled = _settle(session, claimed, rows)
        requests = [item for item in settled if isinstance(item, Request)]
        sources = [
            row for row, item in zip(rows, settled, strict=True) if isinstance(item, Request)
        ]
        loaded = load(session, requests)
        world = self._world(loaded, now)
        if _is_atomic(claimed, heads):
            judgement = judge_atomically(requests, world, unreadable=len(rows) - len(requests))
        else:
            judgement = judge(requests, world)
        outcomes = list(_merged(settled, judgement.outcomes))
        numbers = write(session, judgement, sources, loaded, now=now)
        done = _keep(session, claimed, heads, zip(rows, outcomes, strict=True), now=now)
        changes.take_positions(session, numbers)
        return done

    def _world(self, loaded: Loaded, now: datetime) -> World:
        return World(
            now=now,
            courses={key: course.course for key, course in loaded.courses.items()},
            enrollments={key: kept.enrollment for key, kept in loaded.enrollments.items()},
            learners={name: learner.learner for name, learner in loaded.learners.items()},
            invitations=loaded.invitations,
            site_default=self.default_mode,
            accepts_unknown_learners=self.accepts_unknown_learners,
        )


def _claim(session: Session, batch_id: int) -> Together:
    """The batch, with what waits beside it in the interactive lane; nothing if not its turn."""
    claimed = batches.claim(session, batch_id)
    if claimed.taken and not claimed.taken[0].is_for_all:
        return claimed
    if claimed.taken or batches.lane_of(session, batch_id) == (Lane.INTERACTIVE, False):
        return batches.claim_together(session, Lane.INTERACTIVE)
    return claimed


def _is_cancelled(batch: ClaimedBatch, heads: Heads) -> bool:
    return batch.submission_id is not None and (
        heads[batch.submission_id].cancel_asked_at is not None
    )


def _is_atomic(claimed: Sequence[ClaimedBatch], heads: Heads) -> bool:
    submission_id = claimed[0].submission_id
    return submission_id is not None and heads[submission_id].options.on_error == OnError.ABORT


def _cancel(
    session: Session, cancelled: Sequence[ClaimedBatch], heads: Heads, now: datetime
) -> Done:
    """Answer what is left of cancelled submissions at one stroke."""
    for batch in cancelled:
        if batch.submission_id is None or batch.ordinal is None:
            continue
        head = heads[batch.submission_id]
        number = batches.cancel_from(session, head.id, batch.ordinal, now=now)
        tally = head.tally + Tally(counts={Code.CANCELLED: number})
        submissions.count(session, head, tally, finished=True, now=now)
    return Done(
        tuple(batch.id for batch in cancelled),
        tuple(batch.submission_id for batch in cancelled if batch.submission_id),
    )


def _settle(
    session: Session, claimed: Sequence[ClaimedBatch], rows: Sequence[Asked]
) -> list[Request | Outcome]:
    """Each row as a request to be judged, or with its outcome already."""
    emails = {row.request.email for row in rows if row.request and not row.request.username}
    known = learners.by_email(session, {email for email in emails if email is not None})
    usernames = {email: learner.learner.username for email, learner in known.items()}
    singles = [batch.id for batch in claimed if batch.submission_id is None]
    dropped = submissions.cancelled_singles(session, singles) if singles else set()
    return [
        _cancelled(row) if row.submission_id in dropped else settle(row, usernames) for row in rows
    ]


def _cancelled(row: Asked) -> Outcome:
    request = row.request
    return Outcome(
        row.line,
        None if request is None else request.username,
        None if request is None else request.course_id,
        Code.CANCELLED,
    )


def _merged(settled: Sequence[Request | Outcome], judged: Sequence[Outcome]) -> Iterator[Outcome]:
    """Outcomes in the order of the rows."""
    answers = iter(judged)
    for item in settled:
        yield item if isinstance(item, Outcome) else next(answers)


def _keep(
    session: Session,
    claimed: Sequence[ClaimedBatch],
    heads: Heads,
    answered: Iterable[tuple[Asked, Outcome]],
    *,
    now: datetime,
) -> Done:
    """Keep each batch's outcomes, count them, and announce the batch after it."""
    answers, tallies = [], {}
    for batch_id, group in groupby(answered, key=lambda pair: pair[0].batch_id):
        its_outcomes = [outcome for _, outcome in group]
        tallies[batch_id] = tally_outcomes(its_outcomes)
        answers.append(Answer(batch_id, encode_outcomes(its_outcomes), tallies[batch_id].as_json()))
    batches.answer(session, answers, now=now)
    turns = []
    for batch in claimed:
        if batch.submission_id is not None and batch.ordinal is not None:
            head = heads[batch.submission_id]
            turns.append(_move_on(session, batch, head, tallies[batch.id], now))
    return Done(
        tuple(batch.id for batch in claimed),
        tuple(batch.submission_id for batch in claimed if batch.submission_id),
        tuple(turn for turn in turns if turn is not None),
    )


def _move_on(
    session: Session, batch: ClaimedBatch, head: Submission, tally: Tally, now: datetime
) -> Waiting | None:
    total = head.tally + tally
    finished = total.answered == head.total
    submissions.count(session, head, total, finished=finished, now=now)
    if finished:
        return None
    following = batches.announce_next(session, head.id, (batch.ordinal or 0) + 1, now=now)
    if following is None:
        log.error("submission.has_no_next_batch", submission_id=str(head.id))
    return following
