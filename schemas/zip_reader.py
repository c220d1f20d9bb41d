"""The outside of a ZIP archive: which files are in it, and their bytes, whatever is done to it."""

import errno
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import IO

from schemas.source import (
    CHUNK_BYTES,
    FREE_BYTES,
    MAX_RATIO,
    FileTooLarge,
    Limits,
    Place,
    UnreadableFile,
    check_size,
)
from schemas.splitter import ZIP, format_of, type_of_name

#: Files of one archive that are read.
MAX_MEMBERS = 100
#: Bytes of the list of files that an archive ends with.
_MAX_DIRECTORY = 1_000_000
#: Characters of the name of one of them.
MAX_MEMBER_NAME = 255
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
EXPECTED = "a ZIP archive of .csv, .txt, .ndjson, .jsonl or .json files"


def opened(file: IO[bytes]) -> zipfile.ZipFile:
    """The archive. Raises UnreadableFile for what is none, FileTooLarge for too many files."""
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
        raise UnreadableFile("malformed_zip", message, expected=EXPECTED)
    if int.from_bytes(tail[at + 12 : at + 16], "little") > _MAX_DIRECTORY:
        raise _too_many()


def _malformed(why: str) -> UnreadableFile:
    message = f"the body is no ZIP archive, or is damaged: {why[:200]}"
    return UnreadableFile("malformed_zip", message, place=Place(offset=0), expected=EXPECTED)


def _too_many() -> FileTooLarge:
    return FileTooLarge(f"an archive may have {MAX_MEMBERS} files")


def checked(archive: zipfile.ZipFile, limits: Limits, packed: int) -> Sequence[zipfile.ZipInfo]:
    """The files that are looked at, in the order of their names.

    Raises UnreadableFile, FileTooLarge.
    """
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
        raise UnreadableFile("malformed_zip", message, expected=EXPECTED)
    unpacked = sum(info.file_size for info in infos)
    check_size(unpacked, limits)
    if unpacked > max(FREE_BYTES, MAX_RATIO * packed):
        message = f"the archive unpacks to more than {MAX_RATIO} times its size"
        raise FileTooLarge(message)
    return sorted(infos, key=lambda info: info.filename)


def _check_is_sound(info: zipfile.ZipInfo) -> None:
    """Raise UnreadableFile for what the library itself stumbles over."""
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
            f"the name {shown(name)!r}… of a file in the archive is longer than "
            f"{MAX_MEMBER_NAME} characters"
        )
        raise UnreadableFile("unknown_document", message, expected="a shorter name")
    if not name.isprintable() or name.startswith("/") or ".." in name.split("/") or "\\" in name:
        message = f"the archive holds a file with the name {shown(name)!r}"
    elif info.flag_bits & _ENCRYPTED:
        message = f"{shown(name)} is encrypted"
    elif info.compress_type not in _METHODS:
        message = f"{shown(name)} is compressed in a way that is not read here"
    else:
        return
    raise UnreadableFile("malformed_zip", message, expected=EXPECTED)


def shown(name: str) -> str:
    """The name of a file as an error message may give it back."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in name[:100])


class Content:
    """The content of one file, every time from its first byte."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        self._archive = archive
        self._info = info
        self.name = info.filename

    @property
    def media_type(self) -> str:
        """What its name says. Raises UnreadableFile where it says nothing."""
        media_type = type_of_name(self.name)
        if media_type is not None and format_of(media_type) != ZIP:
            return media_type
        message = f"what is in {shown(self.name)} cannot be told from its name"
        raise UnreadableFile("unknown_document", message, expected=EXPECTED)

    def __iter__(self) -> Iterator[bytes]:
        """The chunks."""
        try:
            with self._archive.open(self._info) as content:
                while chunk := content.read(CHUNK_BYTES):
                    yield chunk
        except _DAMAGED as error:
            message = f"{shown(self.name)} is damaged in the archive: {error}"
            raise UnreadableFile("malformed_zip", message, expected=EXPECTED) from error
        except OSError as error:
            _check_is_damage(error)
            message = f"{shown(self.name)} is damaged in the archive: it begins before it"
            raise UnreadableFile("malformed_zip", message, expected=EXPECTED) from error


def lines_in(chunks: Content) -> int:
    """How many lines there are, however they end."""
    lines, last = 0, b""
    for chunk in chunks:
        lines += chunk.count(b"\n") + chunk.count(b"\r") - chunk.count(b"\r\n")
        if last == b"\r" and chunk.startswith(b"\n"):
            lines -= 1
        last = chunk[-1:]
    return lines + (last not in {b"", b"\n", b"\r"})
