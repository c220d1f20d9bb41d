"""Mutants that decide by wrong facts, cancel wrongly, or overwrite others' changes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import update

from enrollment.domain import decision, poison_search
from enrollment.domain.errors import SubmissionFinished
from enrollment.storage import cancellation, courses, enrollments, submissions
from enrollment.storage.queue import batches
from enrollment.storage.queue.batches import BatchRef
from enrollment.storage.tables import BatchRow, CourseRow
from tests.fault_lab.mutants.registry import (
    mutant,
    mutant_that_shows,
    while_transactions_overlap,
    while_workers_crash_often,
)
from tests.fault_lab.simulator.environment import patched
from worker.processing import decoded_claim, transaction
from worker.processing.transaction import BatchTransaction


@mutant
def stale_course() -> Iterator[None]:
    """A course is used as it was when first loaded; only its seats are current."""
    real = courses.load_for_batch
    seen: dict[str, Any] = {}

    def load_changed(session: Any, course_ids: Any, **how: Any) -> dict[str, Any]:
        fresh = real(session, course_ids, **how)
        for course_id, loaded in fresh.items():
            if course_id not in seen or loaded.revision <= seen[course_id].revision:
                seen[course_id] = loaded
            old = replace(seen[course_id].course, seats_taken=loaded.course.seats_taken)
            fresh[course_id] = loaded._replace(course=old)
        return fresh

    with patched(courses, "load_for_batch", load_changed):
        yield


@mutant
def seat_counted_twice() -> Iterator[None]:
    """The last seat is refused."""
    real = courses.load_for_batch

    def load_changed(session: Any, course_ids: Any, **how: Any) -> dict[str, Any]:
        return {
            course_id: loaded._replace(
                course=replace(loaded.course, seats_taken=loaded.course.seats_taken + 1)
            )
            for course_id, loaded in real(session, course_ids, **how).items()
        }

    with patched(courses, "load_for_batch", load_changed):
        yield


@mutant
def deadlines_at_processing_time() -> Iterator[None]:
    """Deadlines are compared with the time of processing, not with the effective time."""
    real_run, real_settle = BatchTransaction.run, decoded_claim.resolve
    moments: list[datetime] = []

    def run(
        self: BatchTransaction, session: Any, claimed: Any, locking: Any, *, now: datetime
    ) -> Any:
        moments[:] = [now]
        return real_run(self, session, claimed, locking, now=now)

    def resolve_late(claim_row: Any, *names: Any) -> Any:
        return real_settle(claim_row._replace(received_at=moments[0]), *names)

    with patched(BatchTransaction, "run", run), patched(decoded_claim, "resolve", resolve_late):
        yield


@mutant
def precedence_ignored() -> Iterator[None]:
    """The precedence of a request is ignored."""
    with patched(decision, "_is_superseded", lambda clock, kept: False):
        yield


@mutant
def all_batches_dispatched_at_once() -> Iterator[None]:
    """The batches of a file are processed in any order."""
    real = batches.mark_dispatched

    def announce(
        session: Any, submission_id: Any, ordinal: int, *, now: datetime
    ) -> BatchRef | None:
        if ordinal == 0:
            everything = update(BatchRow).where(BatchRow.submission_id == submission_id)
            session.execute(everything.values(announced_at=now, waiting_since=now))
        return real(session, submission_id, ordinal, now=now)

    with patched(batches, "mark_dispatched", announce):
        yield


@mutant
def cancelled_requests_processed() -> Iterator[None]:
    """Workers ignore cancellation."""
    with (
        patched(transaction, "_is_cancelled", lambda batch, heads: False),
        patched(cancellation, "cancelled_singles", lambda session, ids: set()),
    ):
        yield


@mutant
def cancellation_replaces_outcomes() -> Iterator[None]:
    """Outcomes from before the cancellation are cancelled too."""
    real = batches.cancel_from

    def cancel(session: Any, submission_id: Any, ordinal: int, *, now: datetime) -> int:
        return real(session, submission_id, 0, now=now)

    with patched(batches, "cancel_from", cancel):
        yield


@mutant
def finished_submission_cancelled() -> Iterator[None]:
    """Cancelling a finished submission is accepted."""
    real = cancellation.request_cancel

    def ask(session: Any, submission_id: Any, caller: Any, *, now: datetime) -> Any:
        try:
            return real(session, submission_id, caller, now=now)
        except SubmissionFinished:
            return submissions.find(session, submission_id)

    with patched(cancellation, "request_cancel", ask):
        yield


@mutant_that_shows(while_workers_crash_often)
def batch_parked_after_few_crashes() -> Iterator[None]:
    """Two failures of the empty prefix park a batch, also where only the workers' host fails."""
    with patched(poison_search, "FAILURES_TO_PARK", 2):
        yield


@mutant_that_shows(while_transactions_overlap)
def enrollments_without_version_guard() -> Iterator[None]:
    """Writes ignore changes that others committed since the read."""
    render, write = enrollments.render_writes, enrollments.write_pipelined

    def note(session: Any, writes: Sequence[Any], *, now: datetime) -> Any:
        session.info["writes"] = writes, now
        return render(session, writes, now=now)

    @contextmanager
    def write_unconditionally(session: Any, _: Any) -> Iterator[None]:
        writes, now = session.info["writes"]
        kept = enrollments.find_many(session, {one.key for one in writes})
        unconditional = [
            one._replace(version=kept[one.key].version + 1 if one.key in kept else 1)
            for one in writes
        ]
        with write(session, render(session, unconditional, now=now)):
            yield

    with (
        patched(enrollments, "render_writes", note),
        patched(enrollments, "write_pipelined", write_unconditionally),
    ):
        yield


@mutant_that_shows(while_transactions_overlap)
def seats_without_revision_guard() -> Iterator[None]:
    """Seats are counted without the check that the course is unchanged since the read."""

    def take(session: Any, seats: dict[int, int], loaded: dict[int, int]) -> None:
        for row, delta in seats.items():
            count = update(CourseRow).where(CourseRow.id == row)
            session.execute(count.values(seats_taken=CourseRow.seats_taken + delta))

    with patched(courses, "take_seats", take):
        yield
