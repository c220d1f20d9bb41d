"""The rows of a stored submission as a new upload: a plan is carried out as it was shown.

Its batches are read again, a few at a time, so that memory use does not depend on their number.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice

from api_gateway.intake.upload_split import SplitUpload, default_lane
from enrollment.domain.errors import SubmissionNotFound
from enrollment.domain.submissions import Submission
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.queue import batches
from intake_store.upload import Upload
from schemas.files.batch_draft import BatchDraft, FileInfo
from schemas.files.formats.detect import NATIVE
from schemas.files.row_payload import CSV_ROWS, first_line_of

#: Batches per transaction: transactions are short, so that single requests commit in between.
_BATCHES_PER_TRANSACTION = 8


@contextmanager
def split_copy(
    upload: Upload, copied: Submission, sessions: Sessions, group_size: int
) -> Iterator[SplitUpload]:
    """Yields the split upload; its batches are read during the block.

    Raises SubmissionNotFound if the batches of the submission were purged.
    """
    drafts = _read_drafts(copied, sessions)
    first = list(islice(drafts, group_size))
    if not first:
        raise SubmissionNotFound(str(copied.id))
    following = next(drafts, None)
    yield SplitUpload(
        FileInfo(
            copied.encoding or CSV_ROWS,
            copied.header,
            copied.format or NATIVE,
            copied.files,
            copied.passed_over,
        ),
        upload.lane or default_lane(first, upload.options),
        upload.digest.digest(),
        first,
        None if following is None else chain([following], drafts),
    )


def _read_drafts(copied: Submission, sessions: Sessions) -> Iterator[BatchDraft]:
    ordinal = 0
    while True:
        with sessions.read() as session:
            found = batches.list_results(
                session, copied.id, from_ordinal=ordinal, limit=_BATCHES_PER_TRANSACTION
            )
        if not found:
            return
        for batch in found:
            yield BatchDraft(first_line_of(batch.payload), batch.requests, batch.payload)
        ordinal = found[-1].ordinal + 1
