"""A file on its way in: the body of a request, or a field of a browser's form."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import PurePath
from typing import IO, Any, NamedTuple

from falcon.asgi import Request
from falcon.util.mediatypes import parse_header

from api_gateway.headers import fingerprint_head
from api_gateway.problems import Problem, bad_request, unsupported
from api_gateway.spooling import SentForm, Spooling
from schemas.splitter import format_of, type_of_name

FORM = "multipart/form-data"
_MAX_BOUNDARY = 70


class Incoming(NamedTuple):
    """A file that has come in whole."""

    file: IO[bytes]
    media_type: str
    gzip: bool
    #: Options, from the address and from the form.
    given: Mapping[str, Any]
    #: A SHA-256 fed with all but the file that makes the request the same.
    digest: Any


@asynccontextmanager
async def incoming(req: Request, spooling: Spooling) -> AsyncIterator[Incoming]:
    """The file that a request brings; it is gone after the block.

    Raises Problem as Spooling does, and 415 for what is not read here.
    """
    media_type, params = parse_header(req.content_type or "")
    if media_type.lower() != FORM:
        _check_type(req.content_type or "")
        async with spooling.spooled(req) as (file, gzip):
            yield Incoming(file, req.content_type or "", gzip, req.params, fingerprint_head(req))
        return
    boundary = params.get("boundary", "")
    if not (0 < len(boundary) <= _MAX_BOUNDARY and boundary.isascii()):
        raise bad_request("malformed_form", "The Content-Type of the form names no boundary.")
    async with spooling.spooled_form(req, boundary) as form:
        yield _from_form(req, form)


def _from_form(req: Request, form: SentForm) -> Incoming:
    fields = {name: value.strip() for name, value in form.fields.items() if value.strip()}
    if twice := sorted(fields.keys() & req.params.keys()):
        found = {"field": twice[0], "value": fields[twice[0]][:100], "rule": "given once"}
        message = f"The option {twice[0][:50]} is in the form and in the address."
        raise bad_request("option_invalid", message, found)
    gzip = form.name.lower().endswith(".gz")
    media_type = type_of_name(PurePath(form.name).stem if gzip else form.name) or form.media_type
    _check_type(media_type)
    digest = fingerprint_head(req)
    digest.update(repr((sorted(fields.items()), media_type, gzip)).encode())
    return Incoming(form.file, media_type, gzip, {**req.params, **fields}, digest)


def _check_type(media_type: str) -> None:
    if format_of(media_type) is None:
        raise _not_read(media_type)


def _not_read(media_type: str) -> Problem:
    return unsupported(
        "Send text/csv, application/x-ndjson, application/json, application/zip or a form with a "
        f"file of these, in UTF-8 or CP1252, not {media_type[:100]!r}."
    )
