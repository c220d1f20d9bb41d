"""Stores uploaded files: splits them into batches and writes these in short transactions.

The last transaction publishes the submission. Until then workers do not see it; maintenance
purges the rows of interrupted uploads.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http import HTTPStatus
from itertools import islice
from typing import IO, Any, NamedTuple, TypeVar
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from api_gateway.auth.caller import Caller
from api_gateway.database import retry_on_conflict
from api_gateway.http.problems import Problem, too_large
from api_gateway.intake.dispatcher import Dispatcher
from api_gateway.intake.record_collector import RecordCollector
from api_gateway.intake.upload_split import (
    BatchGroups,
    default_lane,
    limits_for,
    open_drafts,
    update_digest,
)
from enrollment.domain.codes import Lane
from enrollment.domain.errors import Conflict, DatabaseUnavailable, KeyInFlight, KeyReused
from enrollment.domain.submissions import SubmissionOptions
from enrollment.runtime.failpoints import Point, fail_point
from enrollment.runtime.ids import uuid7
from enrollment.storage import idempotency, submissions
from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.idempotency import KeyUse
from enrollment.storage.queue import batches
from enrollment.storage.queue.batches import BatchRef, NewBatch, intake_number
from enrollment.storage.submissions import NewBulk
from schemas.files.batch_draft import BatchDraft, FileInfo, FileOptions
from schemas.files.formats.detect import AUTO
from schemas.files.source import FileTooLarge, Limits, SpooledSource, UnreadableFile

log = structlog.get_logger()

T = TypeVar("T")

#: Batches per transaction: transactions are short, so that single requests commit in between.
UPLOAD_BATCHES_PER_TRANSACTION = 8


class Upload(NamedTuple):
    """A received file and its options."""

    file: IO[bytes]
    media_type: str
    gzip: bool
    caller: Caller
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


class StoredUpload(NamedTuple):
    """The submission of an upload; `is_replay` if an earlier upload used the same key."""

    submission_id: UUID
    is_replay: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadStore:
    """Stores uploads of all routes that accept files or lists."""

    sessions: Sessions
    dispatcher: Dispatcher
    limits: Limits
    max_atomic_rows: int
    #: Threads for storing, not shared with single requests; None: those of the event loop.
    pool: ThreadPoolExecutor | None = None
    monotonic: Callable[[], float] = time.monotonic
    #: (caller, Idempotency-Key) of the uploads being received.
    in_flight: set[tuple[str, str]] = field(default_factory=set)

    @contextmanager
    def lock_key(self, caller: Caller, key: str | None) -> Iterator[None]:
        """Locks an Idempotency-Key during the block. Raises KeyInFlight if it is locked already."""
        if key is None:
            yield
            return
        owner = (caller.name, key)
        if owner in self.in_flight:
            raise KeyInFlight(key)
        self.in_flight.add(owner)
        try:
            yield
        finally:
            self.in_flight.discard(owner)

    async def store_in_pool(self, upload: Upload) -> StoredUpload:
        """Runs `store` in the pool.

        Raises Problem 400, 413, 422 for errors in the file; KeyReused, DatabaseUnavailable.
        """
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self.pool, self.store, upload)
        except FileTooLarge as error:
            raise too_large(str(error)) from error
        except UnreadableFile as error:
            is_malformed = error.is_malformed
            status = HTTPStatus.BAD_REQUEST if is_malformed else HTTPStatus.UNPROCESSABLE_ENTITY
            raise Problem(status, error.code, error.message, errors=[error.finding()]) from error

    def store(self, upload: Upload) -> StoredUpload:
        """Stores a file durably, completely or not at all. Blocks.

        Raises UnreadableFile, FileTooLarge for errors in the file, KeyReused, DatabaseUnavailable.
        """
        limits = limits_for(upload.options, self.limits, self.max_atomic_rows)
        chunks = SpooledSource(upload.file, limits, gzip=upload.gzip)
        given = upload.options
        options = FileOptions(upload.format, given.course_id, given.source, given.ignored_names)
        with open_drafts(
            upload.file,
            chunks,
            limits,
            options,
            media_type=upload.media_type,
            gzip=upload.gzip,
        ) as (file_info, drafts):
            return self._store(upload, file_info, drafts, chunks)

    def _store(
        self,
        upload: Upload,
        file_info: FileInfo,
        drafts: Iterator[BatchDraft],
        chunks: SpooledSource,
    ) -> StoredUpload:
        """Stores the drafts, unless the Idempotency-Key was used before."""
        first = list(islice(drafts, UPLOAD_BATCHES_PER_TRANSACTION))
        if upload.options.is_atomic and len(first) > 1:
            message = "an all-or-nothing file must fit in one batch: send fewer lines"
            raise FileTooLarge(message)
        lane = upload.lane or default_lane(first, upload.options)
        if upload.key is not None:
            update_digest(upload.digest, chunks, upload.media_type)
            earlier = self._find_earlier(upload)
            if earlier is not None:
                return earlier
        groups = BatchGroups(first, drafts, size=UPLOAD_BATCHES_PER_TRANSACTION)
        return self._write(upload, file_info, groups, lane)

    def _write(
        self, upload: Upload, file_info: FileInfo, groups: BatchGroups, lane: Lane
    ) -> StoredUpload:
        """Writes submission and batches, then publishes; discards them if that fails."""
        submission = self._insert_submission(upload, file_info, lane)
        records = RecordCollector(self.sessions, submission)
        try:
            total = self._insert_batches(
                submission.id, groups, records, lane=lane, alone=upload.options.must_run_alone
            )
            records.store()
            return self._publish(upload, submission.id, total)
        except BaseException:
            self._discard(submission.id)
            raise

    def _insert_submission(self, upload: Upload, file_info: FileInfo, lane: Lane) -> NewBulk:
        """Inserts the unpublished submission."""

        def insert(session: Session) -> NewBulk:
            session.connection()  # the time until there is a connection counts as waiting time
            waited_until = self.monotonic()
            now = database_now(session)
            bulk = NewBulk(
                id=uuid7(now),
                caller=upload.caller.name,
                caller_kind=upload.caller.kind,
                received_at=now - timedelta(seconds=max(0.0, waited_until - upload.first_byte)),
                lane=lane,
                encoding=file_info.encoding,
                format=file_info.format,
                header=file_info.header,
                options=replace(upload.options, source=upload.options.source or file_info.source),
                request_id=upload.request_id,
                files=file_info.files,
                ignored_columns=file_info.ignored_columns,
            )
            submissions.insert_bulk(session, bulk)
            return bulk

        return self._in_transaction(insert)

    def _insert_batches(
        self,
        submission_id: UUID,
        groups: BatchGroups,
        records: RecordCollector,
        *,
        lane: Lane,
        alone: bool,
    ) -> int:
        """Inserts the batches, one transaction per group; returns the number of rows."""
        ordinal, total = 0, 0
        for group in groups.groups():
            new = [NewBatch(draft.rows, draft.payload) for draft in group]

            def insert(session: Session, at: int = ordinal, new: list[NewBatch] = new) -> None:
                batches.insert_for_submission(
                    session, submission_id, at, new, lane=lane, alone=alone
                )

            self._in_transaction(insert)
            for place, draft in enumerate(group, ordinal):
                records.scan(place, draft.payload)
            ordinal += len(group)
            total += sum(draft.rows for draft in group)
        return total

    def _publish(self, upload: Upload, submission_id: UUID, total: int) -> StoredUpload:
        """Publishes the submission and dispatches its first batch.

        If its Idempotency-Key was used meanwhile, discards it and returns the earlier upload.
        """

        def publish(session: Session) -> BatchRef | None:
            now = database_now(session)
            if upload.key is not None:
                use = self._key_use(upload, submission_id)
                if not idempotency.claim(session, [use], now=now):
                    return None
            first = batches.mark_dispatched(session, submission_id, 0, now=now)
            if first is None:
                message = f"submission {submission_id} has no first batch"
                raise RuntimeError(message)
            intake = intake_number(first.id, 0)
            submissions.publish(session, submission_id, total=total, intake=intake, now=now)
            fail_point(Point.INTAKE_BEFORE_COMMIT)
            return first

        first = self._in_transaction(publish)
        if first is not None:
            fail_point(Point.INTAKE_COMMITTED)
            self.dispatcher.dispatch(first)
            return StoredUpload(submission_id, is_replay=False)
        self._discard(submission_id)
        earlier = self._find_earlier(upload)
        if earlier is None:
            message = "an Idempotency-Key was purged while it was looked up"
            raise DatabaseUnavailable(message)
        return earlier

    def _key_use(self, upload: Upload, submission_id: UUID) -> KeyUse:
        return KeyUse(upload.caller.name, upload.key or "", upload.digest.digest(), submission_id)

    def _find_earlier(self, upload: Upload) -> StoredUpload | None:
        """Returns the submission stored earlier under the same key. Raises KeyReused."""
        owner = (upload.caller.name, upload.key or "")
        with self.sessions.read() as session:
            use = idempotency.find(session, {owner}).get(owner)
            if use is None:
                return None
            if use.fingerprint != upload.digest.digest():
                is_submission = submissions.find(session, use.submission_id) is not None
                raise KeyReused(upload.key, use.submission_id if is_submission else None)
        return StoredUpload(use.submission_id, is_replay=True)

    def _in_transaction(self, work: Callable[[Session], T]) -> T:
        """Runs work in one transaction, which is retried after conflicts."""

        def transaction() -> T:
            with self.sessions.begin() as session:
                return work(session)

        return retry_on_conflict(transaction)

    def _discard(self, submission_id: UUID) -> None:
        """Deletes an unpublished submission; if that fails maintenance purges it later."""
        try:
            with self.sessions.begin() as session:
                submissions.delete_unpublished(session, submission_id)
        except (DatabaseUnavailable, Conflict) as error:
            log.warning("upload.left_behind", submission_id=str(submission_id), because=str(error))
