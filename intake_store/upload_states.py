"""The states of the records of an uploaded file whose batches are in memory."""

from collections.abc import Sequence

from enrollment.domain.codes import Kind
from enrollment.domain.submissions import Submission
from enrollment.storage.queue.record_states import BatchRecordStates
from enrollment.storage.uploads import NewBulk
from schemas.files.record_states import (
    encode_states,
    may_end_records,
    may_have_records,
    states_of_batch,
)


def states_of_upload(bulk: NewBulk, payloads: Sequence[bytes]) -> list[BatchRecordStates]:
    """Returns the states of the records of a file that is in memory; none if it ends no record."""
    submission = submission_of_new(bulk)
    if not may_have_records(submission):
        return []
    if not any(may_end_records(submission, payload) for payload in payloads):
        return []
    states = [states_of_batch(submission, payload) for payload in payloads]
    if all(is_kept for one in states for is_kept in one.values()):
        return []
    return [BatchRecordStates(n, encode_states(one)) for n, one in enumerate(states) if one]


def submission_of_new(bulk: NewBulk) -> Submission:
    """Returns the submission as a worker will read it, as far as its rows depend on it."""
    return Submission(
        id=bulk.id,
        kind=Kind.BULK,
        caller=bulk.caller,
        caller_kind=bulk.caller_kind,
        received_at=bulk.received_at,
        total=0,
        lane=bulk.lane,
        encoding=bulk.encoding,
        format=bulk.format,
        header=bulk.header,
        files=bulk.files,
        options=bulk.options,
    )
