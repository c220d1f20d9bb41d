"""ZIP archives: one or more files, read in the order of their names, and never unpacked to disk.

Lines are counted through the archive, so that what a later file says counts as said later.
"""

import csv
import errno
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import IO, NamedTuple

from enrollment.domain.submissions import Member
from schemas.csvcutting import AS_IT_IS
from schemas.drafts import BatchDraft, FileHead, Wanted, check_rows, not_empty
from schemas.files import ZIP, format_of, split, type_of_name
from schemas.foreign import AUTO, source_of
from schemas.payloads import JSON
from schemas.uploads import (
    CHUNK_BYTES,
    FREE_BYTES,
    MAX_RATIO,
    Limits,
    Place,
    TooLarge,
    Unreadable,
    check_size,
)

#: Files of one archive that are read.
MAX_MEMBERS = 100
#: Bytes of the list of files that an archive ends with.
_MAX_DIRECTORY = 1_000_000
#: Characters of the name of one of them.
MAX_MEMBER_NAME = 255
#: Bytes of all of their headers together: each is kept, and shown with the submission.
MAX_HEADERS = 256_000
_END = b"PK\x05\x06"
_END_64 = b"PK\x06\x07"
_END_BYTES = 22
_END_64_BYTES = 20
_MAX_COMMENT = 65_535
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED = 0x1
#: What the library raises for archives that are none, or were tampered with.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)
_EXPECTED = "a ZIP archive of .csv, .txt, .ndjson, .jsonl or .json files"

#: OneRoster's list of what is in its archive, and D2L's.
_ONEROSTER, _D2L = "manifest.csv", "manifest.json"
_ENROLLMENTS = "enrollments.csv"
_VERSIONS = frozenset({"1.0", "1.1", "1.2"})
_MAX_MANIFEST = 100_000


class _File(NamedTuple):
    """A file of an archive that is to be cut."""

    chunks: "_Chunks"
    member: Member
    wanted: Wanted


def split_archive(
    file: IO[bytes], limits: Limits, wanted: Wanted = AS_IT_IS
) -> tuple[FileHead, Iterator[BatchDraft]]:
    """Cut the files of an archive into batches.

    Raises Unreadable or TooLarge for what is wrong with it as a whole, or with any of its files
    as a whole; files without a request are passed over.
    """
    archive = _opened(file)
    infos = _checked(archive, limits, file.seek(0, io.SEEK_END))
    files = list(_files(archive, infos, limits, wanted))
    if not files:
        message = "there is not one request in the archive"
        raise Unreadable("empty", message, expected=_EXPECTED)
    _check_source(files, wanted)
    first = files[0].member
    head = FileHead(
        first.encoding, first.header, first.format, tuple(file.member for file in files)
    )
    return head, not_empty(_counted(files, limits))


def _check_source(files: Sequence[_File], wanted: Wanted) -> None:
    """Raise Unreadable for ids of several systems where it is not said whose they are."""
    formats = {source_of(file.member.format): file.member.format for file in files}
    if wanted.source is None and len(formats) > 1:
        found = ", ".join(formats.values())
        message = (
            f"the files of the archive have ids of different sources ({found}): "
            "name the source with the option source, or send them one by one"
        )
        raise Unreadable("source_missing", message, expected="source=…")


def _opened(file: IO[bytes]) -> zipfile.ZipFile:
    _check_end(file)
    try:
        return zipfile.ZipFile(file)
    except _DAMAGED as error:
        raise _malformed(str(error)) from error
    except OSError as error:
        _check_is_damage(error)
        raise _malformed("a place in it lies before its beginning") from error


def _check_is_damage(error: OSError) -> None:
    """Raise the error again where the disk is at fault, and not a place that the archive names."""
    if error.errno != errno.EINVAL:
        raise error


def _check_end(file: IO[bytes]) -> None:
    """Look at how long the list of files is before it is read whole into memory."""
    size = file.seek(0, io.SEEK_END)
    begin = max(0, size - _MAX_COMMENT - _END_BYTES - _END_64_BYTES)
    file.seek(begin)
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise _malformed("its end is missing: send the file again")
    if tail[max(0, at - _END_64_BYTES) : at].startswith(_END_64):
        message = "ZIP64 archives are not read here: send fewer or shorter files"
        raise Unreadable("malformed_zip", message, expected=_EXPECTED)
    if int.from_bytes(tail[at + 12 : at + 16], "little") > _MAX_DIRECTORY:
        raise _too_many()


def _malformed(why: str) -> Unreadable:
    message = f"the body is no ZIP archive, or is damaged: {why[:200]}"
    return Unreadable("malformed_zip", message, place=Place(offset=0), expected=_EXPECTED)


def _too_many() -> TooLarge:
    return TooLarge(f"an archive may have {MAX_MEMBERS} files")


def _checked(archive: zipfile.ZipFile, limits: Limits, packed: int) -> Sequence[zipfile.ZipInfo]:
    """The files that are looked at, in the order of their names."""
    for info in archive.infolist():
        _check_is_sound(info)
    infos = [info for info in archive.infolist() if not _is_litter(info)]
    if len(infos) > MAX_MEMBERS:
        raise _too_many()
    names = [info.filename for info in infos]
    for info in infos:
        _check_member(info)
    if len(names) > len(set(names)):
        message = "the archive holds two files of one name"
        raise Unreadable("malformed_zip", message, expected=_EXPECTED)
    unpacked = sum(info.file_size for info in infos)
    check_size(unpacked, limits)
    if unpacked > max(FREE_BYTES, MAX_RATIO * packed):
        message = f"the archive unpacks to more than {MAX_RATIO} times its size"
        raise TooLarge(message)
    return sorted(infos, key=lambda info: info.filename)


def _check_is_sound(info: zipfile.ZipInfo) -> None:
    """Raise Unreadable for what the library itself stumbles over."""
    if not info.filename or "\0" in info.orig_filename:
        raise _malformed("one of its files has no name, or NUL in it")
    if info.header_offset < 0:
        raise _malformed("one of its files begins before the archive does")


def _is_litter(info: zipfile.ZipInfo) -> bool:
    """Folders, and what file managers leave behind."""
    last = info.filename.rsplit("/", 1)[-1]
    return info.is_dir() or last.startswith(".") or info.filename.startswith("__MACOSX/")


def _check_member(info: zipfile.ZipInfo) -> None:
    name = info.filename
    if len(name) > MAX_MEMBER_NAME:
        message = (
            f"the name {_shown(name)!r}… of a file in the archive is longer than "
            f"{MAX_MEMBER_NAME} characters"
        )
        raise Unreadable("unknown_document", message, expected="a shorter name")
    if not name.isprintable() or name.startswith("/") or ".." in name.split("/") or "\\" in name:
        message = f"the archive holds a file with the name {_shown(name)!r}"
    elif info.flag_bits & _ENCRYPTED:
        message = f"{_shown(name)} is encrypted"
    elif info.compress_type not in _METHODS:
        message = f"{_shown(name)} is compressed in a way that is not read here"
    else:
        return
    raise Unreadable("malformed_zip", message, expected=_EXPECTED)


def _shown(name: str) -> str:
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in name[:100])


# --- what is in it -----------------------------------------------------------------------


def _files(
    archive: zipfile.ZipFile, infos: Sequence[zipfile.ZipInfo], limits: Limits, wanted: Wanted
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
        made = _file(_Chunks(archive, info), lines, limits, wanted, picky=picky)
        if made is not None:
            headers += len((made.member.header or "").encode())
            if headers > MAX_HEADERS:
                message = f"the headers of the files are longer than {MAX_HEADERS} bytes together"
                raise Unreadable("unknown_document", message, expected="shorter headers")
            yield made
            lines += _length_of(made, limits)


def _as_archive_of(format_: str, wanted: Wanted, manifest: zipfile.ZipInfo) -> Wanted:
    """What is wanted of each file. Raises Unreadable where the caller says something else."""
    if wanted.format in {AUTO, format_}:
        return wanted._replace(format=format_)
    message = (
        f"{_shown(manifest.filename)} makes this an archive of {format_}, and the option format "
        f"says {wanted.format}"
    )
    expected = f"no option format, or no {_shown(manifest.filename)}"
    raise Unreadable("unknown_document", message, expected=expected)


def _length_of(file: _File, limits: Limits) -> int:
    """How many lines a file takes up: those of a JSON document are its requests."""
    if file.member.encoding == JSON:
        drafts = _split(file.chunks, limits, file.wanted, file.member.lines_before)[1]
        return sum(draft.rows for draft in drafts)
    return _lines_in(file.chunks)


def _named(name: str, infos: Sequence[zipfile.ZipInfo]) -> zipfile.ZipInfo | None:
    """The file of this name that lies in the fewest folders."""
    found = [info for info in infos if info.filename.rsplit("/", 1)[-1].casefold() == name]
    return min(found, key=lambda info: info.filename.count("/"), default=None)


def _check_manifest(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """Raise Unreadable where OneRoster's manifest says that there is nothing for us."""
    if info.file_size > _MAX_MANIFEST:
        message = f"manifest.csv is longer than {_MAX_MANIFEST} bytes"
        raise TooLarge(message)
    text = b"".join(_Chunks(archive, info)).decode("utf-8-sig", errors="replace")
    rows = csv.reader(io.StringIO(text, newline=""))
    said = {row[0].strip().casefold(): row[1].strip() for row in rows if len(row) > 1}
    version = said.get("oneroster.version", "")
    if version not in _VERSIONS:
        message = f"the manifest is of OneRoster {_shown(version)!r}"
    elif said.get("file.enrollments", "absent").casefold() == "absent":
        message = "the manifest says that enrollments are absent"
    else:
        return
    expected = f"oneroster.version {', '.join(sorted(_VERSIONS))}; file.enrollments bulk or delta"
    raise Unreadable("unknown_document", message, expected=expected)


def _file(
    chunks: "_Chunks", lines: int, limits: Limits, wanted: Wanted, *, picky: bool
) -> _File | None:
    """One file; None for one that asks for nothing, or is not meant where not every one is."""
    try:
        head, _ = _split(chunks, limits, wanted, lines)
    except Unreadable as error:
        if error.code == "empty" or (picky and error.code == "unknown_columns"):
            return None
        raise _in_file(error, chunks.name) from error
    member = Member(chunks.name, lines, head.encoding, head.format, head.header)
    return _File(chunks, member, wanted)


def _split(
    chunks: "_Chunks", limits: Limits, wanted: Wanted, lines: int
) -> tuple[FileHead, Iterator[BatchDraft]]:
    media_type = chunks.media_type
    return split(chunks, media_type=media_type, limits=limits, wanted=wanted, lines_before=lines)


def _in_file(error: Unreadable, name: str) -> Unreadable:
    return Unreadable(
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
    except Unreadable as error:
        raise _in_file(error, file.member.name) from error


class _Chunks:
    """The content of one file, every time from its first byte."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        self._archive = archive
        self._info = info
        self.name = info.filename

    @property
    def media_type(self) -> str:
        """What its name says. Raises Unreadable where it says nothing."""
        media_type = type_of_name(self.name)
        if media_type is not None and format_of(media_type) != ZIP:
            return media_type
        message = f"what is in {_shown(self.name)} cannot be told from its name"
        raise Unreadable("unknown_document", message, expected=_EXPECTED)

    def __iter__(self) -> Iterator[bytes]:
        """The chunks."""
        try:
            with self._archive.open(self._info) as content:
                while chunk := content.read(CHUNK_BYTES):
                    yield chunk
        except _DAMAGED as error:
            message = f"{_shown(self.name)} is damaged in the archive: {error}"
            raise Unreadable("malformed_zip", message, expected=_EXPECTED) from error
        except OSError as error:
            _check_is_damage(error)
            message = f"{_shown(self.name)} is damaged in the archive: it begins before it"
            raise Unreadable("malformed_zip", message, expected=_EXPECTED) from error


def _lines_in(chunks: _Chunks) -> int:
    """How many lines there are, however they end."""
    lines, last = 0, b""
    for chunk in chunks:
        lines += chunk.count(b"\n") + chunk.count(b"\r") - chunk.count(b"\r\n")
        if last == b"\r" and chunk.startswith(b"\n"):
            lines -= 1
        last = chunk[-1:]
    return lines + (last not in {b"", b"\n", b"\r"})
