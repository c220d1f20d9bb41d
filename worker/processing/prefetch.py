"""Prefetches batches: decodes the next ones while the database writes those before them.

Decoding is a pure function of the stored batch and its submission, so the result stays valid. It
is wasted where another worker processes the batch. On SQLite, which has one writer and does not
write by itself, batches are decoded before the transaction that claims them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

import structlog
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy.orm import Session

from enrollment.domain.submissions import Submission
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.queue import batches
from enrollment.storage.queue.claims import ClaimedBatch
from schemas.files.raw_rows import RowFormat, format_of_batch
from worker.processing.decode import DecodedBatch, decode_native, is_native

log = structlog.get_logger()


class _Prefetched(NamedTuple):
    submission_id: UUID
    payload: bytes
    row_format: RowFormat
    decoded: DecodedBatch


class FetchedBatches(NamedTuple):
    """Stored batches of one file, to be decoded while the database works."""

    prefetcher: "Prefetcher"
    submission: Submission
    row_format: RowFormat
    #: Id and payload of each.
    payloads: Sequence[tuple[int, bytes]]

    def decode(self) -> None:
        """Decodes the batches for `Prefetcher.take`; drops those decoded before and not taken.

        A batch that cannot be decoded fails again, and is counted, when it is processed.
        """
        self.prefetcher.decoded.clear()
        for number, payload in self.payloads:
            self.prefetcher.decode(number, payload, self.row_format, self.submission)


class NothingFetched(NamedTuple):
    """Null object: there is no batch to prefetch."""

    def decode(self) -> None:
        """Does nothing."""


NOTHING_FETCHED = NothingFetched()


@dataclass(frozen=True, slots=True)
class Prefetcher:
    """Decoded batches of the file that one process works on, by batch id."""

    decoded: dict[int, _Prefetched] = field(default_factory=dict)

    def fetch_next(
        self, session: Session, claimed: Sequence[ClaimedBatch], by_id: Mapping[UUID, Submission]
    ) -> FetchedBatches | NothingFetched:
        """Fetches as many of the next batches of a file as are processed now.

        Only for a file with native columns and ids of which several batches are processed at once.
        """
        last = claimed[-1]
        if not is_postgresql(session):
            return NOTHING_FETCHED
        if len(claimed) == 1 or last.claims_lane or last.submission_id is None:
            return NOTHING_FETCHED
        submission = by_id[last.submission_id]
        if submission.files or not is_native(row_format := format_of_batch(submission, b"")):
            return NOTHING_FETCHED
        payloads = batches.successor_payloads(
            session, submission.id, last.ordinal or 0, len(claimed)
        )
        if not payloads:
            return NOTHING_FETCHED
        return FetchedBatches(self, submission, row_format, payloads)

    def decode_ahead(self, due: Sequence[ClaimedBatch], by_id: Mapping[UUID, Submission]) -> None:
        """Decodes batches of a file that are due, with native columns and ids.

        Drops those decoded before and not taken.
        """
        self.decoded.clear()
        for batch in due:
            submission = None if batch.submission_id is None else by_id.get(batch.submission_id)
            if submission is None or batch.failure_search is not None:
                continue
            row_format = format_of_batch(submission, batch.payload)
            if is_native(row_format):
                self.decode(batch.id, batch.payload, row_format, submission)

    def decode(
        self, number: int, payload: bytes, row_format: RowFormat, submission: Submission
    ) -> None:
        """Decodes a batch for `take`; logs an error, which it raises again when it is processed."""
        try:
            batch = decode_native(number, payload, row_format, submission)
        except SoftTimeLimitExceeded:
            raise
        except Exception:
            log.exception("batch.not_read_ahead", batch_id=number)
        else:
            self.decoded[number] = _Prefetched(submission.id, payload, row_format, batch)

    def take(self, batch: ClaimedBatch, row_format: RowFormat) -> DecodedBatch | None:
        """Returns a prefetched batch, once, if it is still stored with that payload and format."""
        found = self.decoded.pop(batch.id, None)
        if found is None or found[:3] != (batch.submission_id, batch.payload, row_format):
            return None
        return found.decoded
