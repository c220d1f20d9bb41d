"""Validated access to a ZIP archive: the list of its files, and their content."""

import errno
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import IO

from schemas.files.source import (
    CHUNK_BYTES,
    MAX_RATIO,
    MIN_RATIO_BYTES,
    FilePosition,
    FileTooLarge,
    Limits,
    UnreadableFile,
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
_END_64 = b"PK\x06\x07"
_END_BYTES = 22
_END_64_BYTES = 20
_MAX_COMMENT = 65_535
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED = 0x1
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
    begin = max(0, size - _MAX_COMMENT - _END_BYTES - _END_64_BYTES)
    file.seek(begin)
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise _malformed("its end is missing: send the file again")
    if tail[max(0, at - _END_64_BYTES) : at].startswith(_END_64):
        message = "ZIP64 archives are not supported: send fewer or shorter files"
        raise UnreadableFile("malformed_zip", message, expected=EXPECTED_ARCHIVE)
    if int.from_bytes(tail[at + 12 : at + 16], "little") > _MAX_DIRECTORY:
        raise _too_many()


def _malformed(reason: str) -> UnreadableFile:
    message = f"the body is not a ZIP archive, or is damaged: {reason[:200]}"
    return UnreadableFile(
        "malformed_zip", message, position=FilePosition(offset=0), expected=EXPECTED_ARCHIVE
    )


def _too_many() -> FileTooLarge:
    return FileTooLarge(f"an archive may have {MAX_MEMBERS} files")


def checked_files(
    archive: zipfile.ZipFile, limits: Limits, packed: int
) -> Sequence[zipfile.ZipInfo]:
    """Returns the files to be read, in the order of their names.

    Raises UnreadableFile, FileTooLarge.
    """
    for info in archive.infolist():
        _check_is_readable(info)
    infos = [info for info in archive.infolist() if not _is_ignored(info)]
    if len(infos) > MAX_MEMBERS:
        raise _too_many()
    names = [info.filename for info in infos]
    for info in infos:
        _check_member(info)
    if len(names) > len(set(names)):
        message = "the archive contains two files of one name"
        raise UnreadableFile("malformed_zip", message, expected=EXPECTED_ARCHIVE)
    unpacked = sum(info.file_size for info in infos)
    check_size(unpacked, limits)
    if unpacked > max(MIN_RATIO_BYTES, MAX_RATIO * packed):
        message = f"the archive decompresses to more than {MAX_RATIO} times its size"
        raise FileTooLarge(message)
    return sorted(infos, key=lambda info: info.filename)


def _check_is_readable(info: zipfile.ZipInfo) -> None:
    """Raises UnreadableFile for entries that `zipfile` itself cannot handle."""
    if not info.filename or "\0" in info.orig_filename:
        raise _malformed("one of its files has no name, or a NUL in it")
    if info.header_offset < 0:
        raise _malformed("one of its files begins before the archive does")


def _is_ignored(info: zipfile.ZipInfo) -> bool:
    """Returns whether an entry is a folder, or a hidden file of an operating system."""
    last = info.filename.rsplit("/", 1)[-1]
    return info.is_dir() or last.startswith(".") or info.filename.startswith("__MACOSX/")


def _check_member(info: zipfile.ZipInfo) -> None:
    name = info.filename
    if len(name) > MAX_MEMBER_NAME:
        message = (
            f"the name {printable(name)!r}… of a file in the archive is longer than "
            f"{MAX_MEMBER_NAME} characters"
        )
        raise UnreadableFile("unknown_document", message, expected="a shorter name")
    if not name.isprintable() or name.startswith("/") or ".." in name.split("/") or "\\" in name:
        message = f"the archive contains a file with the name {printable(name)!r}"
    elif info.flag_bits & _ENCRYPTED:
        message = f"{printable(name)} is encrypted"
    elif info.compress_type not in _METHODS:
        message = f"{printable(name)} uses a compression method that is not supported"
    else:
        return
    raise UnreadableFile("malformed_zip", message, expected=EXPECTED_ARCHIVE)


def printable(name: str) -> str:
    """Returns the name of a file as an error message may show it."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in name[:100])


class FileContent:
    """The content of one file; every iteration begins at its first byte."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        self._archive = archive
        self._info = info
        self.name = info.filename

    @property
    def media_type(self) -> str:
        """The media type of its extension. Raises UnreadableFile for an unknown one."""
        media_type = type_of_name(self.name)
        if media_type is not None and format_of(media_type) != ZIP:
            return media_type
        message = f"the format of {printable(self.name)} is not known from its extension"
        raise UnreadableFile("unknown_document", message, expected=EXPECTED_ARCHIVE)

    def __iter__(self) -> Iterator[bytes]:
        """Yields the chunks."""
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


def count_lines(chunks: FileContent) -> int:
    """Counts the lines, which may end with LF, CR LF or CR."""
    lines, last = 0, b""
    for chunk in chunks:
        lines += chunk.count(b"\n") + chunk.count(b"\r") - chunk.count(b"\r\n")
        if last == b"\r" and chunk.startswith(b"\n"):
            lines -= 1
        last = chunk[-1:]
    return lines + (last not in {b"", b"\n", b"\r"})
