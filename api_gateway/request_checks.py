"""Verifying what became of requests: files and singles, batch by batch."""

from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import TypeVar

from sqlalchemy.orm import Session

from api_gateway.reports import Progress, Report
from api_gateway.timelines import UNREADABLE
from enrollment.domain import accounts as rules
from enrollment.domain.accounts import Account, File, KeptBatch, KeptFile
from enrollment.domain.auditing import Fault, Violation
from enrollment.domain.submissions import is_cancelled_as_whole
from enrollment.storage import accounts
from schemas.outcomes import decode_outcomes, tally_outcomes

A = TypeVar("A")
B = TypeVar("B")
K = TypeVar("K", int, str)


class Requests:
    """Batches with their outcomes, file by file, then those of singles."""

    def __init__(self, session: Session, report: Report, progress: Progress) -> None:
        self._session = session
        self._report = report
        self._progress = progress

    def check_files(self) -> None:
        """Every file: its head beside its batches."""
        heads = ((head.submission, head) for head in accounts.files(self._session))
        batches = groupby(accounts.batches_of_files(self._session), attrgetter("submission"))
        for head, group in _beside(heads, batches):
            batches_of_it = iter(()) if group is None else group
            if head is not None:
                self._check_file(head, batches_of_it)
                continue
            first = next(batches_of_it)
            says = f"{first.submission} has batches, and is not there"
            self._report.add([Violation(Fault.OUTCOMES_HEAD_MISSING, says, first.about())])

    def _check_file(self, head: KeptFile, batches: Iterator[KeptBatch]) -> None:
        self._report.checked["files"] += head.is_published
        file = File(head)
        for batch in batches:
            account = self._check_batch(
                batch, cancel_asked=head.cancel_asked, is_dry_run=bool(head.is_dry_run)
            )
            self._report.add(file.add(batch, account))
        self._report.add(file.end())

    def check_singles(self) -> None:
        """Every batch of singles beside the submissions in it."""
        pages = accounts.batches_of_singles(self._session)
        batches = ((batch.id, batch) for page in pages for batch in page)
        singles = ((one.batch_id, one) for one in accounts.singles(self._session))
        for batch, its_singles in _beside(batches, singles):
            if its_singles is not None:
                self._report.checked["singles"] += its_singles.number
                if batch is None:
                    self._report.add([rules.fault_of_lost_batch(its_singles)])
            if batch is not None:
                self._report.add(rules.faults_of_singles(batch, its_singles))
                self._check_batch(batch, cancel_asked=False)

    def _check_batch(
        self, batch: KeptBatch, *, cancel_asked: bool, is_dry_run: bool = False
    ) -> Account | None:
        checked = self._report.checked
        checked["batches"] += 1
        checked["parked"] += batch.is_parked
        checked["requests"] += batch.requests
        self._progress.add(batch.requests)
        if not batch.is_answered:
            checked["unanswered"] += batch.requests
            return None
        account = _account(batch)
        self._report.add(
            rules.faults_of_batch(batch, account, cancel_asked=cancel_asked, is_dry_run=is_dry_run)
        )
        return account


def _account(batch: KeptBatch) -> Account | None:
    """The outcomes of an answered batch; None where they cannot be read."""
    if is_cancelled_as_whole(batch.outcomes):
        return rules.cancelled(batch.requests)
    try:
        outcomes = decode_outcomes(batch.outcomes or b"")
    except UNREADABLE:
        return None
    return Account(outcomes, tally_outcomes(outcomes))


def _beside(
    left: Iterator[tuple[K, A]], right: Iterator[tuple[K, B]]
) -> Iterator[tuple[A | None, B | None]]:
    """What two ordered streams have under the same key; None where one of them has nothing."""
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
