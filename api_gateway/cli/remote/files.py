"""Files that commands read and write: standard input, the media type by content, downloads."""

import json
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import click

from api_gateway.cli.exit_codes import FileRefused
from api_gateway.cli.output import Command
from api_gateway.cli.progress import format_bytes
from schemas.files.source import without_bom

_JSON_TYPE = "application/json"
NDJSON_TYPE = "application/x-ndjson"
CSV_TYPE = "text/csv"
ZIP_TYPE = "application/zip"
#: Media types that the extension of a file decides; for other files the content does.
_EXTENSIONS = {".json": _JSON_TYPE, ".jsonl": NDJSON_TYPE, ".ndjson": NDJSON_TYPE}
#: Bytes at the start of a file from which its type is detected.
_SAMPLE_BYTES = 1 << 16
_GZIP_MAGIC, _ZIP_MAGIC = b"\x1f\x8b", b"PK\x03\x04"
#: Member that every Office Open XML file (such as .xlsx) begins with.
_WORKBOOK = b"[Content_Types].xml"
#: Members of documents that hold lists.
_LISTS = frozenset({"courses", "enrollments", "entries", "learners"})


class InputFile(NamedTuple):
    """A file to upload: where it is, and what it contains."""

    path: Path
    media_type: str
    is_gzip: bool

    def headers(self) -> dict[str, str]:
        """Returns the headers that describe the contents."""
        encoding = {"Content-Encoding": "gzip"} if self.is_gzip else {}
        return {"Content-Type": self.media_type, **encoding}


def input_argument(command: Command) -> Command:
    """Adds the argument FILE; `-` is standard input."""
    kind = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
    return click.argument("file", type=kind)(command)


def output_option(name: str, *more: str, help: str) -> Callable[[Command], Command]:  # noqa: A002
    """Returns an option for a file to write; its folder is checked before the command runs."""
    kind = click.Path(dir_okay=False, writable=True, path_type=Path)
    return click.option(name, *more, type=kind, callback=check_output, help=help)


def check_output(_ctx: click.Context, _param: click.Parameter, path: Path | None) -> Path | None:
    """Returns the path. Raises BadParameter if no file can be created in its folder."""
    if path is not None and _is_replaceable(path):
        try:
            with tempfile.TemporaryFile(dir=path.parent):
                return path
        except OSError as error:
            message = f"{path} cannot be written: {path.parent}: {error.strerror}"
            raise click.BadParameter(message) from error
    return path


def _is_replaceable(path: Path) -> bool:
    """Returns whether a new file may take the place of a path.

    Devices and pipes may not: /dev/null would become a file, for all programs of the machine.
    """
    return path.is_file() or not path.exists()


@contextmanager
def open_input(file: Path) -> Iterator[InputFile]:
    """Yields the file to upload; standard input and pipes are copied, to be read repeatedly."""
    if file.is_file():
        yield detect(file, file.name)
        return
    with tempfile.NamedTemporaryFile(prefix="enroll-") as copy:
        if str(file) == "-":
            shutil.copyfileobj(sys.stdin.buffer, copy)
        else:
            with file.open("rb") as source:
                shutil.copyfileobj(source, copy)
        copy.flush()
        yield detect(Path(copy.name), file.name)


def detect(path: Path, name: str) -> InputFile:
    """Returns the file with its media type. Raises FileRefused for a workbook."""
    with path.open("rb") as file:
        sample = file.read(_SAMPLE_BYTES)
    is_gzip = sample.startswith(_GZIP_MAGIC)
    if is_gzip:
        sample = _decompress(sample)
        name = name.removesuffix(".gz")
    return InputFile(path, media_type_of(sample, Path(name).suffix.lower()), is_gzip)


def media_type_of(sample: bytes, extension: str) -> str:
    """Returns the media type of a file that begins with `sample`. Raises FileRefused."""
    if sample.startswith(_ZIP_MAGIC):
        if _WORKBOOK in sample[:200]:
            message = "This is a workbook, not text: save the sheet as CSV UTF-8."
            raise FileRefused(message)
        return ZIP_TYPE
    text = sample.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"["):
        return _JSON_TYPE
    if extension in _EXTENSIONS:
        return _EXTENSIONS[extension]
    return _object_type(text) if text.startswith(b"{") else CSV_TYPE


def _object_type(text: bytes) -> str:
    """Returns the type of a text that begins with an object: one object a line, or a document."""
    first, _, rest = text.partition(b"\n")
    try:
        members = json.loads(first)
    except ValueError:
        return _JSON_TYPE  # the object continues on the next line
    if rest.lstrip().startswith(b"{") or not _LISTS & members.keys():
        return NDJSON_TYPE
    return _JSON_TYPE


def _decompress(sample: bytes) -> bytes:
    """Returns the start of the decompressed contents; damage is left to the service to report."""
    try:
        return zlib.decompressobj(wbits=31).decompress(sample, _SAMPLE_BYTES)
    except zlib.error:
        return b""


def save_stream(chunks: Iterator[bytes], output: Path | None) -> None:
    """Writes the chunks to stdout, or atomically to a file, and reports the file on stderr.

    Devices and pipes are written to as they are. A CSV file begins with a byte order mark for
    spreadsheets, which programs that read from stdout do not expect.
    """
    size = 0
    is_atomic = output is not None and _is_replaceable(output)
    with click.open_file(str(output or "-"), "wb", atomic=is_atomic) as target:
        for chunk in without_bom(chunks) if output is None else chunks:
            size += len(chunk)
            target.write(chunk)
    if output is not None:
        click.echo(f"Written: {output} ({format_bytes(size)}).", err=True)
