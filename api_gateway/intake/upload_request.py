"""Receives uploads: the body of a request, or the file in a browser's form."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import PurePath
from typing import IO, Any, Generic, NamedTuple, TypeVar

from falcon.asgi import Request
from falcon.util.mediatypes import parse_header

from api_gateway.http.headers import fingerprint_head
from api_gateway.http.problems import bad_request, unsupported
from api_gateway.intake.spool import Spooler, UploadForm
from schemas.files.splitter import format_of, type_of_name
from schemas.findings import finding

T = TypeVar("T")

FORM = "multipart/form-data"
_MAX_BOUNDARY = 70


class ReceivedUpload(NamedTuple, Generic[T]):
    """A file received completely, and its options."""

    file: IO[bytes]
    media_type: str
    gzip: bool
    #: The parsed parameters, of the query and of the form.
    params: T
    #: A SHA-256 fed with all that makes the request the same, except the file.
    digest: Any


@asynccontextmanager
async def receive_upload(
    req: Request, spooler: Spooler, parse: Callable[[Mapping[str, Any]], T]
) -> AsyncIterator[ReceivedUpload[T]]:
    """Receive the file of a request; it is deleted after the block.

    `parse` is called once with all parameters: before the file is received if they are all in
    the query, otherwise with those of the form. Raises what `parse` raises, Problem as Spooler
    does, and Problem 415 for media types that are not supported.
    """
    media_type, options = parse_header(req.content_type or "")
    if media_type.lower() != FORM:
        params = parse(req.params)
        _check_type(req.content_type or "")
        async with spooler.spool(req) as (file, gzip):
            digest = fingerprint_head(req)
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
    if twice := sorted(fields.keys() & req.params.keys()):
        found = finding(twice[0], fields[twice[0]], "duplicate")
        message = f"The option {twice[0][:50]} is given both in the form and in the URL."
        raise bad_request("option_invalid", message, found)
    gzip = form.name.lower().endswith(".gz")
    media_type = type_of_name(PurePath(form.name).stem if gzip else form.name) or form.media_type
    _check_type(media_type)
    digest = fingerprint_head(req)
    digest.update(repr((sorted(fields.items()), media_type, gzip)).encode())
    return ReceivedUpload(form.file, media_type, gzip, parse({**req.params, **fields}), digest)


def _check_type(media_type: str) -> None:
    if format_of(media_type) is None:
        raise unsupported(
            "Send text/csv, application/x-ndjson, application/json, application/zip or a form with "
            f"a file of these, in UTF-8 or CP1252, not {media_type[:100]!r}."
        )
