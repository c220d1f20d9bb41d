"""Read queries: the status of a submission, pages of its outcomes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from api_gateway.auth.caller import Caller
from enrollment.domain.codes import Code, Reason
from enrollment.domain.errors import SubmissionNotFound
from enrollment.domain.model import Course, Outcome
from enrollment.domain.submissions import ArchiveMember, Submission, is_cancelled_as_whole
from enrollment.storage import courses, submissions
from enrollment.storage.queue import batches
from enrollment.storage.queue.batches import BatchResult
from enrollment.storage.views import enrollment_views
from enrollment.storage.views.enrollment_views import EnrollmentView
from schemas.files.raw_rows import format_of_batch, member_at, rows_for_display
from schemas.files.row_payload import ParsedRow
from schemas.outcomes import decode_outcomes, tally_outcomes
from schemas.requests.single_payload import decode_singles


class Status(NamedTuple):
    """A submission with its progress; the last three only of a completed single request."""

    submission: Submission
    outcome: Outcome | None = None
    enrollment: EnrollmentView | None = None
    course: Course | None = None


def get_visible_submission(session: Session, submission_id: UUID, caller: Caller) -> Submission:
    """Return a submission that the caller may see: their own, or any for admins.

    Raises SubmissionNotFound.
    """
    found = submissions.find(session, submission_id)
    if found is None or not found.published:
        raise SubmissionNotFound(str(submission_id))
    if found.caller != caller.name and not caller.may("admin"):
        raise SubmissionNotFound(str(submission_id))
    return found


def get_status(session: Session, submission_id: UUID, caller: Caller) -> Status:
    """Return the status of a submission. Raises SubmissionNotFound."""
    submission = get_visible_submission(session, submission_id, caller)
    if submission.batch_id is None:
        return Status(submission)
    return get_single_status(session, submission)


def get_single_status(session: Session, submission: Submission) -> Status:
    """Return the status of a single request, which is that of its batch."""
    batch = batches.find_result(session, submission.batch_id or 0)
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


class OutcomesCursor(NamedTuple):
    """Where a page of outcomes begins: the batch, and the number of its rows to skip."""

    ordinal: int = 0
    skip: int = 0


class OutcomeFilter(NamedTuple):
    """Which outcomes are wanted; empty sets mean all."""

    codes: frozenset[Code] = frozenset()
    reasons: frozenset[str] = frozenset()
    #: One file of an archive; None for all.
    file: ArchiveMember | None = None

    def takes(self, outcome: Outcome) -> bool:
        """Whether an outcome is wanted."""
        return (not self.codes or outcome.code in self.codes) and (
            not self.reasons or (outcome.reason or "") in self.reasons
        )

    def takes_row(self, submission: Submission, line: int) -> bool:
        """Whether a line of the submission is in the wanted file."""
        return self.file is None or member_at(submission.files, line) == self.file

    def may_take(self, tally: Mapping[str, object] | None) -> bool:
        """Whether a batch with this tally contains wanted outcomes."""
        return not tally or not self.codes or any(code.value in tally for code in self.codes)


class OutcomeRow(NamedTuple):
    """An outcome with its row, if the row can be read."""

    outcome: Outcome
    row: ParsedRow | None


class OutcomesPage(NamedTuple):
    """Outcomes in input order; ``next`` is None after the last."""

    rows: list[OutcomeRow]
    next: OutcomesCursor | None


#: Batches that one query reads.
_BATCHES_A_QUERY = 4
#: Queries in one transaction: on SQLite nobody commits during a read.
_QUERIES_A_PAGE = 8


def read_outcomes_page(
    session: Session,
    submission: Submission,
    cursor: OutcomesCursor,
    wanted: OutcomeFilter,
    *,
    limit: int,
) -> OutcomesPage:
    """Read outcomes from a cursor on, up to the first batch that is not completed.

    Reads a limited number of batches: if few outcomes are wanted, a page may be empty and have
    a next one.
    """
    if submission.batch_id is not None:
        return _single_page(session, submission, cursor, wanted)
    rows: list[OutcomeRow] = []
    at = cursor
    for _ in range(_QUERIES_A_PAGE):
        found = batches.list_results(
            session, submission.id, from_ordinal=at.ordinal, limit=_BATCHES_A_QUERY
        )
        for batch in found:
            if batch.outcomes is None:
                return OutcomesPage(rows, at)
            more, stop = _wanted_rows(
                batch, submission, wanted, skip=at.skip, limit=limit - len(rows)
            )
            rows += more
            if stop is not None:
                return OutcomesPage(rows, OutcomesCursor(at.ordinal, stop))
            at = OutcomesCursor(batch.ordinal + 1)
        if len(found) < _BATCHES_A_QUERY:
            return OutcomesPage(rows, None)
    return OutcomesPage(rows, at)


def _wanted_rows(
    batch: BatchResult, submission: Submission, wanted: OutcomeFilter, *, skip: int, limit: int
) -> tuple[list[OutcomeRow], int | None]:
    """Return wanted rows of a completed batch, and the row at which the limit was reached.

    The latter is None once all rows were read.
    """
    found: list[OutcomeRow] = []
    if not wanted.may_take(batch.tally):
        return found, None
    for place, row in enumerate(_rows_of(batch, submission)[skip:], skip):
        if len(found) == limit:
            return found, place
        if wanted.takes_row(submission, row.outcome.line) and wanted.takes(row.outcome):
            found.append(row)
    return found, None


def _rows_of(batch: BatchResult, submission: Submission) -> list[OutcomeRow]:
    """The outcomes of a batch with their rows; one cancelled as a whole stores no outcomes.

    Rows that no worker could process are not parsed here either.
    """
    is_cancelled = is_cancelled_as_whole(batch.outcomes)
    outcomes = [] if is_cancelled else decode_outcomes(batch.outcomes or b"")
    unreadable = [
        place for place, outcome in enumerate(outcomes) if outcome.reason is Reason.INTERNAL_ERROR
    ]
    row_format = format_of_batch(submission, batch.payload)
    rows = list(rows_for_display(batch.payload, row_format, unreadable))
    if is_cancelled:
        return [OutcomeRow(_cancelled_outcome(row), row) for row in rows]
    return [OutcomeRow(outcome, row) for outcome, row in zip(outcomes, rows, strict=True)]


def _cancelled_outcome(row: ParsedRow) -> Outcome:
    return Outcome(row.line, row.user, row.course_id, Code.CANCELLED)


def _single_page(
    session: Session, submission: Submission, cursor: OutcomesCursor, wanted: OutcomeFilter
) -> OutcomesPage:
    if cursor != OutcomesCursor():
        return OutcomesPage([], None)
    batch = batches.find_result(session, submission.batch_id or 0)
    if batch is None or batch.outcomes is None:
        return OutcomesPage([], OutcomesCursor())
    outcome = decode_outcomes(batch.outcomes)[submission.position or 0]
    request = decode_singles(batch.payload)[submission.position or 0].request
    row = OutcomeRow(outcome, ParsedRow(1, request, None, None))
    return OutcomesPage([row] if wanted.takes(outcome) else [], None)
