"""An upload on its way to the database."""

from dataclasses import replace
from datetime import datetime
from typing import IO, Any, NamedTuple
from uuid import UUID

from enrollment.domain.codes import Kind, Lane
from enrollment.domain.submissions import Submission, SubmissionOptions
from enrollment.storage.queue.batches import BatchRef
from enrollment.storage.uploads import NewBulk
from intake_store.submitter import Submitter
from schemas.files.batch_draft import BatchDraft, FileInfo
from schemas.files.formats.detect import AUTO

#: Uploads with at most so many rows, in batches of at most so many bytes, are stored together with
#: single requests.
MAX_GROUPED_ROWS, MAX_GROUPED_BYTES = 50, 64_000


class Upload(NamedTuple):
    """A received file and its options."""

    file: IO[bytes]
    media_type: str
    gzip: bool
    caller: Submitter
    options: SubmissionOptions
    lane: Lane | None
    #: Monotonic seconds at which the first byte was read.
    first_byte: float
    request_id: str | None
    #: The Idempotency-Key.
    key: str | None
    #: A SHA-256 of the parts that identify the request, without the body.
    digest: Any
    #: The file format; `auto` for detection.
    format: str = AUTO
    #: Whether the file identifies the request, too; not where it was made from the database.
    is_file_in_digest: bool = True
    #: A stored submission with its rows, which are taken instead of those of the file.
    copied: Submission | None = None
    #: The context of its trace, if there is one.
    traceparent: str | None = None


class CompleteUpload(NamedTuple):
    """An upload whose batches are all in memory: one transaction stores and publishes it."""

    caller: Submitter
    options: SubmissionOptions
    lane: Lane
    file_info: FileInfo
    drafts: tuple[BatchDraft, ...]
    #: Monotonic seconds at which the first byte was read.
    first_byte: float
    request_id: str | None = None
    #: The Idempotency-Key.
    key: str | None = None
    #: SHA-256 of the parts that identify the request; empty without a key.
    fingerprint: bytes = b""
    #: The context of its trace, if there is one.
    traceparent: str | None = None

    @property
    def rows(self) -> int:
        """The number of requests."""
        return sum(draft.rows for draft in self.drafts)

    @property
    def is_small(self) -> bool:
        """Whether it is stored together with single requests."""
        return self.rows <= MAX_GROUPED_ROWS and self.payload_bytes <= MAX_GROUPED_BYTES

    @property
    def payload_bytes(self) -> int:
        """The size of the batches as they are stored."""
        return sum(len(draft.payload) for draft in self.drafts)


class StoredUpload(NamedTuple):
    """The submission of an upload; `is_replay` if an earlier upload used the same key."""

    submission_id: UUID
    is_replay: bool
    #: The submission as it was stored; None if it has to be read.
    submission: Submission | None = None


def traced_batch(batch: BatchRef, traceparent: str | None) -> BatchRef:
    """Returns the first batch of a submission, with the context of its trace if there is one."""
    return batch if traceparent is None else batch._replace(traceparents=(traceparent,))


def new_bulk(
    upload: Upload | CompleteUpload,
    file_info: FileInfo,
    lane: Lane,
    submission_id: UUID,
    received_at: datetime,
) -> NewBulk:
    """Returns the submission of an upload, without the number of its requests."""
    return NewBulk(
        id=submission_id,
        caller=upload.caller.name,
        caller_kind=upload.caller.kind,
        received_at=received_at,
        lane=lane,
        encoding=file_info.encoding,
        format=file_info.format,
        header=file_info.header,
        options=replace(upload.options, source=upload.options.source or file_info.source),
        request_id=upload.request_id,
        files=file_info.files,
        passed_over=file_info.passed_over,
        ignored_columns=file_info.ignored_columns,
        traceparent=upload.traceparent,
    )


def queued_submission(
    upload: CompleteUpload, submission_id: UUID, received_at: datetime
) -> Submission:
    """Returns the submission of a stored upload as callers see it before it is processed."""
    bulk = new_bulk(upload, upload.file_info, upload.lane, submission_id, received_at)
    return Submission(
        id=bulk.id,
        kind=Kind.BULK,
        caller=bulk.caller,
        caller_kind=bulk.caller_kind,
        received_at=bulk.received_at,
        total=upload.rows,
        lane=bulk.lane,
        encoding=bulk.encoding,
        format=bulk.format,
        header=bulk.header,
        files=bulk.files,
        passed_over=bulk.passed_over,
        ignored_columns=bulk.ignored_columns,
        options=bulk.options,
    )
