"""The one transaction that answers batches: load, judge, write; all of it or none.

A fixed number of statements whatever the size. Locks are taken in one order: batches, that of
all learners, courses with a seat cap, newcomers' names, enrollments, the courses' seats, the feed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import NamedTuple
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from enrollment.domain.codes import Code
from enrollment.domain.judging import Judgement, World, judge, judge_atomically
from enrollment.domain.model import Outcome, Request
from enrollment.domain.submissions import Options, Submission, Tally
from enrollment.domain.trying import traces
from enrollment.failpoints import Point, is_armed, reached
from enrollment.storage import batches, changes, crosswalks, learners, submissions
from enrollment.storage.batches import Answer, Waiting
from enrollment.storage.claims import ClaimedBatch
from schemas.outcomes import encode_outcomes, tally_outcomes
from schemas.trials import encode_trial
from worker import suspecting
from worker.inviting import Guests
from worker.loading import Loaded, load
from worker.overlaying import Overlay, Overlays
from worker.reading import Asked, Read, read_all, settle
from worker.reading_ahead import ReadAhead
from worker.suspecting import ProbeSucceeded
from worker.writing import writing

log = structlog.get_logger()

Heads = Mapping[UUID, Submission]
NOTHING_SPECIAL = Options()


class Done(NamedTuple):
    """What one transaction answered, and whose turn it is now."""

    batch_ids: tuple[int, ...] = ()
    #: Bulk submissions that moved on.
    submission_ids: tuple[UUID, ...] = ()
    next: tuple[Waiting, ...] = ()


class Question(NamedTuple):
    """Claimed batches as they are to be judged, and what stands before."""

    rows: list[Asked]
    #: Each row as a request, or with its outcome already.
    settled: list[Request | Outcome]
    #: What is to be judged, and the rows behind it.
    requests: list[Request]
    sources: list[Asked]
    guests: Guests | None
    options: Options
    loaded: Loaded
    world: World

    def outcomes(self, judgement: Judgement) -> list[Outcome]:
        """The outcomes in the order of the rows."""
        if self.guests is not None:
            return list(self.guests.tell(self.rows, self.settled, judgement, self.loaded))
        return self.merged(judgement)

    def merged(self, judgement: Judgement) -> list[Outcome]:
        """The outcomes of requests with those that rows had already."""
        if len(self.requests) == len(self.settled):
            return judgement.outcomes
        answers = iter(judgement.outcomes)
        return [item if isinstance(item, Outcome) else next(answers) for item in self.settled]

    def judged(self) -> Judgement:
        """What it comes to."""
        if self.options.is_atomic:
            unreadable = len(self.rows) - len(self.requests)
            return judge_atomically(self.requests, self.world, unreadable=unreadable)
        return judge(self.requests, self.world)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answerer:
    """Answers batches that are claimed, inside the transaction that claimed them."""

    default_mode: str = "audit"
    accepts_unknown_learners: bool = True
    overlays: Overlays = field(default_factory=Overlays)
    ahead: ReadAhead = field(default_factory=ReadAhead)

    def answer(self, session: Session, claimed: list[ClaimedBatch], *, now: datetime) -> Done:
        """Answer the batches, or what is left of those that are cancelled.

        Raises Conflict where somebody else wrote first, and ProbeSucceeded where only the
        beginning of a batch was to be tried.
        """
        ids = {batch.submission_id for batch in claimed if batch.submission_id is not None}
        heads = submissions.find_all(session, ids)
        cancelled = [batch for batch in claimed if _is_cancelled(batch, heads)]
        dropped = _cancel(session, cancelled, heads, now)
        for submission_id in dropped.submission_ids:
            self.overlays.drop(submission_id)
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
        if _options(claimed, heads).dry_run:
            return self._try(session, claimed[0], heads, now)
        asked = self._asked(session, claimed, heads, now)
        judgement = asked.judged()
        outcomes = asked.outcomes(judgement)
        is_search = suspecting.is_search(claimed[0])
        self.ahead.look(session, claimed, heads)
        with writing(session, judgement, asked.sources, asked.loaded, now=now) as numbers:
            answers = {} if is_search else _answers(claimed, asked.rows, outcomes, encode_outcomes)
            self.ahead.read()
        if asked.guests is not None:
            asked.guests.write(session, now=now)
        if is_search:
            raise ProbeSucceeded
        done = _keep(session, claimed, heads, answers, now)
        changes.take_positions(session, numbers)
        reached(Point.WORK_BEFORE_COMMIT)
        return done

    def _try(self, session: Session, batch: ClaimedBatch, heads: Heads, now: datetime) -> Done:
        """Answer a batch of a dry run: nothing is written but what would have become of it.

        Raises ReadsBack where it is not yet known what the batches before it would have done.
        """
        submission_id = batch.submission_id or UUID(int=0)
        overlay = self.overlays.before(session, submission_id, batch.ordinal or 0)
        asked = self._asked(session, [batch], heads, now, overlay)
        judgement = asked.judged()
        outcomes = asked.merged(judgement)
        if suspecting.is_search(batch):
            raise ProbeSucceeded
        encode = partial(encode_trial, traces=traces(judgement, asked.world))
        answers = _answers([batch], asked.rows, outcomes, encode)
        done = _keep(session, [batch], heads, answers, now)
        reached(Point.WORK_BEFORE_COMMIT)
        if not done.next:
            self.overlays.drop(submission_id)
        return done

    def _asked(
        self,
        session: Session,
        claimed: Sequence[ClaimedBatch],
        heads: Heads,
        now: datetime,
        overlay: Overlay | None = None,
    ) -> Question:
        """The batches as they are to be judged; with an overlay in a world as it would be."""
        if overlay is None:
            learners.keep(session)
        find = partial(crosswalks.standing, session)
        read = read_all(claimed, heads, find, self.ahead.known)
        rows = [row for each in read for row in each.rows]
        if is_armed():
            _meet_poison(rows)
        guests = _guests(session, claimed, heads, rows)
        settled = _settle(session, claimed, read, guests)
        requests = [item for item in settled if isinstance(item, Request)]
        sources = rows if len(requests) == len(rows) else _behind(rows, settled)
        loaded = load(session, requests, lock=overlay is None)
        world = self._world(loaded, now)
        if overlay is not None:
            world = overlay.over(world, {(it.course_id, it.username) for it in requests})
        options = _options(claimed, heads)
        return Question(rows, settled, requests, sources, guests, options, loaded, world)

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


def _meet_poison(rows: Iterable[Asked]) -> None:
    for row in rows:
        if row.request is not None and not row.is_poisonous:
            reached(Point.WORK_JUDGING, row.request.username or row.request.email or "")


def _is_cancelled(batch: ClaimedBatch, heads: Heads) -> bool:
    return batch.submission_id is not None and (
        heads[batch.submission_id].cancel_asked_at is not None
    )


def _options(claimed: Sequence[ClaimedBatch], heads: Heads) -> Options:
    """What the batches are to be judged by: each with options that matter here is alone."""
    submission_id = claimed[0].submission_id
    return NOTHING_SPECIAL if submission_id is None else heads[submission_id].options


def _cancel(
    session: Session, cancelled: Sequence[ClaimedBatch], heads: Heads, now: datetime
) -> Done:
    """Answer what is left of cancelled submissions at one stroke."""
    for head, its in _by_file(cancelled, heads):
        number = batches.cancel_from(session, head.id, its[0].ordinal or 0, now=now)
        tally = head.tally + Tally(counts={Code.CANCELLED: number})
        submissions.count(session, head, tally, finished=True, now=now)
    return Done(
        tuple(batch.id for batch in cancelled),
        tuple(head.id for head, _ in _by_file(cancelled, heads)),
    )


def _guests(
    session: Session, claimed: Sequence[ClaimedBatch], heads: Heads, rows: Sequence[Asked]
) -> Guests | None:
    """Who is named where those who are not known are invited; None everywhere else."""
    auto_enroll = _options(claimed, heads).auto_enroll
    return None if auto_enroll is None else Guests(session, rows, auto_enroll=auto_enroll)


def _settle(
    session: Session,
    claimed: Sequence[ClaimedBatch],
    read: Sequence[Read],
    guests: Guests | None,
) -> list[Request | Outcome]:
    """Each row as a request to be judged, or with its outcome already."""
    if guests is not None:
        return [guests.settle(row) for each in read for row in each.rows]
    rows = [row for each in read if each.settled is None for row in each.rows]
    emails = {row.request.email for row in rows if row.request and not row.request.username}
    known = learners.by_email(session, {email for email in emails if email is not None})
    usernames = {email: learner.learner.username for email, learner in known.items()}
    singles = [batch.id for batch in claimed if batch.submission_id is None]
    dropped = submissions.cancelled_singles(session, singles) if singles else set()
    settled: list[Request | Outcome] = []
    for each in read:
        settled += each.settled or [
            _cancelled(row) if row.submission_id in dropped else settle(row, usernames)
            for row in each.rows
        ]
    return settled


def _behind(rows: Sequence[Asked], settled: Sequence[Request | Outcome]) -> list[Asked]:
    """The rows that became requests."""
    both = zip(rows, settled, strict=True)
    return [row for row, item in both if isinstance(item, Request)]


def _cancelled(row: Asked) -> Outcome:
    request = row.request
    return Outcome(
        row.line,
        None if request is None else request.username,
        None if request is None else request.course_id,
        Code.CANCELLED,
    )


def _answers(
    claimed: Sequence[ClaimedBatch],
    rows: Sequence[Asked],
    outcomes: Sequence[Outcome],
    encode: Callable[[list[Outcome]], bytes],
) -> dict[int, tuple[bytes, Tally]]:
    """The outcomes of each batch as they are kept, and how many of which.

    Raises RuntimeError where a request would be left without an outcome.
    """
    answers = {}
    requests = {batch.id: batch.requests for batch in claimed}
    answered = zip(rows, outcomes, strict=True)
    for batch_id, group in groupby(answered, key=lambda pair: pair[0].batch_id):
        its_outcomes = [outcome for _, outcome in group]
        if len(its_outcomes) != requests.pop(batch_id):
            message = f"batch {batch_id} has {len(its_outcomes)} outcomes"
            raise RuntimeError(message)
        answers[batch_id] = encode(its_outcomes), tally_outcomes(its_outcomes)
    if requests:
        message = f"batches {sorted(requests)} have no outcomes"
        raise RuntimeError(message)
    return answers


def _keep(
    session: Session,
    claimed: Sequence[ClaimedBatch],
    heads: Heads,
    answers: Mapping[int, tuple[bytes, Tally]],
    now: datetime,
) -> Done:
    """Keep each batch's outcomes, count them, and announce the batch after it."""
    kept = [Answer(number, given, tally.as_json()) for number, (given, tally) in answers.items()]
    batches.answer(session, kept, now=now)
    turns = []
    for head, its in _by_file(claimed, heads):
        total = sum((answers[batch.id][1] for batch in its), head.tally)
        turns.append(_move_on(session, its[-1], head, total, now))
    return Done(
        tuple(batch.id for batch in claimed),
        tuple(head.id for head, _ in _by_file(claimed, heads)),
        tuple(turn for turn in turns if turn is not None),
    )


def _by_file(
    claimed: Iterable[ClaimedBatch], heads: Heads
) -> list[tuple[Submission, list[ClaimedBatch]]]:
    """The files among the batches, each with its own in their order."""
    files: dict[UUID, list[ClaimedBatch]] = {}
    for batch in claimed:
        if batch.submission_id is not None:
            files.setdefault(batch.submission_id, []).append(batch)
    return [(heads[submission_id], its) for submission_id, its in files.items()]


def _move_on(
    session: Session, last: ClaimedBatch, head: Submission, total: Tally, now: datetime
) -> Waiting | None:
    """Count what is answered of a file, of which this batch is the last so far."""
    finished = total.answered == head.total
    submissions.count(session, head, total, finished=finished, now=now)
    if finished:
        return None
    following = batches.announce_next(session, head.id, (last.ordinal or 0) + 1, now=now)
    if following is None:
        log.error("submission.has_no_next_batch", submission_id=str(head.id))
    return following
