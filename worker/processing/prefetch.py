"""Prefetching: the next batches' rows are decoded while the database writes those before them.

Decoding is a pure function of what is stored about a batch and its submission, so the result is
right whichever worker processes the batch; if it is another one, the work was in vain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

import structlog
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy.orm import Session

from enrollment.domain.submissions import Submission
from enrollment.storage.queue import batches
from enrollment.storage.queue.claims import ClaimedBatch
from schemas.files.raw_rows import RowFormat, format_of_batch
from worker.processing.decode import DecodedBatch, decode_plain, is_native

log = structlog.get_logger()


class _Prefetched(NamedTuple):
    submission_id: UUID
    payload: bytes
    form: RowFormat
    decoded: DecodedBatch


class FetchedBatches(NamedTuple):
    """Stored batches of one file, to be decoded when there is time."""

    prefetcher: "Prefetcher"
    submission: Submission
    form: RowFormat
    #: Id and payload of each.
    payloads: Sequence[tuple[int, bytes]]

    def decode(self) -> None:
        """Decodes the batches for `Prefetcher.take`; drops what was decoded before and not taken.

        A batch that cannot be decoded fails again, and is counted, when it is its turn.
        """
        decoded = self.prefetcher.decoded
        decoded.clear()
        for number, payload in self.payloads:
            try:
                batch = decode_plain(number, payload, self.form, self.submission)
            except SoftTimeLimitExceeded:
                raise
            except Exception:
                log.exception("batch.not_read_ahead", batch_id=number)
            else:
                decoded[number] = _Prefetched(self.submission.id, payload, self.form, batch)


class NothingFetched(NamedTuple):
    """There is nothing to decode ahead."""

    def decode(self) -> None:
        """Does nothing."""


NOTHING_FETCHED = NothingFetched()


@dataclass(frozen=True, slots=True)
class Prefetcher:
    """Decoded batches of the file that one process works on, by id."""

    decoded: dict[int, _Prefetched] = field(default_factory=dict)

    def fetch_next(
        self, session: Session, claimed: Sequence[ClaimedBatch], by_id: Mapping[UUID, Submission]
    ) -> FetchedBatches | NothingFetched:
        """Fetches as many batches of a file as are processed now.

        Only of files with native columns and ids, several batches of which are processed at once.
        """
        last = claimed[-1]
        if len(claimed) == 1 or last.claims_lane or last.submission_id is None:
            return NOTHING_FETCHED
        submission = by_id[last.submission_id]
        if submission.files or not is_native(form := format_of_batch(submission, b"")):
            return NOTHING_FETCHED
        behind = batches.successor_payloads(session, submission.id, last.ordinal or 0, len(claimed))
        if not behind:
            return NOTHING_FETCHED
        return FetchedBatches(self, submission, form, behind)

    def take(self, batch: ClaimedBatch, form: RowFormat) -> DecodedBatch | None:
        """Returns the decoded batch, once, if it was prefetched exactly as it is stored."""
        found = self.decoded.pop(batch.id, None)
        if found is None or found[:3] != (batch.submission_id, batch.payload, form):
            return None
        return found.decoded
