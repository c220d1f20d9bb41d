"""Decodes the rows of claimed batches, and settles those that need no decision."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from enrollment.domain.codes import Code, Reason
from enrollment.domain.model import Outcome, Request
from enrollment.domain.submissions import Submission
from enrollment.runtime.failpoints import Point, fail_point, is_armed
from enrollment.storage import cancellation, crosswalks, learners
from enrollment.storage.queue.claims import ClaimedBatch
from worker.processing.decode import DecodedBatch, decode_all
from worker.processing.prefetch import Prefetcher
from worker.processing.record_index import (
    EndedRecord,
    RecordIndexes,
    RecordsIncomplete,
    find_kept,
)
from worker.processing.row_resolution import DecodedRow, resolve

SubmissionsById = Mapping[UUID, Submission]


class DecodeCaches(NamedTuple):
    """Rows that a process decoded ahead, and the indexes of records that it keeps."""

    prefetcher: Prefetcher
    records: RecordIndexes


class DecodedClaim(NamedTuple):
    """Claimed batches with their decoded rows."""

    claimed: Sequence[ClaimedBatch]
    by_id: SubmissionsById
    rows: Sequence[DecodedRow]
    #: By row: the request to decide, or the outcome of a row that needs no decision.
    settled: Sequence[Request | Outcome]
    requests: Sequence[Request]

    @property
    def sources(self) -> Sequence[DecodedRow]:
        """Rows of `requests`, in the same order."""
        if len(self.requests) == len(self.rows):
            return self.rows
        both = zip(self.rows, self.settled, strict=True)
        return [row for row, item in both if isinstance(item, Request)]


def decode_and_settle(
    session: Session,
    claimed: Sequence[ClaimedBatch],
    by_id: SubmissionsById,
    caches: DecodeCaches,
) -> DecodedClaim | RecordsIncomplete:
    """Decodes the rows of the batches and looks up the learners they name by e-mail.

    Settles rows that end a record while another one of their file keeps the learner.
    """
    batches, rows = decode_claimed(session, claimed, by_id, caches.prefetcher)
    settled = _settle(session, claimed, batches)
    for submission, ended in _ended_records(claimed, by_id, batches, settled):
        kept = find_kept(session, submission, ended, caches.records)
        if isinstance(kept, RecordsIncomplete):
            return kept
        for one in kept:
            settled[one.position] = _kept(one.request)
    return with_requests(claimed, by_id, rows, settled)


def _ended_records(
    claimed: Sequence[ClaimedBatch],
    by_id: SubmissionsById,
    decoded: Sequence[DecodedBatch],
    settled: Sequence[Request | Outcome],
) -> list[tuple[Submission, list[EndedRecord]]]:
    """Returns the rows that end a record and withdraw a learner, by submission."""
    by_submission: dict[UUID, list[EndedRecord]] = {}
    first = 0
    for batch, content in zip(claimed, decoded, strict=True):
        for position, key in content.ended.items():
            request = settled[first + position]
            if isinstance(request, Request) and batch.submission_id is not None:
                ended = EndedRecord(first + position, request, key)
                by_submission.setdefault(batch.submission_id, []).append(ended)
        first += len(content.rows)
    return [(by_id[submission_id], ended) for submission_id, ended in by_submission.items()]


def _kept(request: Request) -> Outcome:
    reason = Reason.KEPT_BY_OTHER_RECORD
    return Outcome(request.line, request.username, request.course_id, Code.UNCHANGED, reason)


def with_requests(
    claimed: Sequence[ClaimedBatch],
    by_id: SubmissionsById,
    rows: Sequence[DecodedRow],
    settled: Sequence[Request | Outcome],
) -> DecodedClaim:
    """Returns the decoded claim with the requests among its settled rows."""
    requests = [item for item in settled if isinstance(item, Request)]
    return DecodedClaim(claimed, by_id, rows, settled, requests)


def decode_claimed(
    session: Session,
    claimed: Sequence[ClaimedBatch],
    by_id: SubmissionsById,
    prefetcher: Prefetcher,
) -> tuple[list[DecodedBatch], list[DecodedRow]]:
    """Decodes the batches; returns them, and the rows of all of them in order."""
    find = partial(crosswalks.find_many, session)
    decoded = decode_all(claimed, by_id, find, prefetcher.take)
    rows = [row for batch in decoded for row in batch.rows]
    if is_armed():
        _reach_failpoints(rows)
    return decoded, rows


def _reach_failpoints(rows: Iterable[DecodedRow]) -> None:
    for row in rows:
        if row.request is not None and not row.is_poisonous:
            fail_point(Point.WORK_JUDGING, row.request.username or row.request.email or "")


def _settle(
    session: Session, claimed: Sequence[ClaimedBatch], decoded: Sequence[DecodedBatch]
) -> list[Request | Outcome]:
    """Returns, by row, the request to decide or the outcome of a row that needs no decision.

    Looks up learners by e-mail, learners of rows with a doubt, and cancelled single requests, each
    by one statement.
    """
    rows = [row for batch in decoded if batch.settled is None for row in batch.rows]
    emails = {row.request.email for row in rows if row.request is not None}
    by_email = learners.find_by_email(session, {email for email in emails if email is not None})
    usernames = {email: learner.learner.username for email, learner in by_email.items()}
    doubtful = {row.request.username or "" for row in rows if row.request and row.doubt}
    loaded = learners.find_many(session, doubtful)
    known = {username: each.learner.email for username, each in loaded.items()}
    singles = [batch.id for batch in claimed if batch.submission_id is None]
    cancelled = cancellation.cancelled_singles(session, singles) if singles else set()
    settled: list[Request | Outcome] = []
    for batch in decoded:
        settled += batch.settled or [
            _cancelled(row) if row.submission_id in cancelled else resolve(row, usernames, known)
            for row in batch.rows
        ]
    return settled


def _cancelled(row: DecodedRow) -> Outcome:
    request = row.request
    return Outcome(
        row.line,
        None if request is None else request.username,
        None if request is None else request.course_id,
        Code.CANCELLED,
    )
