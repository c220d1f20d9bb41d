"""Rows of the batches whose turn is next, read while the database writes those before them.

Reading is a pure function of what is stored, so what is read ahead is right whoever answers the
batch; where it was somebody else, it was read in vain.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import structlog
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy.orm import Session

from enrollment.domain.submissions import Submission
from enrollment.storage import batches
from enrollment.storage.claims import ClaimedBatch
from schemas.payloads import Row, decode_rows
from schemas.sent import Form, form_of

log = structlog.get_logger()


class _Kept(NamedTuple):
    payload: bytes
    form: Form
    rows: list[Row]


class ReadAhead:
    """What one process has read of the file that it works on."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, bytes]] = []
        self._form = Form("")
        self._kept: dict[int, _Kept] = {}

    def look(
        self, session: Session, claimed: Sequence[ClaimedBatch], heads: Mapping[UUID, Submission]
    ) -> None:
        """Fetch as many batches of a file as are answered now, to be read when there is time.

        Only of files with our own columns and ids, several batches of which are answered at once.
        What was fetched before and not read, since its transaction failed, is let go.
        """
        self._waiting = []
        last = claimed[-1]
        if len(claimed) == 1 or last.is_for_all or last.submission_id is None:
            return
        head = heads[last.submission_id]
        if head.files or not is_plain(form := form_of(head, b"")):
            return
        self._form = form
        self._waiting = batches.payloads_behind(session, head.id, last.ordinal or 0, len(claimed))

    def read(self) -> None:
        """Read what was fetched, if anything; what was read before and not asked for is let go."""
        if not self._waiting:
            return
        waiting, self._waiting, self._kept = self._waiting, [], {}
        for number, payload in waiting:
            try:
                rows = list(decode_rows(payload, self._form.encoding, self._form.header))
            except SoftTimeLimitExceeded:
                raise
            except Exception:  # it fails again, and is counted, when it is its turn
                log.exception("batch.not_read_ahead", batch_id=number)
            else:
                self._kept[number] = _Kept(payload, self._form, rows)

    def rows(self, batch: ClaimedBatch, form: Form) -> Iterator[Row] | None:
        """The rows of a batch, if they were read; once."""
        kept = self._kept.pop(batch.id, None)
        if kept is None or kept[:2] != (batch.payload, form):
            return None
        return iter(kept.rows)


def is_plain(form: Form) -> bool:
    """Whether rows of a form are in our own columns and name our own ids."""
    return form.is_ours and form.source is None
