"""The changes that were forced by their requests (`force_enrollment`)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from enrollment.domain.events import RecordedEvent
from enrollment.domain.model import RIGHTS
from enrollment.domain.submissions import Submission
from enrollment.storage import submissions
from enrollment.storage.event_ids import batch_id_of
from enrollment.storage.tables import BatchRow
from schemas.encoding.compact import unpack
from schemas.files.raw_rows import decode_raw_rows, format_of_batch
from schemas.requests.single_payload import decode_singles

#: The member of a request that forces it.
_MEMBER = "force_enrollment"


def find_forced(session: Session, events: Sequence[RecordedEvent]) -> set[int]:
    """Returns the ids of the events whose requests were forced, and whose callers may force.

    Requests that are not stored any more count as not forced. Two statements, and those batches are
    decoded whose callers may force and whose rows speak of it.
    """
    by_batch: dict[int, list[RecordedEvent]] = {}
    for event in events:
        by_batch.setdefault(batch_id_of(event.id), []).append(event)
    query = select(BatchRow.id, BatchRow.submission_id, BatchRow.payload)
    rows = session.execute(query.where(BatchRow.id.in_(by_batch))).all()
    files = submissions.find_all(session, {row[1] for row in rows if row[1] is not None})
    forced: set[int] = set()
    for batch_id, submission_id, payload in rows:
        of_batch = by_batch[batch_id]
        if submission_id is None:
            forced.update(_forced_singles(payload, of_batch))
        elif submission_id in files:
            forced.update(_forced_rows(files[submission_id], payload, of_batch))
    return forced


def _forced_singles(payload: bytes, events: Iterable[RecordedEvent]) -> Iterator[int]:
    forced: set[UUID] = {
        single.submission_id
        for single in decode_singles(payload)
        if single.request.force and RIGHTS[single.caller_kind].force
    }
    return (event.id for event in events if event.submission_id in forced)


def _forced_rows(
    submission: Submission, payload: bytes, events: Iterable[RecordedEvent]
) -> Iterator[int]:
    if not RIGHTS[submission.caller_kind].force:
        return iter(())
    row_format = format_of_batch(submission, payload)
    header = (row_format.header or "").casefold()
    if _MEMBER not in header and _MEMBER.encode() not in unpack(payload):
        return iter(())
    lines = {row.line for row in decode_raw_rows(payload, row_format) if _is_forced(row.body)}
    return (event.id for event in events if event.line in lines)


def _is_forced(body: Mapping[str, object] | None) -> bool:
    return body is not None and body.get(_MEMBER) is True
