"""Intake of files: spooled, cut into batches, stored in short transactions, published last.

Until then workers see nothing; what broke off is swept.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from typing import IO, Any, NamedTuple, TypeVar
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from api_gateway.callers import Caller
from api_gateway.records import done_again
from api_gateway.ringing import Ringer
from enrollment.domain.codes import Lane
from enrollment.domain.errors import Conflict, KeyReused, RecordsUnavailable
from enrollment.domain.submissions import Options
from enrollment.failpoints import Point, reached
from enrollment.ids import uuid7
from enrollment.storage import batches, idempotency, submissions
from enrollment.storage.batches import NewBatch, Waiting, intake_number
from enrollment.storage.idempotency import KeyUse
from enrollment.storage.sessions import Sessions, clock
from enrollment.storage.submissions import NewBulk
from schemas.batch_draft import BatchDraft, FileInfo, FileOptions
from schemas.foreign.detect import AUTO
from schemas.source import FileTooLarge, Limits, SpooledSource
from schemas.splitter import ZIP, format_of, split
from schemas.zip_splitter import split_archive

log = structlog.get_logger()

T = TypeVar("T")

#: Bytes of a file that is all or nothing: it is one batch.
MAX_ATOMIC_BYTES = 64_000_000
#: Batches that one transaction stores: short, so that singles get in between.
BATCHES_A_TRANSACTION = 8
#: Files with more rows wait in the bulk lane unless asked otherwise.
SMALL_ROWS = 50


class Upload(NamedTuple):
    """A file that has come in whole, and what its caller wants of it."""

    file: IO[bytes]
    media_type: str
    gzip: bool
    caller: Caller
    options: Options
    lane: Lane | None
    #: Monotonic seconds at which its first byte was read.
    first_byte: float
    request_id: str | None
    key: str | None
    #: A SHA-256 fed with all but the body that makes the request the same.
    digest: Any
    #: What it is said to be; ``auto`` leaves it to be found out.
    format: str = AUTO


class Published(NamedTuple):
    """What became of a file: its submission, or the one that its key stands for."""

    submission_id: UUID
    is_replay: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploads:
    """Stores files. Blocking: its callers run it in a pool of their own."""

    sessions: Sessions
    ringer: Ringer
    limits: Limits
    max_atomic_rows: int
    monotonic: Callable[[], float] = time.monotonic

    def store(self, upload: Upload) -> Published:
        """Keep a file durably, whole or not at all.

        Raises UnreadableFile, FileTooLarge for what is wrong with the file, KeyReused, and
        RecordsUnavailable.
        """
        limits = self._limits(upload.options)
        chunks = SpooledSource(upload.file, limits, gzip=upload.gzip)
        with _cut(upload, chunks, limits) as (head, drafts):
            return self._store(upload, head, drafts, chunks)

    def _store(
        self, upload: Upload, head: FileInfo, drafts: Iterator[BatchDraft], chunks: SpooledSource
    ) -> Published:
        first = list(islice(drafts, BATCHES_A_TRANSACTION))
        if upload.options.is_atomic and len(first) > 1:
            message = "a file that is all or nothing must fit in one batch: send fewer lines"
            raise FileTooLarge(message)
        lane = upload.lane or _default_lane(first, upload.options)
        if upload.key is not None:
            for chunk in chunks:
                upload.digest.update(chunk)
            replayed = self._replayed(upload)
            if replayed is not None:
                return replayed
        alone = upload.options.is_alone
        return self._write(upload, head, _Drafts(first, drafts), lane=lane, alone=alone)

    def _limits(self, options: Options) -> Limits:
        if not options.is_atomic:
            return self.limits
        rows = self.max_atomic_rows
        return self.limits._replace(
            max_rows=rows,
            batch_rows=rows,
            max_bytes=MAX_ATOMIC_BYTES,
            batch_bytes=2 * MAX_ATOMIC_BYTES,
        )

    def _write(
        self, upload: Upload, head: FileInfo, drafts: "_Drafts", *, lane: Lane, alone: bool
    ) -> Published:
        submission_id = self._open(upload, head, lane)
        try:
            total = self._store_all(submission_id, drafts, lane=lane, alone=alone)
            return self._publish(upload, submission_id, total)
        except BaseException:
            self._discard(submission_id)
            raise

    def _open(self, upload: Upload, head: FileInfo, lane: Lane) -> UUID:
        def opened(session: Session) -> UUID:
            session.connection()  # what it takes to get one is time waited too
            waited_until = self.monotonic()
            now = clock(session)
            bulk = NewBulk(
                uuid7(now),
                upload.caller.name,
                upload.caller.kind,
                now - timedelta(seconds=max(0.0, waited_until - upload.first_byte)),
                lane,
                head.encoding,
                head.format,
                head.header,
                replace(upload.options, source=upload.options.source or head.source),
                upload.request_id,
                head.files,
            )
            submissions.open_bulk(session, bulk)
            return bulk.id

        return self._begin(opened)

    def _store_all(self, submission_id: UUID, drafts: "_Drafts", *, lane: Lane, alone: bool) -> int:
        """Store the batches a few at a time; the rows of all."""
        ordinal, total = 0, 0
        for some in drafts.groups():
            news = [NewBatch(draft.rows, draft.payload) for draft in some]

            def stored(session: Session, at: int = ordinal, new: list[NewBatch] = news) -> None:
                batches.insert_for_submission(
                    session, submission_id, at, new, lane=lane, alone=alone
                )

            self._begin(stored)
            ordinal += len(some)
            total += sum(draft.rows for draft in some)
        return total

    def _publish(self, upload: Upload, submission_id: UUID, total: int) -> Published:
        def published(session: Session) -> Waiting | None:
            now = clock(session)
            if upload.key is not None:
                use = self._use(upload, submission_id)
                if not idempotency.claim(session, [use], now=now):
                    return None
            first = batches.announce_next(session, submission_id, 0, now=now)
            if first is None:
                message = f"submission {submission_id} has no batch to begin with"
                raise RuntimeError(message)
            intake = intake_number(first.id, 0)
            submissions.publish(session, submission_id, total=total, intake=intake, now=now)
            reached(Point.INTAKE_BEFORE_COMMIT)
            return first

        first = self._begin(published)
        if first is not None:
            reached(Point.INTAKE_COMMITTED)
            self.ringer.ring(first)
            return Published(submission_id, is_replay=False)
        self._discard(submission_id)
        replayed = self._replayed(upload)
        if replayed is None:
            message = "an Idempotency-Key vanished while it was looked at"
            raise RecordsUnavailable(message)
        return replayed

    def _use(self, upload: Upload, submission_id: UUID) -> KeyUse:
        return KeyUse(upload.caller.name, upload.key or "", upload.digest.digest(), submission_id)

    def _replayed(self, upload: Upload) -> Published | None:
        used = (upload.caller.name, upload.key or "")
        with self.sessions.read() as session:
            use = idempotency.find(session, {used}).get(used)
        if use is None:
            return None
        if use.fingerprint != upload.digest.digest():
            raise KeyReused(upload.key)
        return Published(use.submission_id, is_replay=True)

    def _begin(self, work: Callable[[Session], T]) -> T:
        def once() -> T:
            with self.sessions.begin() as session:
                return work(session)

        return done_again(once)

    def _discard(self, submission_id: UUID) -> None:
        """What is not published goes; where that fails the tidying does it later."""
        try:
            with self.sessions.begin() as session:
                submissions.discard(session, submission_id)
        except (RecordsUnavailable, Conflict) as error:
            log.warning("upload.left_behind", submission_id=str(submission_id), because=str(error))


@contextmanager
def _cut(
    upload: Upload, chunks: SpooledSource, limits: Limits
) -> Iterator[tuple[FileInfo, Iterator[BatchDraft]]]:
    """The upload in batches; what it takes to cut it goes with the block."""
    options = FileOptions(upload.format, upload.options.course_id, upload.options.source)
    if format_of(upload.media_type) != ZIP:
        yield split(chunks, media_type=upload.media_type, limits=limits, options=options)
    elif not upload.gzip:
        yield split_archive(upload.file, limits, options)
    else:  # an archive is not read from its beginning to its end
        with tempfile.TemporaryFile(prefix="enroll-unpacked-") as unpacked:
            try:
                unpacked.writelines(chunks)
                unpacked.flush()
            except OSError as error:
                message = "there is no room to unpack an upload"
                raise RecordsUnavailable(message) from error
            yield split_archive(unpacked, limits, options)


class _Drafts:
    """Batches of a file: those read already, then the rest, a few at a time."""

    def __init__(self, first: list[BatchDraft], rest: Iterator[BatchDraft]) -> None:
        self._first = first
        self._rest = rest

    def groups(self) -> Iterator[list[BatchDraft]]:
        """Groups for one transaction each."""
        some = self._first
        while some:
            yield some
            some = list(islice(self._rest, BATCHES_A_TRANSACTION))


def _default_lane(first: list[BatchDraft], options: Options) -> Lane:
    """Small files are quick; what changes nothing hurries nobody."""
    rows = sum(draft.rows for draft in first)
    return Lane.INTERACTIVE if rows <= SMALL_ROWS and not options.dry_run else Lane.BULK
