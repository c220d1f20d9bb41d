"""Logs `submission.received` for each file or list that was stored."""

import structlog

from api_gateway.http.observation.access_log import public_name
from enrollment.domain.submissions import Submission
from enrollment.storage.uploads import NewBulk
from intake_store.group_store import Receipt
from intake_store.upload import CompleteUpload, StoredUpload, Upload, queued_submission

log = structlog.get_logger()


def log_received(bulk: NewBulk | Submission, upload: Upload | CompleteUpload, rows: int) -> None:
    """Logs that a submission was stored; single requests have their `request.done` only."""
    log.info(
        "submission.received",
        submission_id=str(bulk.id),
        rows=rows,
        format=bulk.format,
        lane=bulk.lane.value,
        caller=public_name(upload.caller),
        request_id=upload.request_id,
    )


def describe_stored(upload: CompleteUpload, receipt: Receipt) -> StoredUpload:
    """Returns the submission of an upload that one transaction stored, and logs a new one."""
    id_ = receipt.submission_id
    if receipt.batch_id is None:
        return StoredUpload(id_, is_replay=True)
    submission = queued_submission(upload, id_, receipt.received_at)
    log_received(submission, upload, submission.total)
    return StoredUpload(id_, is_replay=False, submission=submission)
