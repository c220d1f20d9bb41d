"""The real code with one promise broken in it at a time: a checker that never fails proves nothing.

``python -m tests.faults.sabotage`` shows after how many schedules each is found.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import select, update

from api_gateway import intake
from api_gateway.uploads import Uploads
from enrollment.domain import deciding
from enrollment.domain.errors import Conflict, EnrollmentError, SubmissionFinished
from enrollment.failpoints import FailPointReached
from enrollment.storage import batches, changes, courses, enrollments, idempotency, submissions
from enrollment.storage import suspects as suspects_of
from enrollment.storage.batches import Waiting
from enrollment.storage.sessions import Sessions
from enrollment.storage.tables import BatchRow, CourseRow
from tests.faults.simulator.bench import Bench, instead
from tests.faults.simulator.processes import Died
from tests.faults.simulator.schedule import Report, play
from worker import answering
from worker.answering import Answerer
from worker.sweeping import Sweeper

#: Schedules after which a mutant counts as not found.
SEEDS = 600

MUTANTS: dict[str, Callable[[], AbstractContextManager[None]]] = {}


def mutant(
    sabotage: Callable[[], Iterator[None]],
) -> Callable[[], AbstractContextManager[None]]:
    """Name it in the table."""
    made = contextmanager(sabotage)
    MUTANTS[sabotage.__name__] = made
    return made


# --- what is forgotten --------------------------------------------------------------------


@mutant
def no_sweeper() -> Iterator[None]:
    """Nobody looks for what was accepted and not answered."""
    with instead(Sweeper, "sweep", lambda _: 0):
        yield


@mutant
def the_next_batch_is_only_announced() -> Iterator[None]:
    """That it is the turn of a file's next batch stands in a message, and in no row."""
    real = batches.announce_next

    def announce(session: Any, its: Any, ordinal: int, *, now: datetime) -> Waiting | None:
        waiting = real(session, its, ordinal, now=now)
        if ordinal > 0 and waiting is not None:
            forget = update(BatchRow).where(BatchRow.id == waiting.id)
            session.execute(forget.values(announced_at=None))
        return waiting

    with instead(batches, "announce_next", announce):
        yield


@mutant
def a_crash_is_not_counted() -> Iterator[None]:
    """That a try began is noted nowhere, so a worker that dies leaves no trace."""
    real = suspects_of.keep

    def keep(session: Any, suspects: Sequence[Any], **how: Any) -> None:
        real(session, [one for one in suspects if not one.known.begun], **how)

    with instead(suspects_of, "keep", keep):
        yield


# --- what is done twice -------------------------------------------------------------------


@mutant
def no_guard() -> Iterator[None]:
    """Who is rung for a batch answers it, answered or not."""
    anyhow = select(*batches._CLAIMABLE.selected_columns).where(
        BatchRow.announced_at.is_not(None), BatchRow.parked_at.is_(None)
    )
    real = batches._CLAIM.whereclause
    by_id = real.clauses[-1]  # type: ignore[union-attr]
    with instead(batches, "_CLAIM", anyhow.where(by_id)):
        yield


@mutant
def the_key_is_asked_outside_the_transaction() -> Iterator[None]:
    """Whether an Idempotency-Key is free is read first, and the single stored then."""
    real_store, real_claim = intake.store_singles, idempotency.claim

    def store(sessions: Sessions, askings: Any, monotonic: Any) -> Any:
        with sessions.read() as session:
            used = idempotency.find(session, {a.used for a in askings if a.used})

        def claim(session: Any, uses: Any, *, now: datetime) -> set[idempotency.Used]:
            real_claim(session, uses, now=now)
            return {(use.caller, use.key) for use in uses} - used.keys()

        with instead(idempotency, "claim", claim):
            return real_store(sessions, askings, monotonic)

    with instead(intake, "store_singles", store):
        yield


# --- what is told too early, or written too late ------------------------------------------


class _Undone:
    """Sessions whose transactions come to nothing."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @contextmanager
    def begin(self) -> Iterator[Any]:
        with self._sessions.read() as session:
            yield session
            session.rollback()


@mutant
def accepted_before_the_commit() -> Iterator[None]:
    """The caller hears 202, then the single is stored; or not."""
    real = intake.store_singles

    def store(sessions: Sessions, askings: Any, monotonic: Any) -> Any:
        made: dict[int, Any] = {}
        ids = intake.uuid7s
        with instead(
            intake, "uuid7s", lambda now, n: made.get(n) or made.setdefault(n, ids(now, n))
        ):
            with instead(intake, "reached", lambda _: False):
                told = real(_Undone(sessions), askings, monotonic)  # type: ignore[arg-type]
            with suppress(Died, EnrollmentError, FailPointReached):
                return real(sessions, askings, monotonic)
        return told

    with instead(intake, "store_singles", store):
        yield


@mutant
def accepted_before_it_is_whole() -> Iterator[None]:
    """A file is published with its first part; the others follow."""

    def write(self: Uploads, upload: Any, head: Any, drafts: Any, *, lane: Any, alone: bool) -> Any:
        groups = list(drafts.groups())
        total = sum(draft.rows for some in groups for draft in some)
        submission_id = self._open(upload, head, lane)
        first, _ = self._store_all(submission_id, _Groups(groups[:1]), lane=lane, alone=alone)  # type: ignore[arg-type]
        published = self._publish(upload, submission_id, Waiting(first, lane, alone), total)
        at = len(groups[0])
        for some in groups[1:]:
            news = [batches.NewBatch(draft.rows, draft.payload) for draft in some]
            with self.sessions.begin() as session:
                batches.add_of(session, submission_id, at, news, lane=lane, alone=alone)
            at += len(some)
        return published

    with instead(Uploads, "_write", write):
        yield


class _Groups:
    """Parts of a file, as its intake asks for them."""

    def __init__(self, groups: list[Any]) -> None:
        self.groups = lambda: iter(groups)


@mutant
def events_after_the_commit() -> Iterator[None]:
    """Events and their places in the feed are written in a transaction of their own."""
    add, take, begin = changes.add, changes.take_positions, Sessions.begin

    @contextmanager
    def begin_and_tell(self: Sessions) -> Iterator[Any]:
        with begin(self) as session:
            yield session
            later = session.info.pop("later", [])
        if later:
            with self.begin() as session:
                for write in later:
                    write(session)

    def later(write: Callable[..., Any]) -> Callable[..., int]:
        def note(session: Any, what: Any, **how: Any) -> int:
            kept = session.info.setdefault("later", [])
            kept.append(lambda session: write(session, what, **how))
            return 0

        return note

    with (
        instead(Sessions, "begin", begin_and_tell),
        instead(changes, "add", later(add)),
        instead(changes, "take_positions", later(take)),
    ):
        yield


# --- what is decided by the wrong facts ---------------------------------------------------


@mutant
def a_stale_course_decides() -> Iterator[None]:
    """A course is judged as it was when it was first seen; only its seats are counted anew."""
    real = courses.standing
    seen: dict[str, Any] = {}

    def standing(session: Any, course_ids: Any) -> dict[str, Any]:
        fresh = real(session, course_ids)
        for course_id, loaded in fresh.items():
            if course_id not in seen or loaded.revision <= seen[course_id].revision:
                seen[course_id] = loaded
            old = replace(seen[course_id].course, seats_taken=loaded.course.seats_taken)
            fresh[course_id] = loaded._replace(course=old)
        return fresh

    with instead(courses, "standing", standing):
        yield


@mutant
def a_seat_is_counted_before_it_is_given() -> Iterator[None]:
    """The last seat is refused."""
    real = courses.standing

    def standing(session: Any, course_ids: Any) -> dict[str, Any]:
        return {
            course_id: loaded._replace(
                course=replace(loaded.course, seats_taken=loaded.course.seats_taken + 1)
            )
            for course_id, loaded in real(session, course_ids).items()
        }

    with instead(courses, "standing", standing):
        yield


@mutant
def judged_when_it_is_worked() -> Iterator[None]:
    """Deadlines are judged by the moment of the work, not by that of the wish."""
    real_work, real_settle = Answerer._work, answering.settle
    moments: list[datetime] = []

    def work(self: Answerer, session: Any, claimed: Any, heads: Any, now: datetime) -> Any:
        moments[:] = [now]
        return real_work(self, session, claimed, heads, now)

    def settle(asked: Any, usernames: Any) -> Any:
        return real_settle(asked._replace(received_at=moments[0]), usernames)

    with instead(Answerer, "_work", work), instead(answering, "settle", settle):
        yield


@mutant
def the_last_to_be_worked_wins() -> Iterator[None]:
    """The rank of a wish counts for nothing."""
    with instead(deciding, "_outranked", lambda clock, kept: False):
        yield


@mutant
def all_batches_are_announced_at_once() -> Iterator[None]:
    """The batches of a file are worked in any order."""
    real = batches.announce_next

    def announce(session: Any, its: Any, ordinal: int, *, now: datetime) -> Waiting | None:
        if ordinal == 0:
            everything = update(BatchRow).where(BatchRow.submission_id == its)
            session.execute(everything.values(announced_at=now, waiting_since=now))
        return real(session, its, ordinal, now=now)

    with instead(batches, "announce_next", announce):
        yield


# --- what is cancelled --------------------------------------------------------------------


@mutant
def cancelled_requests_are_worked() -> Iterator[None]:
    """Workers do not look whether somebody cancelled."""
    with (
        instead(answering, "_is_cancelled", lambda batch, heads: False),
        instead(submissions, "cancelled_singles", lambda session, ids: set()),
    ):
        yield


@mutant
def cancelling_takes_answers_back() -> Iterator[None]:
    """What was answered before is cancelled too."""
    real = batches.cancel_from

    def cancel(session: Any, submission_id: Any, ordinal: int, *, now: datetime) -> int:
        return real(session, submission_id, 0, now=now)

    with instead(batches, "cancel_from", cancel):
        yield


@mutant
def what_is_finished_can_be_cancelled() -> Iterator[None]:
    """Who cancels what was answered hears that it will be dropped."""
    real = submissions.ask_cancel

    def ask(session: Any, submission_id: Any, caller: Any, *, now: datetime) -> Any:
        try:
            return real(session, submission_id, caller, now=now)
        except SubmissionFinished:
            return submissions.find(session, submission_id)

    with instead(submissions, "ask_cancel", ask):
        yield


# --- what only others can spoil -----------------------------------------------------------


@mutant
def enrollments_without_version_guard() -> Iterator[None]:
    """What is written goes over whatever somebody else wrote since it was read."""
    real = enrollments.write

    def write(session: Any, writes: Sequence[Any], *, now: datetime) -> None:
        try:
            real(session, writes, now=now)
        except Conflict:
            kept = enrollments.standing(session, {one.key for one in writes})
            anyhow = [one._replace(version=kept[one.key].version + 1) for one in writes]
            real(session, anyhow, now=now)

    with instead(enrollments, "write", write):
        yield


@mutant
def seats_without_guard() -> Iterator[None]:
    """Seats are counted whatever became of the course since it was read."""

    def take(session: Any, seats: dict[int, int], loaded: dict[int, int]) -> None:
        for row, delta in seats.items():
            count = update(CourseRow).where(CourseRow.id == row)
            session.execute(count.values(seats_taken=CourseRow.seats_taken + delta))

    with instead(courses, "take_seats", take):
        yield


# --- the table ----------------------------------------------------------------------------


class Found(NamedTuple):
    """The first schedule that shows the sabotage, if any."""

    after: int
    report: Report | None


def find(name: str, *, seeds: int = SEEDS) -> Found:
    """Play schedules against a mutant until one of them finds it."""
    with MUTANTS[name](), Bench() as bench:
        for seed in range(seeds):
            report = play(bench, seed)
            if report.faults:
                return Found(seed + 1, report)
    return Found(seeds, None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where a mutant was not found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--only", choices=sorted(MUTANTS))
    given = parser.parse_args(arguments)
    missed = 0
    for name in [given.only] if given.only else MUTANTS:
        found = find(name, seeds=given.seeds)
        missed += found.report is None
        first = "NOT FOUND" if found.report is None else found.report.faults[0]
        print(f"{name:45} {found.after:5}  {first[:120]}", flush=True)
    print(f"{len(MUTANTS) if not given.only else 1} mutants, {missed} not found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
