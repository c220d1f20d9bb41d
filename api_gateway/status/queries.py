"""Read queries: submission status, pages of outcomes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from api_gateway.auth.caller import Caller
from enrollment.domain.codes import Code, Reason
from enrollment.domain.model import Course, Outcome
from enrollment.domain.submissions import ArchiveMember, Submission, is_cancelled_as_whole
from enrollment.storage import courses, submissions
from enrollment.storage.queue import batches
from enrollment.storage.queue.batches import BatchResult
from enrollment.storage.views import enrollment_views, submission_views
from enrollment.storage.views.enrollment_views import EnrollmentView
from schemas.files.raw_rows import format_of_batch, member_at, rows_for_display
from schemas.files.row_payload import ParsedRow
from schemas.outcomes import decode_outcomes, tally_outcomes
from schemas.requests.single_payload import decode_singles


class Status(NamedTuple):
    """A submission with its progress; the other members only for completed single requests."""

    submission: Submission
    outcome: Outcome | None = None
    enrollment: EnrollmentView | None = None
    course: Course | None = None


def get_visible_submission(session: Session, submission_id: UUID, caller: Caller) -> Submission:
    """Returns a submission that the caller may see: its own; for admins any.

    Raises SubmissionNotFound.
    """
    owner = None if caller.may("admin") else caller.name
    return submissions.find_visible(session, submission_id, owner)


def get_status(session: Session, submission_id: UUID, caller: Caller) -> Status:
    """Returns the status of a submission. Raises SubmissionNotFound."""
    submission = get_visible_submission(session, submission_id, caller)
    if submission.batch_id is None:
        return Status(submission)
    return get_single_status(session, submission)


def get_single_status(session: Session, submission: Submission) -> Status:
    """Returns the status of a single request, which is that of its batch."""
    batch = batches.find_result(session, submission.batch_id or 0)
    if batch is None or batch.outcomes is None or batch.answered_at is None:
        return Status(submission)
    outcome = decode_outcomes(batch.outcomes)[submission.position or 0]
    completed = _completed_single(submission, outcome, batch.answered_at)
    if outcome.user is None or outcome.course_id is None:
        return Status(completed, outcome)
    return Status(
        completed,
        outcome,
        enrollment_views.find(session, outcome.user, outcome.course_id),
        courses.find(session, outcome.course_id),
    )


def _completed_single(submission: Submission, outcome: Outcome, at: datetime) -> Submission:
    return replace(submission, tally=tally_outcomes([outcome]), started_at=at, finished_at=at)


def complete_singles(session: Session, listed: Sequence[Submission]) -> list[Submission]:
    """Returns the submissions with the progress of the singles among them, in one statement."""
    batch_ids = {one.batch_id for one in listed if one.batch_id is not None}
    stored = submission_views.find_outcomes(session, batch_ids)
    decoded = {batch: decode_outcomes(each.outcomes) for batch, each in stored.items()}
    return [
        _completed_single(
            one, decoded[one.batch_id][one.position or 0], stored[one.batch_id].answered_at
        )
        if one.batch_id in stored
        else one
        for one in listed
    ]


class OutcomesCursor(NamedTuple):
    """The start of a page of outcomes: the batch, and the number of its rows to skip."""

    ordinal: int = 0
    skip: int = 0


class OutcomeFilter(NamedTuple):
    """Selects outcomes; empty sets select all."""

    codes: frozenset[Code] = frozenset()
    reasons: frozenset[str] = frozenset()
    #: One file of an archive; None for all.
    file: ArchiveMember | None = None

    def matches(self, outcome: Outcome) -> bool:
        """Whether the filter selects an outcome."""
        return (not self.codes or outcome.code in self.codes) and (
            not self.reasons or (outcome.reason or "") in self.reasons
        )

    def matches_line(self, submission: Submission, line: int) -> bool:
        """Whether a line of the submission is in the selected file."""
        return self.file is None or member_at(submission.files, line) == self.file

    def may_match_batch(self, tally: Mapping[str, object] | None) -> bool:
        """Whether a batch with this tally may contain selected outcomes."""
        return not tally or not self.codes or any(code.value in tally for code in self.codes)


class OutcomeRow(NamedTuple):
    """An outcome with its row; None if the row cannot be parsed."""

    outcome: Outcome
    row: ParsedRow | None


class OutcomesPage(NamedTuple):
    """Outcomes in input order; `next` is None after the last."""

    rows: list[OutcomeRow]
    next: OutcomesCursor | None


#: Batches per query.
_BATCHES_PER_QUERY = 4
#: Maximum queries per page, which is one transaction: on SQLite reads delay commits.
_QUERIES_PER_PAGE = 8


def read_outcomes_page(
    session: Session,
    submission: Submission,
    cursor: OutcomesCursor,
    outcome_filter: OutcomeFilter,
    *,
    limit: int,
) -> OutcomesPage:
    """Reads outcomes from a cursor on, up to the first batch that is not completed.

    Reads a limited number of batches: if few outcomes are selected, a page may be empty and
    still have a next one.
    """
    if submission.batch_id is not None:
        return _single_page(session, submission, cursor, outcome_filter)
    rows: list[OutcomeRow] = []
    for _ in range(_QUERIES_PER_PAGE):
        found = batches.list_results(
            session, submission.id, from_ordinal=cursor.ordinal, limit=_BATCHES_PER_QUERY
        )
        section = _read_batches(found, submission, cursor, outcome_filter, limit=limit - len(rows))
        rows += section.rows
        cursor = section.next
        if section.is_last:
            return OutcomesPage(rows, cursor)
        if len(found) < _BATCHES_PER_QUERY:
            return OutcomesPage(rows, None)
    return OutcomesPage(rows, cursor)


class _Section(NamedTuple):
    """The selected rows of some batches, the cursor after them, whether the page ends there."""

    rows: list[OutcomeRow]
    next: OutcomesCursor
    is_last: bool


def _read_batches(
    found: Sequence[BatchResult],
    submission: Submission,
    cursor: OutcomesCursor,
    outcome_filter: OutcomeFilter,
    *,
    limit: int,
) -> _Section:
    """Returns the selected rows, up to the limit or the first batch that is not completed."""
    rows: list[OutcomeRow] = []
    for batch in found:
        if batch.outcomes is None:
            return _Section(rows, cursor, is_last=True)
        more, stop = _matching_rows(
            batch, submission, outcome_filter, skip=cursor.skip, limit=limit - len(rows)
        )
        rows += more
        if stop is not None:
            return _Section(rows, OutcomesCursor(cursor.ordinal, stop), is_last=True)
        cursor = OutcomesCursor(batch.ordinal + 1)
    return _Section(rows, cursor, is_last=False)


def _matching_rows(
    batch: BatchResult,
    submission: Submission,
    outcome_filter: OutcomeFilter,
    *,
    skip: int,
    limit: int,
) -> tuple[list[OutcomeRow], int | None]:
    """Returns the selected rows of a completed batch and the index at which the limit was reached.

    The index is None if all rows were read.
    """
    rows: list[OutcomeRow] = []
    if not outcome_filter.may_match_batch(batch.tally):
        return rows, None
    for index, row in enumerate(_rows_of(batch, submission)[skip:], skip):
        if len(rows) == limit:
            return rows, index
        if outcome_filter.matches_line(submission, row.outcome.line) and outcome_filter.matches(
            row.outcome
        ):
            rows.append(row)
    return rows, None


def _rows_of(batch: BatchResult, submission: Submission) -> list[OutcomeRow]:
    """Returns the outcomes of a batch with their rows.

    A batch that was cancelled as a whole stores no outcomes. Rows that crashed a worker are not
    parsed here either.
    """
    is_cancelled = is_cancelled_as_whole(batch.outcomes)
    outcomes = [] if is_cancelled else decode_outcomes(batch.outcomes or b"")
    unreadable = [
        index for index, outcome in enumerate(outcomes) if outcome.reason is Reason.INTERNAL_ERROR
    ]
    row_format = format_of_batch(submission, batch.payload)
    rows = list(rows_for_display(batch.payload, row_format, unreadable))
    if is_cancelled:
        return [OutcomeRow(_cancelled_outcome(row), row) for row in rows]
    return [OutcomeRow(outcome, row) for outcome, row in zip(outcomes, rows, strict=True)]


def _cancelled_outcome(row: ParsedRow) -> Outcome:
    return Outcome(row.line, row.user, row.course_id, Code.CANCELLED)


def _single_page(
    session: Session, submission: Submission, cursor: OutcomesCursor, outcome_filter: OutcomeFilter
) -> OutcomesPage:
    """Returns the page of a single request: its outcome, or none and the same cursor again."""
    if cursor != OutcomesCursor():
        return OutcomesPage([], None)
    batch = batches.find_result(session, submission.batch_id or 0)
    if batch is None or batch.outcomes is None:
        return OutcomesPage([], OutcomesCursor())
    outcome = decode_outcomes(batch.outcomes)[submission.position or 0]
    request = decode_singles(batch.payload)[submission.position or 0].request
    row = OutcomeRow(outcome, ParsedRow(1, request, None, None))
    return OutcomesPage([row] if outcome_filter.matches(outcome) else [], None)
