"""Splits an upload into batch drafts, grouped by transaction."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import IO, Any, NamedTuple

from enrollment.domain.codes import Lane
from enrollment.domain.errors import DatabaseUnavailable
from enrollment.domain.submissions import ArchiveMember, SubmissionOptions, encode_files
from intake_store.upload import CompleteUpload, Upload
from schemas.encoding.canonical_json import canonical_json_text
from schemas.files.archives.zip_splitter import split_archive
from schemas.files.batch_draft import BatchDraft, FileInfo, FileOptions
from schemas.files.raw_rows import member_at
from schemas.files.row_payload import JSON_ROWS
from schemas.files.source import FileTooLarge, Limits, SpooledSource
from schemas.files.splitter import ZIP, format_of, split

#: Files with more rows go to the bulk lane, unless the caller chooses the lane.
MAX_INTERACTIVE_ROWS = 50
#: Maximum bytes of an all-or-nothing file, which is stored as one batch.
MAX_ATOMIC_BYTES = 64_000_000


def limits_for(options: SubmissionOptions, limits: Limits, max_atomic_rows: int) -> Limits:
    """Returns the limits of a file; an all-or-nothing file must fit in one batch."""
    if not options.is_atomic:
        return limits
    return limits._replace(
        max_rows=max_atomic_rows,
        batch_rows=max_atomic_rows,
        max_bytes=MAX_ATOMIC_BYTES,
        batch_bytes=2 * MAX_ATOMIC_BYTES,
    )


def default_lane(first: list[BatchDraft], options: SubmissionOptions) -> Lane:
    """Returns the interactive lane for small files, except dry runs."""
    rows = sum(draft.rows for draft in first)
    return Lane.INTERACTIVE if rows <= MAX_INTERACTIVE_ROWS and not options.dry_run else Lane.BULK


def update_digest(digest: Any, chunks: SpooledSource, media_type: str) -> None:
    """Adds a decompressed file to a digest; a JSON document in its canonical form."""
    if format_of(media_type) == JSON_ROWS:
        digest.update(canonical_json_text(b"".join(chunks)))
        return
    for chunk in chunks:
        digest.update(chunk)


@contextmanager
def open_drafts(
    file: IO[bytes],
    chunks: SpooledSource,
    limits: Limits,
    options: FileOptions,
    *,
    media_type: str,
    gzip: bool,
) -> Iterator[tuple[FileInfo, Iterator[BatchDraft]]]:
    """Yields the file info and the batch drafts; deletes temporary files after the block.

    `chunks` yields the decompressed file. Raises UnreadableFile, FileTooLarge, and
    DatabaseUnavailable if the disk is full.
    """
    if format_of(media_type) != ZIP:
        yield split(chunks, media_type=media_type, limits=limits, options=options)
    elif not gzip:
        yield split_archive(file, limits, options)
    else:
        with _decompressed(chunks) as archive:
            yield split_archive(archive, limits, options)


@contextmanager
def _decompressed(chunks: SpooledSource) -> Iterator[IO[bytes]]:
    """Yields a temporary file with the chunks, as reading an archive needs `seek`.

    Raises DatabaseUnavailable if the disk is full.
    """
    with tempfile.TemporaryFile(prefix="enroll-unpacked-") as file:
        try:
            file.writelines(chunks)
            file.flush()
        except OSError as error:
            message = "there is no disk space to unpack an upload"
            raise DatabaseUnavailable(message) from error
        yield file


class BatchGroups:
    """The batches of a file, one group per transaction; `first` is the first group."""

    def __init__(
        self,
        file_info: FileInfo,
        first: list[BatchDraft],
        rest: Iterator[BatchDraft],
        *,
        size: int,
    ) -> None:
        self._file_info = file_info
        self._first = first
        self._rest = rest
        self._size = size
        self._rows: Counter[str] = Counter()

    def groups(self) -> Iterator[list[BatchDraft]]:
        """Yields the groups, once."""
        group = self._first
        while group:
            self._rows += rows_by_file(self._file_info.files, group)
            yield group
            group = list(islice(self._rest, self._size))

    def encoded_files(self) -> Any:
        """Returns the files of an archive as stored, with their rows in the groups so far."""
        info = with_rows(self._file_info, self._rows)
        return encode_files(info.files, info.passed_over)


def rows_by_file(files: Sequence[ArchiveMember], drafts: Iterable[BatchDraft]) -> Counter[str]:
    """Returns the number of rows of each file of an archive, by its name."""
    rows: Counter[str] = Counter()
    for draft in drafts if files else ():
        rows[member_at(files, draft.first_line).name] += draft.rows
    return rows


def with_rows(info: FileInfo, rows: Counter[str]) -> FileInfo:
    """Returns the file info with the number of rows of each file of an archive."""
    return info._replace(files=tuple(file._replace(rows=rows[file.name]) for file in info.files))


class SplitUpload(NamedTuple):
    """An upload, split as far as necessary to know how it is stored."""

    file_info: FileInfo
    lane: Lane
    #: SHA-256 of the parts that identify the request; empty without a key.
    fingerprint: bytes
    #: The batches of the first transaction.
    first: list[BatchDraft]
    #: The others; None: there are no others.
    rest: Iterator[BatchDraft] | None

    def complete(self, upload: Upload) -> CompleteUpload:
        """Returns the upload with its batches, which are all in `first`."""
        return CompleteUpload(
            upload.caller,
            upload.options,
            self.lane,
            with_rows(self.file_info, rows_by_file(self.file_info.files, self.first)),
            tuple(self.first),
            upload.first_byte,
            upload.request_id,
            upload.key,
            self.fingerprint,
            upload.traceparent,
        )


@contextmanager
def split_upload(
    upload: Upload, limits: Limits, *, max_atomic_rows: int, group_size: int
) -> Iterator[SplitUpload]:
    """Yields the split upload; its batches are read during the block.

    Raises UnreadableFile, FileTooLarge, and DatabaseUnavailable if the disk is full.
    """
    limits = limits_for(upload.options, limits, max_atomic_rows)
    chunks = SpooledSource(upload.file, limits, gzip=upload.gzip)
    given = upload.options
    options = FileOptions(upload.format, given.course_id, given.source, given.ignored_names)
    with open_drafts(
        upload.file, chunks, limits, options, media_type=upload.media_type, gzip=upload.gzip
    ) as (file_info, drafts):
        first = list(islice(drafts, group_size))
        if upload.options.is_atomic and len(first) > 1:
            message = (
                "with on_error=abort an archive may have one file with rows: send each by itself"
                if len(file_info.files) > 1
                else "an all-or-nothing file must fit in one batch: send fewer lines"
            )
            raise FileTooLarge(message)
        following = next(drafts, None)
        rest = None if following is None else chain([following], drafts)
        lane = upload.lane or default_lane(first, upload.options)
        yield SplitUpload(file_info, lane, _fingerprint(upload, chunks), first, rest)


def _fingerprint(upload: Upload, chunks: SpooledSource) -> bytes:
    if upload.key is None:
        return b""
    digest = upload.digest.copy()
    if upload.is_file_in_digest:
        update_digest(digest, chunks, upload.media_type)
    return bytes(digest.digest())
