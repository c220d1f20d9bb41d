"""Splits an upload into batch drafts, grouped by transaction."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import IO, Any

from enrollment.domain.codes import Lane
from enrollment.domain.errors import DatabaseUnavailable
from enrollment.domain.submissions import SubmissionOptions
from schemas.encoding.canonical_json import canonical_text
from schemas.files.batch_draft import BatchDraft, FileInfo, FileOptions
from schemas.files.row_payload import JSON_ROWS
from schemas.files.source import Limits, SpooledSource
from schemas.files.splitter import ZIP, format_of, split
from schemas.files.zip_splitter import split_archive

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
        digest.update(canonical_text(b"".join(chunks)))
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

    def __init__(self, first: list[BatchDraft], rest: Iterator[BatchDraft], *, size: int) -> None:
        self._first = first
        self._rest = rest
        self._size = size

    def groups(self) -> Iterator[list[BatchDraft]]:
        """Yields the groups, once."""
        group = self._first
        while group:
            yield group
            group = list(islice(self._rest, self._size))
