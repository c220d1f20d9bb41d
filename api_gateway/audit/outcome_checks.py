"""Audit of outcomes: the batches of files and of single requests."""

from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import TypeVar

from sqlalchemy.orm import Session

from api_gateway.audit.report import Report
from api_gateway.audit.timeline import decode_or_none
from enrollment.domain.audit.outcomes import (
    BatchOutcomes,
    BatchRecord,
    FileCheck,
    FileRecord,
    check_batch,
    check_singles,
)
from enrollment.domain.audit.violations import Violation, ViolationKind, ViolationSubject
from enrollment.domain.codes import Code
from enrollment.domain.submissions import Tally, is_cancelled_as_whole
from enrollment.storage.audit import submissions
from schemas.outcomes import tally_outcomes

LeftRow = TypeVar("LeftRow")
RightRow = TypeVar("RightRow")
MergeKey = TypeVar("MergeKey", int, str)


class OutcomeChecks:
    """Checks the outcomes of all batches: those of files, then those of single requests."""

    def __init__(self, session: Session, report: Report) -> None:
        self._session = session
        self._report = report

    def check_files(self) -> None:
        """Checks each file with its batches."""
        files = ((file.submission, file) for file in submissions.iterate_files(self._session))
        batches = submissions.iterate_file_batches(self._session)
        for file, group in _merge_join(files, groupby(batches, attrgetter("submission"))):
            batches_of_file = iter(()) if group is None else group
            if file is not None:
                self._check_file(file, batches_of_file)
                continue
            first = next(batches_of_file)
            message = f"is of submission {first.submission}, which does not exist"
            self._report.add([first.violation(ViolationKind.OUTCOMES_HEAD_MISSING, message)])

    def _check_file(self, file: FileRecord, batches: Iterator[BatchRecord]) -> None:
        self._report.count("files", file.is_published)
        check = FileCheck(file)
        for batch in batches:
            outcomes = self._check_batch(
                batch,
                is_cancel_requested=file.is_cancel_requested,
                is_dry_run=bool(file.is_dry_run),
            )
            self._report.add(check.check_next(batch, outcomes))
        self._report.add(check.check_end())

    def check_singles(self) -> None:
        """Checks each batch of single requests with the submissions of these."""
        batches = submissions.iterate_singles_batches(self._session)
        singles = submissions.iterate_singles(self._session)
        joined = _merge_join(
            ((batch.id, batch) for batch in batches), ((one.batch_id, one) for one in singles)
        )
        for batch, owners in joined:
            if owners is not None:
                self._report.count("singles", owners.number)
            if batch is not None:
                self._report.add(check_singles(batch, owners))
                self._check_batch(batch, is_cancel_requested=False)
            elif owners is not None:
                message = f"{owners.number} singles refer to batch {owners.batch_id}"
                kind, about = (
                    ViolationKind.OUTCOMES_BATCH_MISSING,
                    ViolationSubject(owners.batch_id),
                )
                self._report.add([Violation(kind, f"{message}, which does not exist", about)])

    def _check_batch(
        self, batch: BatchRecord, *, is_cancel_requested: bool, is_dry_run: bool = False
    ) -> BatchOutcomes | None:
        self._report.count("batches")
        self._report.count("parked", batch.is_parked)
        self._report.count("requests", batch.requests)
        if not batch.is_completed:
            self._report.count("unanswered", batch.requests)
            return None
        outcomes = _decode_batch_outcomes(batch)
        self._report.add(
            check_batch(
                batch, outcomes, is_cancel_requested=is_cancel_requested, is_dry_run=is_dry_run
            )
        )
        return outcomes


def _decode_batch_outcomes(batch: BatchRecord) -> BatchOutcomes | None:
    """Returns the outcomes of a processed batch; None if they cannot be decoded."""
    if is_cancelled_as_whole(batch.outcomes):
        return BatchOutcomes((), Tally(counts={Code.CANCELLED: batch.requests}))
    outcomes = decode_or_none(batch.outcomes)
    return None if outcomes is None else BatchOutcomes(outcomes, tally_outcomes(outcomes))


def _merge_join(
    left: Iterator[tuple[MergeKey, LeftRow]], right: Iterator[tuple[MergeKey, RightRow]]
) -> Iterator[tuple[LeftRow | None, RightRow | None]]:
    """Yields the rows of two ordered streams by key (full outer join); None for a missing row."""
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            yield (one[1] if one else None), None
            one = next(left, None)
        elif one is None or other[0] < one[0]:
            yield None, other[1]
            other = next(right, None)
        else:
            yield one[1], other[1]
            one, other = next(left, None), next(right, None)
