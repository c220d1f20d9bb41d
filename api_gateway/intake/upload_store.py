"""Stores uploaded files: splits them into batches and writes these in short transactions.

The last transaction publishes the submission. Until then workers do not see it; maintenance
purges the rows of interrupted uploads.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from api_gateway.auth.caller import Caller
from api_gateway.database import retry_on_conflict
from api_gateway.intake.dispatcher import Dispatcher
from api_gateway.intake.file_problems import file_problems
from api_gateway.intake.group_commit import GroupCommitter
from api_gateway.intake.intake_traces import store_traced
from api_gateway.intake.received_record import describe_stored, log_received
from api_gateway.intake.record_collector import RecordCollector
from api_gateway.intake.upload_copy import split_copy
from api_gateway.intake.upload_split import BatchGroups, SplitUpload, split_upload
from enrollment.domain.codes import Lane
from enrollment.domain.errors import (
    Conflict,
    DatabaseUnavailable,
    EnrollmentError,
    KeyInFlight,
    KeyReused,
)
from enrollment.runtime.failpoints import Point, fail_point
from enrollment.runtime.ids import uuid7
from enrollment.storage import idempotency, submissions, uploads
from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.idempotency import KeyUse
from enrollment.storage.queue import batches
from enrollment.storage.queue.batches import BatchRef, NewBatch, intake_number
from enrollment.storage.uploads import NewBulk
from intake_store.group_store import store_group
from intake_store.upload import (
    CompleteUpload,
    StoredUpload,
    Upload,
    new_bulk,
    traced_batch,
)
from schemas.files.batch_draft import BatchDraft
from schemas.files.source import Limits
from schemas.files.splitter import ZIP, format_of

log = structlog.get_logger()

A = TypeVar("A")
T = TypeVar("T")

#: Batches per transaction: transactions are short, so that single requests commit in between.
UPLOAD_BATCHES_PER_TRANSACTION = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadStore:
    """Stores uploads of all routes that accept files or lists."""

    sessions: Sessions
    dispatcher: Dispatcher
    limits: Limits
    max_atomic_rows: int
    #: Stores small uploads; None: each is stored by a transaction of its own.
    group_commit: GroupCommitter | None = None
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

    async def store_upload(self, upload: Upload, *, is_in_memory: bool = False) -> StoredUpload:
        """Stores an upload durably: a small one with the next group commit, others in the pool.

        With `is_in_memory` a short file is split at once, without a thread. Raises Problem 400,
        413, 422 for errors in the file; KeyReused, DatabaseUnavailable, Overloaded.
        """
        return await store_traced(upload, partial(self._store_upload, is_in_memory=is_in_memory))

    async def _store_upload(self, upload: Upload, *, is_in_memory: bool) -> StoredUpload:
        made: CompleteUpload | StoredUpload | None = None
        with file_problems():
            if is_in_memory and format_of(upload.media_type) != ZIP:
                made = self._split_completely(upload)
            if made is None:
                made = await self._in_pool(self._complete_or_store, upload)
        if isinstance(made, StoredUpload):
            return made
        if self.group_commit is None or not made.is_small:
            return await self._in_pool(self._store_complete, made)
        return describe_stored(made, await self.group_commit.accept(made))

    async def _in_pool(self, work: Callable[[A], T], argument: A) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.pool, work, argument)

    def store(self, upload: Upload) -> StoredUpload:
        """Stores a file durably, completely or not at all. Blocks.

        Raises UnreadableFile, FileTooLarge for errors in the file, KeyReused, DatabaseUnavailable.
        """
        made = self._complete_or_store(upload)
        return made if isinstance(made, StoredUpload) else self._store_complete(made)

    def _split(self, upload: Upload) -> AbstractContextManager[SplitUpload]:
        if upload.copied is not None:
            return split_copy(upload, upload.copied, self.sessions, UPLOAD_BATCHES_PER_TRANSACTION)
        return split_upload(
            upload,
            self.limits,
            max_atomic_rows=self.max_atomic_rows,
            group_size=UPLOAD_BATCHES_PER_TRANSACTION,
        )

    def _split_completely(self, upload: Upload) -> CompleteUpload | None:
        """Returns the upload with all its batches; None if one transaction cannot store them."""
        with self._split(upload) as split:
            return split.complete(upload) if split.rest is None else None

    def _complete_or_store(self, upload: Upload) -> CompleteUpload | StoredUpload:
        """Returns the upload with all its batches if one transaction can store them; or stores it.

        A long upload is not stored if its Idempotency-Key was used before.
        """
        with self._split(upload) as split:
            if split.rest is None:
                return split.complete(upload)
            earlier = None if upload.key is None else self._find_earlier(upload, split.fingerprint)
            return earlier or self._write(upload, split, split.rest)

    def _store_complete(self, upload: CompleteUpload) -> StoredUpload:
        """Stores and publishes an upload in one transaction, and dispatches its first batch."""
        stored = retry_on_conflict(lambda: store_group(self.sessions, [upload], self.monotonic))
        for batch in stored.dispatch:
            self.dispatcher.dispatch(batch)
        (result,) = stored.results
        if isinstance(result, EnrollmentError):
            raise result
        return describe_stored(upload, result)

    def _write(
        self, upload: Upload, split: SplitUpload, rest: Iterator[BatchDraft]
    ) -> StoredUpload:
        """Writes submission and batches, then publishes; discards them if that fails."""
        bulk = self._insert_submission(upload, split)
        records = RecordCollector(self.sessions, bulk)
        groups = BatchGroups(
            split.file_info, split.first, rest, size=UPLOAD_BATCHES_PER_TRANSACTION
        )
        try:
            total = self._insert_batches(
                bulk.id, groups, records, lane=split.lane, alone=_must_run_alone(upload, split)
            )
            records.store()
            files = groups.encoded_files()
            stored = self._publish(upload, bulk.id, total, split.fingerprint, files)
        except BaseException:
            self._discard(bulk.id)
            raise
        if not stored.is_replay:
            log_received(bulk, upload, total)
        return stored

    def _insert_submission(self, upload: Upload, split: SplitUpload) -> NewBulk:
        """Inserts the unpublished submission."""

        def insert(session: Session) -> NewBulk:
            session.connection()  # the time until there is a connection counts as waiting time
            waited_until = self.monotonic()
            now = database_now(session)
            received_at = now - timedelta(seconds=max(0.0, waited_until - upload.first_byte))
            bulk = new_bulk(upload, split.file_info, split.lane, uuid7(now), received_at)
            uploads.insert_bulks(session, [bulk])
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

    def _publish(
        self, upload: Upload, submission_id: UUID, total: int, fingerprint: bytes, files: Any
    ) -> StoredUpload:
        """Publishes the submission and dispatches its first batch.

        If its Idempotency-Key was used meanwhile, discards it and returns the earlier upload.
        """

        def publish(session: Session) -> BatchRef | None:
            now = database_now(session)
            if upload.key is not None:
                use = KeyUse(upload.caller.name, upload.key, fingerprint, submission_id)
                if not idempotency.claim(session, [use], now=now):
                    return None
            first = batches.mark_dispatched(session, submission_id, 0, now=now)
            if first is None:
                message = f"submission {submission_id} has no first batch"
                raise RuntimeError(message)
            intake = intake_number(first.id, 0)
            uploads.publish(
                session, submission_id, total=total, intake=intake, files=files, now=now
            )
            fail_point(Point.INTAKE_BEFORE_COMMIT)
            return first

        first = self._in_transaction(publish)
        if first is not None:
            fail_point(Point.INTAKE_COMMITTED)
            self.dispatcher.dispatch(traced_batch(first, upload.traceparent))
            return StoredUpload(submission_id, is_replay=False)
        self._discard(submission_id)
        earlier = self._find_earlier(upload, fingerprint)
        if earlier is None:
            message = "an Idempotency-Key was purged while it was looked up"
            raise DatabaseUnavailable(message)
        return earlier

    def _find_earlier(self, upload: Upload, fingerprint: bytes) -> StoredUpload | None:
        """Returns the submission stored earlier under the same key. Raises KeyReused."""
        owner = (upload.caller.name, upload.key or "")
        with self.sessions.read() as session:
            use = idempotency.find(session, {owner}).get(owner)
            if use is None:
                return None
            if use.fingerprint != fingerprint:
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
                uploads.delete_unpublished(session, submission_id)
        except (DatabaseUnavailable, Conflict) as error:
            log.warning("upload.left_behind", submission_id=str(submission_id), because=str(error))


def _must_run_alone(upload: Upload, split: SplitUpload) -> bool:
    """Returns whether its batches are claimed one by one: single requests must not wait for it."""
    return upload.options.must_run_alone or split.lane is Lane.INTERACTIVE
