"""Rows of the batches whose turn is next, read while the database writes those before them.

Reading is a pure function of what is stored, so what is read ahead is right whoever answers the
batch; where it was somebody else, it was read in vain.
"""

from collections.abc import Iterator
from typing import NamedTuple

import structlog
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
        self._waiting: list[tuple[int, bytes, Form]] = []
        self._kept: dict[int, _Kept] = {}

    def look(self, session: Session, last: ClaimedBatch, head: Submission, number: int) -> None:
        """Fetch the batches behind one, up to a number of them, to be read when there is time."""
        found = batches.payloads_behind(session, head.id, last.ordinal or 0, number)
        forms = [(number, payload, form_of(head, payload)) for number, payload in found]
        self._waiting = [each for each in forms if is_plain(each[2])]

    def read(self) -> None:
        """Read what was fetched; what was read before and not asked for is let go."""
        waiting, self._waiting, self._kept = self._waiting, [], {}
        for number, payload, form in waiting:
            try:
                rows = list(decode_rows(payload, form.encoding, form.header))
            except Exception:  # it fails again, and is counted, when it is its turn
                log.exception("batch.not_read_ahead", batch_id=number)
            else:
                self._kept[number] = _Kept(payload, form, rows)

    def rows(self, batch: ClaimedBatch, form: Form) -> Iterator[Row] | None:
        """The rows of a batch, if they were read; once."""
        kept = self._kept.pop(batch.id, None)
        if kept is None or kept[:2] != (batch.payload, form):
            return None
        return iter(kept.rows)


def is_plain(form: Form) -> bool:
    """Whether rows of a form are in our own columns and name our own ids."""
    return form.is_ours and form.source is None
