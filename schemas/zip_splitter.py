"""ZIP archives: one or more files, read in the order of their names, and never unpacked to disk.

Lines are counted through the archive, so that what a later file says counts as said later.
"""

import csv
import io
import zipfile
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import IO, NamedTuple

from enrollment.domain.submissions import Member
from schemas.batch_draft import BatchDraft, FileInfo, FileOptions, check_rows, not_empty
from schemas.csv_splitter import NO_OPTIONS
from schemas.foreign.detect import AUTO
from schemas.row_payload import JSON
from schemas.source import FileTooLarge, Limits, Place, UnreadableFile
from schemas.splitter import split
from schemas.zip_reader import EXPECTED, Content, checked, lines_in, opened, shown

#: Bytes of all of the headers together: each is kept, and shown with the submission.
MAX_HEADERS = 256_000

#: OneRoster's list of what is in its archive, and D2L's.
_ONEROSTER, _D2L = "manifest.csv", "manifest.json"
_ENROLLMENTS = "enrollments.csv"
_VERSIONS = frozenset({"1.0", "1.1", "1.2"})
_MAX_MANIFEST = 100_000


class _File(NamedTuple):
    """A file of an archive that is to be cut."""

    chunks: Content
    member: Member
    wanted: FileOptions


def split_archive(
    file: IO[bytes], limits: Limits, wanted: FileOptions = NO_OPTIONS
) -> tuple[FileInfo, Iterator[BatchDraft]]:
    """Split the files of an archive into batches; files without a request are skipped.

    Raises UnreadableFile or FileTooLarge for errors of the whole archive or of a whole file.
    """
    archive = opened(file)
    infos = checked(archive, limits, file.seek(0, io.SEEK_END))
    files = list(_files(archive, infos, limits, wanted))
    if not files:
        message = "there is not one request in the archive"
        raise UnreadableFile("empty", message, expected=EXPECTED)
    first = files[0].member
    head = FileInfo(
        first.encoding, first.header, first.format, tuple(file.member for file in files)
    )
    return head, not_empty(_counted(files, limits))


# --- what is in it -----------------------------------------------------------------------


def _files(
    archive: zipfile.ZipFile, infos: Sequence[zipfile.ZipInfo], limits: Limits, wanted: FileOptions
) -> Iterator[_File]:
    picky = False
    if (manifest := _named(_ONEROSTER, infos)) is not None:
        _check_manifest(archive, manifest)
        beside = manifest.filename.casefold().removesuffix(_ONEROSTER) + _ENROLLMENTS
        infos = [info for info in infos if info.filename.casefold() == beside]
        wanted = _as_archive_of("oneroster", wanted, manifest)
    elif (manifest := _named(_D2L, infos)) is not None:
        infos = [info for info in infos if info.filename.casefold().endswith(".csv")]
        wanted, picky = _as_archive_of("d2l", wanted, manifest), True
    lines = headers = 0
    for info in infos:
        made = _file(Content(archive, info), lines, limits, wanted, picky=picky)
        if made is not None:
            headers += len((made.member.header or "").encode())
            if headers > MAX_HEADERS:
                message = f"the headers of the files are longer than {MAX_HEADERS} bytes together"
                raise UnreadableFile("unknown_document", message, expected="shorter headers")
            yield made
            lines += _length_of(made, limits)


def _as_archive_of(format_: str, wanted: FileOptions, manifest: zipfile.ZipInfo) -> FileOptions:
    """What is wanted of each file. Raises UnreadableFile where the caller says something else."""
    if wanted.format in {AUTO, format_}:
        return wanted._replace(format=format_)
    message = (
        f"{shown(manifest.filename)} makes this an archive of {format_}, and the option format "
        f"says {wanted.format}"
    )
    expected = f"no option format, or no {shown(manifest.filename)}"
    raise UnreadableFile("unknown_document", message, expected=expected)


def _length_of(file: _File, limits: Limits) -> int:
    """How many lines a file takes up: those of a JSON document are its requests."""
    if file.member.encoding == JSON:
        drafts = _split(file.chunks, limits, file.wanted, file.member.lines_before)[1]
        return sum(draft.rows for draft in drafts)
    return lines_in(file.chunks)


def _named(name: str, infos: Sequence[zipfile.ZipInfo]) -> zipfile.ZipInfo | None:
    """The file of this name that lies in the fewest folders."""
    found = [info for info in infos if info.filename.rsplit("/", 1)[-1].casefold() == name]
    return min(found, key=lambda info: info.filename.count("/"), default=None)


def _check_manifest(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """Raise UnreadableFile where OneRoster's manifest says that there is nothing for us."""
    if info.file_size > _MAX_MANIFEST:
        message = f"manifest.csv is longer than {_MAX_MANIFEST} bytes"
        raise FileTooLarge(message)
    text = b"".join(Content(archive, info)).decode("utf-8-sig", errors="replace")
    rows = csv.reader(io.StringIO(text, newline=""))
    said = {row[0].strip().casefold(): row[1].strip() for row in rows if len(row) > 1}
    version = said.get("oneroster.version", "")
    if version not in _VERSIONS:
        message = f"the manifest is of OneRoster {shown(version)!r}"
    elif said.get("file.enrollments", "absent").casefold() == "absent":
        message = "the manifest says that enrollments are absent"
    else:
        return
    expected = f"oneroster.version {', '.join(sorted(_VERSIONS))}; file.enrollments bulk or delta"
    raise UnreadableFile("unknown_document", message, expected=expected)


def _file(
    chunks: Content, lines: int, limits: Limits, wanted: FileOptions, *, picky: bool
) -> _File | None:
    """One file; None for one that asks for nothing, or is not meant where not every one is."""
    try:
        head, _ = _split(chunks, limits, wanted, lines)
    except UnreadableFile as error:
        if error.code == "empty" or (picky and error.code == "unknown_columns"):
            return None
        raise _in_file(error, chunks.name) from error
    source = wanted.source or head.source
    member = Member(chunks.name, lines, head.encoding, head.format, head.header, source)
    return _File(chunks, member, wanted)


def _split(
    chunks: Content, limits: Limits, wanted: FileOptions, lines: int
) -> tuple[FileInfo, Iterator[BatchDraft]]:
    media_type = chunks.media_type
    return split(chunks, media_type=media_type, limits=limits, wanted=wanted, lines_before=lines)


def _in_file(error: UnreadableFile, name: str) -> UnreadableFile:
    return UnreadableFile(
        error.code,
        f"{name}: {error.message}",
        place=Place(error.line, error.column, error.offset),
        found=error.found,
        expected=error.expected,
    )


def _counted(files: Sequence[_File], limits: Limits) -> Iterator[BatchDraft]:
    total = 0
    for draft in chain.from_iterable(_drafts(file, limits) for file in files):
        total += draft.rows
        check_rows(total, limits)
        yield draft


def _drafts(file: _File, limits: Limits) -> Iterator[BatchDraft]:
    """The batches of one file: cut when it is its turn, for each holds some in memory."""
    try:
        yield from _split(file.chunks, limits, file.wanted, file.member.lines_before)[1]
    except UnreadableFile as error:
        raise _in_file(error, file.member.name) from error
