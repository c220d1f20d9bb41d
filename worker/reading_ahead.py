"""Rows of the batches whose turn is next, read while the database writes those before them.

What rows say is a pure function of what is stored of the batch and its submission, so what is read
ahead is right whoever answers the batch; where it was somebody else, it was read in vain.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import structlog
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy.orm import Session

from enrollment.domain.submissions import Submission
from enrollment.storage import batches
from enrollment.storage.claims import ClaimedBatch
from schemas.raw_rows import RowFormat, format_of_batch
from worker.reading import Read, is_plain, read_plain

log = structlog.get_logger()


class _Kept(NamedTuple):
    submission_id: UUID
    payload: bytes
    form: RowFormat
    read: Read


class ReadAhead:
    """What one process has read of the file that it works on."""

    def __init__(self) -> None:
        #: Of one file: its head, its form, and id and payload of batches.
        self._waiting: tuple[Submission, RowFormat, list[tuple[int, bytes]]] | None = None
        self._kept: dict[int, _Kept] = {}

    def look(
        self, session: Session, claimed: Sequence[ClaimedBatch], heads: Mapping[UUID, Submission]
    ) -> None:
        """Fetch as many batches of a file as are answered now, to be read when there is time.

        Only of files with our own columns and ids, several batches of which are answered at once.
        What was fetched before and not read, since its transaction failed, is let go.
        """
        self._waiting = None
        last = claimed[-1]
        if len(claimed) == 1 or last.is_for_all or last.submission_id is None:
            return
        head = heads[last.submission_id]
        if head.files or not is_plain(form := format_of_batch(head, b"")):
            return
        behind = batches.payloads_behind(session, head.id, last.ordinal or 0, len(claimed))
        self._waiting = (head, form, behind) if behind else None

    def read(self) -> None:
        """Read what was fetched, if anything; what was read before and not asked for is let go."""
        if self._waiting is None:
            return
        (head, form, behind), self._waiting, self._kept = self._waiting, None, {}
        for number, payload in behind:
            try:
                read = read_plain(number, payload, form, head)
            except SoftTimeLimitExceeded:
                raise
            except Exception:  # it fails again, and is counted, when it is its turn
                log.exception("batch.not_read_ahead", batch_id=number)
            else:
                self._kept[number] = _Kept(head.id, payload, form, read)

    def known(self, batch: ClaimedBatch, form: RowFormat) -> Read | None:
        """What a batch holds, if it was read; once.

        What its submission says about it stands since before it could be read.
        """
        kept = self._kept.pop(batch.id, None)
        if kept is None or kept[:3] != (batch.submission_id, batch.payload, form):
            return None
        return kept.read
