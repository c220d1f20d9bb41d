"""Splits the files of a ZIP archive into batches, in the order of their names, without a disk.

Line numbers continue from file to file, so that a later file takes precedence. Files without
enrollments that belong to the export of a known system are passed over.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import IO, NamedTuple

from enrollment.domain.submissions import ArchiveMember, PassedOverFile
from schemas.files.archives.siblings import sibling_kind
from schemas.files.archives.zip_reader import (
    EXPECTED_ARCHIVE,
    FileContent,
    checked_files,
    count_lines,
    open_archive,
    printable,
)
from schemas.files.batch_draft import BatchDraft, FileInfo, FileOptions, check_rows, require_rows
from schemas.files.csv_rows import names_of
from schemas.files.csv_splitter import NO_FILE_OPTIONS
from schemas.files.formats.detect import AUTO, MIXED
from schemas.files.mislabelled import first_line, head_of
from schemas.files.row_payload import CSV_ROWS, JSON_ROWS
from schemas.files.source import FilePosition, FileTooLarge, Limits, UnreadableFile
from schemas.files.splitter import format_of, split, type_of_name

#: Bytes of all headers together: each is stored, and rendered with the submission.
MAX_ARCHIVE_HEADER_BYTES = 256_000

#: The manifests of OneRoster and of D2L.
_ONEROSTER, _D2L = "manifest.csv", "manifest.json"
_ENROLLMENTS = "enrollments.csv"
_VERSIONS = frozenset({"1.0", "1.1", "1.2"})
_MAX_MANIFEST = 100_000
_MANIFEST_COLUMNS = frozenset({"propertyname", "value"})
_README = re.compile(r"read[ _-]?me(\.(txt|md|html?|rtf|pdf|docx?))?")


class _MemberPlan(NamedTuple):
    """A file of an archive that is to be split."""

    chunks: FileContent
    member: ArchiveMember
    options: FileOptions


class _Plan:
    """The files of an archive: which are read, and which are passed over."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.files: list[_MemberPlan] = []
        self.passed_over: list[PassedOverFile] = []
        self._lines = self._headers = 0

    def pass_over(self, contents: Sequence[FileContent], reason: str) -> None:
        """Adds files that are not read."""
        self.passed_over += [PassedOverFile(content.name, reason) for content in contents]

    def add(self, chunks: FileContent, options: FileOptions, *, skips_unknown: bool) -> None:
        """Adds a file: to be read, unless it is empty or is a sibling.

        `skips_unknown`: neither are files with other columns read.
        Raises UnreadableFile, FileTooLarge.
        """
        if (reason := _reason_of_name(chunks)) is not None:
            self.pass_over([chunks], reason)
            return
        try:
            file_info, _ = _split(chunks, self._limits, options, self._lines)
        except UnreadableFile as error:
            if error.code == "empty":
                self.pass_over([chunks], "it has no row")
            elif skips_unknown and error.code == "unknown_columns":
                self.pass_over([chunks], "its columns are not those of enrollments")
            else:
                raise _prefix_error(error, chunks.name) from error
            return
        source = options.source or file_info.source
        encoding, format_, header = file_info.encoding, file_info.format, file_info.header
        member = ArchiveMember(chunks.name, self._lines, encoding, format_, header, source)
        self._headers += len((header or "").encode())
        if self._headers > MAX_ARCHIVE_HEADER_BYTES:
            limit = MAX_ARCHIVE_HEADER_BYTES
            message = f"the headers of the files are longer than {limit} bytes together"
            raise UnreadableFile("unknown_document", message, expected="shorter headers")
        plan = _MemberPlan(chunks, member, options)
        self.files.append(plan)
        self._lines += _length_of(plan, self._limits)


def split_archive(
    file: IO[bytes], limits: Limits, options: FileOptions = NO_FILE_OPTIONS
) -> tuple[FileInfo, Iterator[BatchDraft]]:
    """Splits the files of an archive into batches; files without a request are skipped.

    Raises UnreadableFile or FileTooLarge for errors of the whole archive or of a whole file.
    """
    archive = open_archive(file)
    plan = _plan(checked_files(archive, limits, file.seek(0, io.SEEK_END)), limits, options)
    if not plan.files:
        raise _no_request(plan.passed_over)
    members = tuple(file.member for file in plan.files)
    first = members[0]
    format_ = first.format if len({member.format for member in members}) == 1 else MIXED
    file_info = FileInfo(first.encoding, first.header, format_, members, tuple(plan.passed_over))
    return file_info, require_rows(_counted(plan.files, limits))


def _no_request(passed_over: Sequence[PassedOverFile]) -> UnreadableFile:
    message = "the archive contains no request"
    if passed_over:
        name, reason = passed_over[0]
        more = f", and {len(passed_over) - 1} more were passed over" if len(passed_over) > 1 else ""
        message += f": {printable(name)} is not read ({reason}){more}; add the file of enrollments"
    return UnreadableFile("empty", message, expected=EXPECTED_ARCHIVE)


# --- content -----------------------------------------------------------------------------


def _plan(contents: Sequence[FileContent], limits: Limits, options: FileOptions) -> _Plan:
    plan, skips_unknown = _Plan(limits), False
    wanted = contents
    if (manifest := _topmost(_ONEROSTER, contents)) is not None and _is_manifest(manifest):
        _check_manifest(manifest)
        enrollments = manifest.name.casefold().removesuffix(_ONEROSTER) + _ENROLLMENTS
        wanted = [content for content in contents if content.name.casefold() == enrollments]
        options = _options_of_archive("oneroster", options, manifest)
    elif (manifest := _topmost(_D2L, contents)) is not None:
        wanted = [content for content in contents if content.name.casefold().endswith(".csv")]
        options, skips_unknown = _options_of_archive("d2l", options, manifest), True
    for content in wanted:
        plan.add(content, options, skips_unknown=skips_unknown)
    rest = [content for content in contents if content not in (*wanted, manifest)]
    plan.pass_over(rest, f"the manifest makes this an archive of {options.format}")
    return plan


def _reason_of_name(content: FileContent) -> str | None:
    """Returns why a file is passed over, by its name and first line; None: it is to be read."""
    if _README.fullmatch(content.name.rsplit("/", 1)[-1].casefold()):
        return "it is for readers"
    if format_of(type_of_name(content.name) or "") != CSV_ROWS:
        return None
    system = sibling_kind(content.name, first_line(content))
    return None if system is None else f"a file of {system} without enrollments"


def _options_of_archive(format_: str, options: FileOptions, manifest: FileContent) -> FileOptions:
    """Returns the options with the archive's format. Raises UnreadableFile if another is forced."""
    if options.format in {AUTO, format_}:
        return options._replace(format=format_)
    message = (
        f"{printable(manifest.name)} makes this an archive of {format_}, but the option format "
        f"is {options.format}"
    )
    expected = f"no option format, or no {printable(manifest.name)}"
    raise UnreadableFile("unknown_document", message, expected=expected)


def _length_of(file: _MemberPlan, limits: Limits) -> int:
    """Returns the number of lines of a file: those of a JSON document are its requests."""
    if file.member.encoding == JSON_ROWS:
        drafts = _split(file.chunks, limits, file.options, file.member.lines_before)[1]
        return sum(draft.rows for draft in drafts)
    return count_lines(file.chunks)


def _topmost(name: str, contents: Sequence[FileContent]) -> FileContent | None:
    """Returns the file of this name in the fewest folders."""
    candidates = [it for it in contents if it.name.rsplit("/", 1)[-1].casefold() == name]
    return min(candidates, key=lambda content: content.name.count("/"), default=None)


def _is_manifest(file: FileContent) -> bool:
    """Returns whether a file is the manifest of OneRoster, and not one with rows of its own."""
    is_named = frozenset(names_of(first_line(file), ",")) >= _MANIFEST_COLUMNS
    return is_named or b"oneroster.version" in head_of(file).lower()


def _check_manifest(manifest: FileContent) -> None:
    """Raises UnreadableFile unless OneRoster's manifest has a known version, and enrollments."""
    if manifest.size > _MAX_MANIFEST:
        message = f"manifest.csv is longer than {_MAX_MANIFEST} bytes"
        raise FileTooLarge(message)
    text = b"".join(manifest).decode("utf-8-sig", errors="replace")
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
