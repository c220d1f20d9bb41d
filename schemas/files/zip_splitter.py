"""Splits the files of a ZIP archive into batches, in the order of their names, without a disk.

Line numbers continue from file to file, so that a later file takes precedence.
"""

import csv
import io
import zipfile
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import IO, NamedTuple

from enrollment.domain.submissions import ArchiveMember
from schemas.files.batch_draft import BatchDraft, FileInfo, FileOptions, check_rows, require_rows
from schemas.files.csv_splitter import NO_FILE_OPTIONS
from schemas.files.formats.detect import AUTO
from schemas.files.row_payload import JSON_ROWS
from schemas.files.source import FilePosition, FileTooLarge, Limits, UnreadableFile
from schemas.files.splitter import split
from schemas.files.zip_reader import (
    EXPECTED_ARCHIVE,
    FileContent,
    checked_files,
    count_lines,
    open_archive,
    printable,
)

#: Bytes of all headers together: each is stored, and rendered with the submission.
MAX_ARCHIVE_HEADER_BYTES = 256_000

#: The manifests of OneRoster and of D2L.
_ONEROSTER, _D2L = "manifest.csv", "manifest.json"
_ENROLLMENTS = "enrollments.csv"
_VERSIONS = frozenset({"1.0", "1.1", "1.2"})
_MAX_MANIFEST = 100_000


class _MemberPlan(NamedTuple):
    """A file of an archive that is to be split."""

    chunks: FileContent
    member: ArchiveMember
    options: FileOptions


def split_archive(
    file: IO[bytes], limits: Limits, options: FileOptions = NO_FILE_OPTIONS
) -> tuple[FileInfo, Iterator[BatchDraft]]:
    """Splits the files of an archive into batches; files without a request are skipped.

    Raises UnreadableFile or FileTooLarge for errors of the whole archive or of a whole file.
    """
    archive = open_archive(file)
    infos = checked_files(archive, limits, file.seek(0, io.SEEK_END))
    files = list(_files(archive, infos, limits, options))
    if not files:
        message = "the archive contains no request"
        raise UnreadableFile("empty", message, expected=EXPECTED_ARCHIVE)
    first = files[0].member
    file_info = FileInfo(
        first.encoding, first.header, first.format, tuple(file.member for file in files)
    )
    return file_info, require_rows(_counted(files, limits))


# --- content -----------------------------------------------------------------------------


def _files(
    archive: zipfile.ZipFile, infos: Sequence[zipfile.ZipInfo], limits: Limits, options: FileOptions
) -> Iterator[_MemberPlan]:
    skips_unknown = False
    if (manifest := _topmost(_ONEROSTER, infos)) is not None:
        _check_manifest(archive, manifest)
        enrollments = manifest.filename.casefold().removesuffix(_ONEROSTER) + _ENROLLMENTS
        infos = [info for info in infos if info.filename.casefold() == enrollments]
        options = _options_of_archive("oneroster", options, manifest)
    elif (manifest := _topmost(_D2L, infos)) is not None:
        infos = [info for info in infos if info.filename.casefold().endswith(".csv")]
        options, skips_unknown = _options_of_archive("d2l", options, manifest), True
    lines = headers = 0
    for info in infos:
        plan = _file(
            FileContent(archive, info), lines, limits, options, skips_unknown=skips_unknown
        )
        if plan is not None:
            headers += len((plan.member.header or "").encode())
            if headers > MAX_ARCHIVE_HEADER_BYTES:
                limit = MAX_ARCHIVE_HEADER_BYTES
                message = f"the headers of the files are longer than {limit} bytes together"
                raise UnreadableFile("unknown_document", message, expected="shorter headers")
            yield plan
            lines += _length_of(plan, limits)


def _options_of_archive(
    format_: str, options: FileOptions, manifest: zipfile.ZipInfo
) -> FileOptions:
    """Returns the options with the archive's format. Raises UnreadableFile if another is forced."""
    if options.format in {AUTO, format_}:
        return options._replace(format=format_)
    message = (
        f"{printable(manifest.filename)} makes this an archive of {format_}, but the option format "
        f"is {options.format}"
    )
    expected = f"no option format, or no {printable(manifest.filename)}"
    raise UnreadableFile("unknown_document", message, expected=expected)


def _length_of(file: _MemberPlan, limits: Limits) -> int:
    """Returns the number of lines of a file: those of a JSON document are its requests."""
    if file.member.encoding == JSON_ROWS:
        drafts = _split(file.chunks, limits, file.options, file.member.lines_before)[1]
        return sum(draft.rows for draft in drafts)
    return count_lines(file.chunks)


def _topmost(name: str, infos: Sequence[zipfile.ZipInfo]) -> zipfile.ZipInfo | None:
    """Returns the file of this name in the fewest folders."""
    candidates = [info for info in infos if info.filename.rsplit("/", 1)[-1].casefold() == name]
    return min(candidates, key=lambda info: info.filename.count("/"), default=None)


def _check_manifest(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """Raises UnreadableFile unless OneRoster's manifest has a known version, and enrollments."""
    if info.file_size > _MAX_MANIFEST:
        message = f"manifest.csv is longer than {_MAX_MANIFEST} bytes"
        raise FileTooLarge(message)
    text = b"".join(FileContent(archive, info)).decode("utf-8-sig", errors="replace")
    rows = csv.reader(io.StringIO(text, newline=""))
    properties = {row[0].strip().casefold(): row[1].strip() for row in rows if len(row) > 1}
    version = properties.get("oneroster.version", "")
    if version not in _VERSIONS:
        message = f"the manifest is of OneRoster {printable(version)!r}"
    elif properties.get("file.enrollments", "absent").casefold() == "absent":
        message = "the manifest says that enrollments are absent"
    else:
        return
    expected = f"oneroster.version {', '.join(sorted(_VERSIONS))}; file.enrollments bulk or delta"
    raise UnreadableFile("unknown_document", message, expected=expected)


def _file(
    chunks: FileContent, lines: int, limits: Limits, options: FileOptions, *, skips_unknown: bool
) -> _MemberPlan | None:
    """Returns one file; None for an empty one, and for unknown columns with `skips_unknown`."""
    try:
        file_info, _ = _split(chunks, limits, options, lines)
    except UnreadableFile as error:
        if error.code == "empty" or (skips_unknown and error.code == "unknown_columns"):
            return None
        raise _prefix_error(error, chunks.name) from error
    source = options.source or file_info.source
    encoding, format_, header = file_info.encoding, file_info.format, file_info.header
    member = ArchiveMember(chunks.name, lines, encoding, format_, header, source)
    return _MemberPlan(chunks, member, options)


def _split(
    chunks: FileContent, limits: Limits, options: FileOptions, lines: int
) -> tuple[FileInfo, Iterator[BatchDraft]]:
    media_type = chunks.media_type
    return split(chunks, media_type=media_type, limits=limits, options=options, lines_before=lines)


def _prefix_error(error: UnreadableFile, name: str) -> UnreadableFile:
    return UnreadableFile(
        error.code,
        f"{name}: {error.message}",
        position=FilePosition(error.line, error.column, error.offset),
        found=error.found,
        expected=error.expected,
    )


def _counted(files: Sequence[_MemberPlan], limits: Limits) -> Iterator[BatchDraft]:
    total = 0
    for draft in chain.from_iterable(_member_batches(file, limits) for file in files):
        total += draft.rows
        check_rows(total, limits)
        yield draft


def _member_batches(file: _MemberPlan, limits: Limits) -> Iterator[BatchDraft]:
    """Yields the batches of one file; it is split only now, because each split buffers a batch."""
    try:
        yield from _split(file.chunks, limits, file.options, file.member.lines_before)[1]
    except UnreadableFile as error:
        raise _prefix_error(error, file.member.name) from error
