"""Receives uploads: the body of a request, or the file of a multipart form."""

import io
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import PurePath
from typing import IO, Any, Generic, NamedTuple, TypeVar

from falcon.asgi import Request
from falcon.util.mediatypes import parse_header

from api_gateway.http.fingerprint import start_fingerprint
from api_gateway.http.openedx_body import MULTIPART_FORM
from api_gateway.http.problems import bad_request, instead_of, unsupported
from api_gateway.http.request_body import read_received
from api_gateway.intake.spool import Spooler, UploadForm
from schemas.files.mislabelled import advice_for
from schemas.files.splitter import format_of, type_of_name
from schemas.findings import finding

T = TypeVar("T")

#: Maximum bytes of a file that is not spooled.
MAX_BYTES_IN_MEMORY = 16_384
_MAX_BOUNDARY = 70


class ReceivedUpload(NamedTuple, Generic[T]):
    """A completely received file with its options."""

    file: IO[bytes]
    media_type: str
    gzip: bool
    #: The parsed parameters of the query and of the form.
    params: T
    #: A SHA-256 of the parts that identify the request, without the file.
    digest: Any
    #: Whether the file is short and not on disk.
    is_in_memory: bool = False


@asynccontextmanager
async def receive_upload(
    req: Request, spooler: Spooler, parse: Callable[[Mapping[str, Any]], T]
) -> AsyncIterator[ReceivedUpload[T]]:
    """Yields the file of a request and its options; deletes the file after the block.

    `parse` is called once with all parameters: for a form after the file was received, otherwise
    before. Raises Problem as `parse` and `Spooler` do, and 415 for unsupported media types.
    """
    media_type, options = parse_header(req.content_type or "")
    if media_type.lower() != MULTIPART_FORM:
        params = parse(req.params)
        _check_type(req.content_type or "")
        if (body := await read_received(req, MAX_BYTES_IN_MEMORY)) is not None:
            yield ReceivedUpload(
                io.BytesIO(body),
                req.content_type or "",
                gzip=False,
                params=params,
                digest=start_fingerprint(req),
                is_in_memory=True,
            )
            return
        async with spooler.spool(req) as (file, gzip):
            digest = start_fingerprint(req)
            yield ReceivedUpload(file, req.content_type or "", gzip, params, digest)
        return
    boundary = options.get("boundary", "")
    if not (0 < len(boundary) <= _MAX_BOUNDARY and boundary.isascii()):
        raise bad_request("malformed_form", "The Content-Type of the form has no valid boundary.")
    async with spooler.spool_form(req, boundary) as form:
        yield _from_form(req, form, parse)


def _from_form(
    req: Request, form: UploadForm, parse: Callable[[Mapping[str, Any]], T]
) -> ReceivedUpload[T]:
    fields = {name: value.strip() for name, value in form.fields.items() if value.strip()}
    if repeated := sorted(fields.keys() & req.params.keys()):
        name = repeated[0]
        found = finding(name, fields[name], "duplicate")
        message = f"The option {name[:50]} is given both in the form and in the URL."
        raise bad_request("option_invalid", message, found)
    if not form.file_name and not form.file.seek(0, io.SEEK_END):
        found = finding("file", None, "malformed_form")
        raise bad_request("malformed_form", "No file was chosen: the form is empty.", found)
    gzip = form.file_name.lower().endswith(".gz")
    media_type = (
        type_of_name(PurePath(form.file_name).stem if gzip else form.file_name) or form.media_type
    )
    if format_of(media_type) is None:
        raise unsupported(
            "The file must be CSV, NDJSON, JSON or a ZIP of these, in UTF-8 or CP1252; "
            f"{media_type[:100]!r} is none of them. {advice_for(media_type)}".rstrip()
        )
    digest = start_fingerprint(req)
    digest.update(repr((sorted(fields.items()), media_type, gzip)).encode())
    return ReceivedUpload(form.file, media_type, gzip, parse({**req.params, **fields}), digest)


def _check_type(media_type: str) -> None:
    if format_of(media_type) is None:
        raise unsupported(
            "Send text/csv, application/x-ndjson, application/json, application/zip or a form with "
            f"a file of these, in UTF-8 or CP1252, {instead_of(media_type)}."
            f" {advice_for(media_type)}".rstrip()
        )
