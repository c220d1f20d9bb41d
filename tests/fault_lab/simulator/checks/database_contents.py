"""Reads the contents of the database after a schedule, with plain queries."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from enrollment.domain.events import RecordedEvent
from enrollment.domain.model import Outcome
from enrollment.domain.submissions import is_cancelled_as_whole
from enrollment.storage import events
from enrollment.storage.queue.batches import intake_number
from enrollment.storage.tables import (
    BatchRow,
    CourseRow,
    EnrollmentRow,
    LearnerRow,
    SubmissionRow,
)
from schemas.outcomes import decode_outcomes
from tests.fault_lab.simulator.checks.model import Key
from tests.support.in_process_service import ALL


class Batch(NamedTuple):
    """A row of `batch`."""

    id: int
    submission_id: UUID | None
    ordinal: int | None
    requests: int
    announced_at: datetime | None
    waiting_since: datetime | None
    parked_at: datetime | None
    answered_at: datetime | None
    stored_outcomes: bytes | None
    attempts: int

    @property
    def is_cancelled(self) -> bool:
        """Returns whether the whole batch was cancelled by one statement."""
        return is_cancelled_as_whole(self.stored_outcomes)

    @property
    def outcomes(self) -> list[Outcome]:
        """Returns the decoded outcomes; empty if there are none yet."""
        return decode_outcomes(self.stored_outcomes) if self.stored_outcomes else []


class Submission(NamedTuple):
    """A row of `submission`."""

    id: UUID
    label: str
    received_at: datetime
    published_at: datetime | None
    total: int
    intake: int | None
    batch_id: int | None
    position: int | None
    finished_at: datetime | None
    cancel_asked_at: datetime | None

    @property
    def place(self) -> int:
        """Returns the position in the order of intake."""
        if self.batch_id is None:
            return self.intake or 0
        return intake_number(self.batch_id, self.position or 0)


_BATCHES = select(
    BatchRow.id,
    BatchRow.submission_id,
    BatchRow.ordinal,
    BatchRow.requests,
    BatchRow.announced_at,
    BatchRow.waiting_since,
    BatchRow.parked_at,
    BatchRow.answered_at,
    BatchRow.outcomes,
    BatchRow.attempts,
).order_by(BatchRow.id)
_SUBMISSIONS = select(
    SubmissionRow.id,
    SubmissionRow.request_id,
    SubmissionRow.received_at,
    SubmissionRow.published_at,
    SubmissionRow.total,
    SubmissionRow.intake,
    SubmissionRow.batch_id,
    SubmissionRow.position,
    SubmissionRow.finished_at,
    SubmissionRow.cancel_asked_at,
)
_ENROLLMENTS = (
    select(CourseRow.course_id, LearnerRow.username, EnrollmentRow.is_active, EnrollmentRow.mode)
    .select_from(EnrollmentRow)
    .join(CourseRow, CourseRow.id == EnrollmentRow.course_id)
    .join(LearnerRow, LearnerRow.id == EnrollmentRow.learner_id)
)


@dataclass
class DatabaseContents:
    """Submissions with their batches, enrollments and events."""

    submissions: dict[UUID, Submission]
    batches: dict[int, Batch]
    enrollments: dict[Key, tuple[bool, str]]
    events: list[RecordedEvent]
    files: dict[UUID, list[Batch]] = field(default_factory=lambda: defaultdict(list))
    singles: dict[tuple[int, int], Submission] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for batch in self.batches.values():
            if batch.submission_id is not None:
                self.files[batch.submission_id].append(batch)
        for batches in self.files.values():
            batches.sort(key=lambda batch: batch.ordinal or 0)
        for one in self.submissions.values():
            if one.batch_id is not None:
                self.singles[one.batch_id, one.position or 0] = one

    def batches_of(self, submission: Submission) -> list[Batch]:
        """Returns the batches of a file, or the one batch that holds a single request."""
        if submission.batch_id is None:
            return self.files.get(submission.id, [])
        batch = self.batches.get(submission.batch_id)
        return [] if batch is None else [batch]

    def outcomes_of(self, submission: Submission) -> list[Outcome]:
        """Returns the outcomes so far, in the order of the requests."""
        batches = self.batches_of(submission)
        if submission.batch_id is not None:
            place = submission.position or 0
            return batches[0].outcomes[place : place + 1] if batches else []
        return [outcome for batch in batches for outcome in batch.outcomes]

    def rows_of(self, batch: Batch) -> Iterator[tuple[Submission, int]]:
        """Yields the submission of each request of a batch and the request's position in it."""
        if batch.submission_id is None:
            for position in range(batch.requests):
                if (batch.id, position) in self.singles:
                    yield self.singles[batch.id, position], 0
            return
        before = sum(
            other.requests
            for other in self.files[batch.submission_id]
            if (other.ordinal or 0) < (batch.ordinal or 0)
        )
        for position in range(batch.requests):
            yield self.submissions[batch.submission_id], before + position


def read(session: Session) -> DatabaseContents:
    """Reads all tables."""
    return DatabaseContents(
        {row[0]: Submission._make(row) for row in session.execute(_SUBMISSIONS)},
        {row[0]: Batch._make(row) for row in session.execute(_BATCHES)},
        {(row[0], row[1]): (row[2], row[3]) for row in session.execute(_ENROLLMENTS)},
        events.events_after(session, 0, limit=ALL),
    )
