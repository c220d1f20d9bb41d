"""Reading back what became of a submission, for status, outcomes and waiting callers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from api_gateway.callers import Caller
from enrollment.domain.codes import Code, Reason
from enrollment.domain.errors import SubmissionNotFound
from enrollment.domain.model import Course, Outcome
from enrollment.domain.submissions import Member, Submission, is_cancelled_as_whole
from enrollment.storage import batches, courses, enrollment_views, submissions
from enrollment.storage.batches import Answered
from enrollment.storage.enrollment_views import Listed
from schemas.outcomes import decode_outcomes, tally_outcomes
from schemas.raw_rows import format_of_batch, member_at, rows_for_display
from schemas.row_payload import Row
from schemas.single_payload import decode_singles


class Status(NamedTuple):
    """A submission as far as it is; the last three only of a single that is done."""

    submission: Submission
    outcome: Outcome | None = None
    enrollment: Listed | None = None
    course: Course | None = None


def own_submission(session: Session, submission_id: UUID, caller: Caller) -> Submission:
    """A submission of the caller's; admins see everybody's. Raises SubmissionNotFound."""
    found = submissions.find(session, submission_id)
    if found is None or not found.published:
        raise SubmissionNotFound(str(submission_id))
    if found.caller != caller.name and not caller.may("admin"):
        raise SubmissionNotFound(str(submission_id))
    return found


def status(session: Session, submission_id: UUID, caller: Caller) -> Status:
    """How far a submission is. Raises SubmissionNotFound."""
    submission = own_submission(session, submission_id, caller)
    if submission.batch_id is None:
        return Status(submission)
    return single_status(session, submission)


def single_status(session: Session, submission: Submission) -> Status:
    """The same for a single, whose state is that of its batch."""
    batch = batches.result_of(session, submission.batch_id or 0)
    if batch is None or batch.outcomes is None or batch.answered_at is None:
        return Status(submission)
    outcome = decode_outcomes(batch.outcomes)[submission.position or 0]
    done = replace(
        submission,
        tally=tally_outcomes([outcome]),
        started_at=batch.answered_at,
        finished_at=batch.answered_at,
    )
    if outcome.user is None or outcome.course_id is None:
        return Status(done, outcome)
    return Status(
        done,
        outcome,
        enrollment_views.find(session, outcome.user, outcome.course_id),
        courses.find(session, outcome.course_id),
    )


class Cursor(NamedTuple):
    """Where a page of outcomes begins: the batch, and how many of its rows were given."""

    ordinal: int = 0
    skip: int = 0


class Filter(NamedTuple):
    """Which outcomes are asked for; empty means all."""

    codes: frozenset[Code] = frozenset()
    reasons: frozenset[str] = frozenset()
    #: Of one file of an archive.
    file: Member | None = None

    def takes(self, outcome: Outcome) -> bool:
        """Whether the outcome is among those asked for."""
        return (not self.codes or outcome.code in self.codes) and (
            not self.reasons or (outcome.reason or "") in self.reasons
        )

    def takes_row(self, submission: Submission, line: int) -> bool:
        """Whether a line of the submission is in the file asked for."""
        return self.file is None or member_at(submission.files, line) == self.file

    def may_take(self, tally: Mapping[str, object] | None) -> bool:
        """Whether a batch with this tally has any of those asked for."""
        return not tally or not self.codes or any(code.value in tally for code in self.codes)


class Answer(NamedTuple):
    """One outcome with the row it belongs to, as far as the row is at hand."""

    outcome: Outcome
    row: Row | None


class Page(NamedTuple):
    """Some outcomes in input order; ``next`` is None after the last."""

    answers: list[Answer]
    next: Cursor | None


#: Batches that one look at the records reads.
_BATCHES_A_LOOK = 4
#: Looks in one transaction: on SQLite nobody commits while one reads.
_LOOKS_A_PAGE = 8


def outcomes_page(
    session: Session, submission: Submission, cursor: Cursor, wanted: Filter, *, limit: int
) -> Page:
    """Outcomes from a cursor on, up to the first batch that is not answered.

    A look is short: where few outcomes are wanted a page may be empty and have a next.
    """
    if submission.batch_id is not None:
        return _single_page(session, submission, cursor, wanted)
    answers: list[Answer] = []
    ordinal, skip = cursor
    for _ in range(_LOOKS_A_PAGE):
        found = batches.results(session, submission.id, from_ordinal=ordinal, limit=_BATCHES_A_LOOK)
        for batch in found:
            if batch.outcomes is None:
                return Page(answers, Cursor(ordinal, skip))
            if not wanted.may_take(batch.tally):
                ordinal, skip = batch.ordinal + 1, 0
                continue
            for answer in _answers(batch, submission)[skip:]:
                if len(answers) == limit:
                    return Page(answers, Cursor(ordinal, skip))
                skip += 1
                is_there = wanted.takes_row(submission, answer.outcome.line)
                if is_there and wanted.takes(answer.outcome):
                    answers.append(answer)
            ordinal, skip = batch.ordinal + 1, 0
        if len(found) < _BATCHES_A_LOOK:
            return Page(answers, None)
    return Page(answers, Cursor(ordinal, skip))


def _answers(batch: Answered, submission: Submission) -> list[Answer]:
    """A batch's outcomes beside its rows; a cancelled batch has none kept.

    A row that no worker could judge is not read here either.
    """
    is_cancelled = is_cancelled_as_whole(batch.outcomes)
    outcomes = [] if is_cancelled else decode_outcomes(batch.outcomes or b"")
    left_out = [
        place for place, outcome in enumerate(outcomes) if outcome.reason is Reason.INTERNAL_ERROR
    ]
    row_format = format_of_batch(submission, batch.payload)
    rows = list(rows_for_display(batch.payload, row_format, left_out))
    if is_cancelled:
        return [Answer(_cancelled(row), row) for row in rows]
    return [Answer(outcome, row) for outcome, row in zip(outcomes, rows, strict=True)]


def _cancelled(row: Row) -> Outcome:
    return Outcome(row.line, row.user, row.course_id, Code.CANCELLED)


def _single_page(session: Session, submission: Submission, cursor: Cursor, wanted: Filter) -> Page:
    if cursor != Cursor():
        return Page([], None)
    batch = batches.result_of(session, submission.batch_id or 0)
    if batch is None or batch.outcomes is None:
        return Page([], Cursor())
    outcome = decode_outcomes(batch.outcomes)[submission.position or 0]
    request = decode_singles(batch.payload)[submission.position or 0].request
    answer = Answer(outcome, Row(1, request, None, None))
    return Page([answer] if wanted.takes(outcome) else [], None)
