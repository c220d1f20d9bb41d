"""Validated access to a ZIP archive: the list of its files, and their content."""

import errno
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from typing import IO

from schemas.files.mislabelled import HEAD_BYTES, description_of
from schemas.files.source import (
    CHUNK_BYTES,
    CpuBudget,
    FilePosition,
    FileTooLarge,
    Limits,
    UnreadableFile,
    check_ratio,
    check_size,
)
from schemas.files.splitter import ZIP, format_of, type_of_name

#: Files of one archive.
MAX_MEMBERS = 100
#: Bytes of the central directory, at the end of an archive.
_MAX_DIRECTORY = 1_000_000
#: Characters of a file's name.
MAX_MEMBER_NAME = 255
_END = b"PK\x05\x06"
_LOCATOR_64 = b"PK\x06\x07"
_END_64 = b"PK\x06\x06"
_END_BYTES = 22
_LOCATOR_64_BYTES = 20
_END_64_BYTES = 56
_MAX_COMMENT = 65_535
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED = 0x1
#: Files that operating systems leave in folders, in lower case.
_SYSTEM_FILES = frozenset(
    {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"}
)
_SYSTEM_FOLDERS = frozenset({"__macosx", "$recycle.bin", "system volume information"})
#: Beginning of the name of a file that Office keeps while a document is open.
_OFFICE_LOCK = "~$"
#: The name that `zip` gives to what it reads from a pipe.
_PIPE = "-"
_DRIVE = re.compile(r"[A-Za-z]:")
#: Exceptions of `zipfile` for damaged or manipulated archives.
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
EXPECTED_ARCHIVE = "a ZIP archive of .csv, .txt, .ndjson, .jsonl or .json files"


def open_archive(file: IO[bytes]) -> zipfile.ZipFile:
    """Opens an archive. Raises UnreadableFile if it is not one, FileTooLarge for too many files."""
    _check_end(file)
    try:
        return zipfile.ZipFile(file)
    except _DAMAGED as error:
        raise _malformed(str(error)) from error
    except OSError as error:
        _check_is_damage(error)
        raise _malformed("it has an offset before its beginning") from error


def _check_is_damage(error: OSError) -> None:
    """Raises the error again unless it comes from an invalid offset in the archive."""
    if error.errno != errno.EINVAL:
        raise error


def _check_end(file: IO[bytes]) -> None:
    """Checks the size of the central directory before `zipfile` reads it into memory."""
    size = file.seek(0, io.SEEK_END)
    begin = max(0, size - _MAX_COMMENT - _END_BYTES - _LOCATOR_64_BYTES - _END_64_BYTES)
    file.seek(begin)
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        file.seek(0)
        head = file.read(HEAD_BYTES)
        if head and not head.startswith(b"PK"):
            raise _malformed(f"it looks like {description_of(head) or 'text or another file'}")
        raise _malformed("its end is missing: send the file again")
    if _directory_size(tail, at) > _MAX_DIRECTORY:
        raise _too_many()


def _directory_size(tail: bytes, at: int) -> int:
    """Returns the size of the central directory, of ZIP64 if `zipfile` will read that."""
    locator = at - _LOCATOR_64_BYTES
    end = locator - _END_64_BYTES
    if end >= 0 and tail.startswith(_LOCATOR_64, locator) and tail.startswith(_END_64, end):
        return int.from_bytes(tail[end + 40 : end + 48], "little")
    return int.from_bytes(tail[at + 12 : at + 16], "little")


def _malformed(reason: str) -> UnreadableFile:
    message = f"the body is not a ZIP archive, or is damaged: {reason[:200]}"
    return UnreadableFile(
        "malformed_zip", message, position=FilePosition(offset=0), expected=EXPECTED_ARCHIVE
    )


def _too_many() -> FileTooLarge:
    return FileTooLarge(f"an archive may have {MAX_MEMBERS} files")


def _check_is_readable(info: zipfile.ZipInfo) -> None:
    """Raises UnreadableFile for entries that `zipfile` itself cannot handle."""
    if not info.filename or "\0" in info.orig_filename:
        raise _malformed("one of its files has no name, or a NUL in it")
    if info.header_offset < 0:
        raise _malformed("one of its files begins before the archive does")


def _is_ignored(name: str) -> bool:
    """Returns whether an entry is a folder, is hidden, or belongs to the system or a program."""
    *folders, last = name.split("/")
    return (
        not last
        or last.startswith(_OFFICE_LOCK)
        or last.lower() in _SYSTEM_FILES
        or any(folder.lower() in _SYSTEM_FOLDERS for folder in folders)
        or any(part.startswith(".") and part.strip(".") for part in (*folders, last))
    )


def _leads_elsewhere(name: str) -> bool:
    return name.startswith("/") or ".." in name.split("/") or _DRIVE.match(name) is not None


def printable(name: str) -> str:
    """Returns the name of a file as an error message may show it."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in name[:100])


class FileContent:
    """The content of one file; every iteration begins at its first byte."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: CpuBudget) -> None:
        self._archive = archive
        self._info = info
        self._budget = budget
        #: With `/` between folders, where some programs of Windows write a backslash.
        self.name = info.filename.replace("\\", "/")

    @property
    def size(self) -> int:
        """Bytes, decompressed, as the archive says; more are not read."""
        return self._info.file_size

    def check(self) -> None:
        """Raises UnreadableFile for a name, an encryption or a compression that is not taken.

        Raises FileTooLarge for too much compression.
        """
        name, info = self.name, self._info
        if len(name) > MAX_MEMBER_NAME:
            message = (
                f"the name {printable(name)!r}… of a file in the archive is longer than "
                f"{MAX_MEMBER_NAME} characters"
            )
            raise UnreadableFile("unknown_document", message, expected="a shorter name")
        if not name.isprintable() or _leads_elsewhere(name):
            message = f"the archive contains a file with the name {printable(name)!r}"
        elif info.flag_bits & _ENCRYPTED:
            message = f"{printable(name)} is encrypted"
        elif info.compress_type not in _METHODS:
            message = f"{printable(name)} uses a compression method that is not supported"
        else:
            check_ratio(info.file_size, info.compress_size, printable(name))
            return
        raise UnreadableFile("malformed_zip", message, expected=EXPECTED_ARCHIVE)

    @property
    def media_type(self) -> str:
        """The media type of its extension. Raises UnreadableFile for an unknown one."""
        media_type = "text/plain" if self.name == _PIPE else type_of_name(self.name)
        if media_type is not None and format_of(media_type) != ZIP:
            return media_type
        message = f"the format of {printable(self.name)} is not known from its extension"
        raise UnreadableFile("unknown_document", message, expected=EXPECTED_ARCHIVE)

    def __iter__(self) -> Iterator[bytes]:
        """Yields the chunks."""
        return self._budget.metered(self._chunks())

    def _chunks(self) -> Iterator[bytes]:
        try:
            with self._archive.open(self._info) as content:
                while chunk := content.read(CHUNK_BYTES):
                    yield chunk
        except _DAMAGED as error:
            message = f"{printable(self.name)} is damaged in the archive: {error}"
            raise UnreadableFile("malformed_zip", message, expected=EXPECTED_ARCHIVE) from error
        except OSError as error:
            _check_is_damage(error)
            message = f"{printable(self.name)} is damaged in the archive: its offset is invalid"
            raise UnreadableFile("malformed_zip", message, expected=EXPECTED_ARCHIVE) from error


def checked_files(archive: zipfile.ZipFile, limits: Limits, packed: int) -> Sequence[FileContent]:
    """Returns the files to be read, in the order of their names.

    Raises UnreadableFile, FileTooLarge.
    """
    for info in archive.infolist():
        _check_is_readable(info)
    _check_is_no_document({info.filename for info in archive.infolist()})
    budget = CpuBudget(limits)
    contents = [FileContent(archive, info, budget) for info in archive.infolist()]
    contents = [content for content in contents if not _is_ignored(content.name)]
    if len(contents) > MAX_MEMBERS:
        raise _too_many()
    names = [content.name for content in contents]
    for content in contents:
        content.check()
    if len(names) > len(set(names)):
        message = "the archive contains two files of one name"
        raise UnreadableFile("malformed_zip", message, expected=EXPECTED_ARCHIVE)
    unpacked = sum(content.size for content in contents)
    check_size(unpacked, limits)
    check_ratio(unpacked, packed, "the archive")
    return sorted(contents, key=lambda content: content.name)


def _check_is_no_document(names: Collection[str]) -> None:
    """Raises UnreadableFile for documents that are archives of their parts."""
    if "[Content_Types].xml" in names:
        is_workbook = any(name.startswith("xl/") for name in names)
        kind = "an Excel workbook (.xlsx)" if is_workbook else "a document of Office"
    elif {"mimetype", "content.xml"}.issubset(names):
        kind = "a document of LibreOffice, such as .ods"
    else:
        return
    message = f"the body is {kind}, not a ZIP archive of files: save it as CSV UTF-8, and send that"
    raise UnreadableFile("unknown_document", message, expected="text/csv")


def count_lines(chunks: FileContent) -> int:
    """Counts the lines, which may end with LF, CR LF or CR."""
    lines, last = 0, b""
    for chunk in chunks:
        lines += chunk.count(b"\n") + chunk.count(b"\r") - chunk.count(b"\r\n")
        if last == b"\r" and chunk.startswith(b"\n"):
            lines -= 1
        last = chunk[-1:]
    return lines + (last not in {b"", b"\n", b"\r"})
