"""Fields and credentials of a token request (RFC 6749, section 2.3.1), and its errors (5.2)."""

import base64
import binascii
import io
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote_plus

from falcon.asgi import Request
from falcon.media.multipart import MultipartForm, MultipartParseError, MultipartParseOptions
from falcon.util.mediatypes import parse_header

from api_gateway.http.problems import Problem
from api_gateway.http.request_body import check_is_json, parse_json, read_body

#: Maximum bytes of the body, and number of its fields.
MAX_TOKEN_REQUEST_BYTES = 16_384
MAX_TOKEN_REQUEST_FIELDS = 50
_MAX_BOUNDARY = 70
_URLENCODED = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"
#: The characters of an `error_description` that RFC 6749 does not permit, and what is sent.
_UNPERMITTED = str.maketrans({'"': "'", "\\": "/"})


class ClientCredentials(NamedTuple):
    """A client id and its secret, or the two readings of a secret in Basic."""

    client_id: str
    secrets: tuple[str, ...]


def oauth_problem(
    error: str, description: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST
) -> Problem:
    """Returns a problem with the members of RFC 6749; no text may have a secret."""
    return _with_error(Problem(status, error, description), error)


def _with_error(problem: Problem, error: str) -> Problem:
    text = problem.detail.translate(_UNPERMITTED).encode("ascii", "replace").decode()
    problem.members |= {"error": error, "error_description": text}
    return problem


async def read_fields(req: Request) -> dict[str, str]:
    """Reads a form, urlencoded or multipart, or a JSON object of texts.

    Raises Problem 400, 408, 413, 415.
    """
    try:
        body = await read_body(req, MAX_TOKEN_REQUEST_BYTES)
        pairs = _parse(req, body)
    except Problem as problem:
        raise _with_error(problem, "invalid_request") from problem
    except (MultipartParseError, ValueError) as error:
        raise oauth_problem("invalid_request", "The body is not a form in UTF-8.") from error
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise oauth_problem("invalid_request", "A field of the form is given twice.")
    return fields


def _parse(req: Request, body: bytes) -> list[tuple[str, str]]:
    """Returns the fields. Raises Problem, MultipartParseError, ValueError."""
    media_type, options = parse_header(req.content_type or "")
    kind = media_type.lower()
    if kind == _URLENCODED or not (kind or body):
        return parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_TOKEN_REQUEST_FIELDS,
        )
    if kind == _MULTIPART:
        boundary = str(options.get("boundary", ""))[:_MAX_BOUNDARY].encode("ascii")
        parts = MultipartForm(io.BytesIO(body), boundary, len(body), MultipartParseOptions())
        return [(part.name or "", part.get_data().decode()) for part in parts]
    check_is_json(req, also=f"{_URLENCODED}, {_MULTIPART}")
    members = parse_json(body)
    if not isinstance(members, dict) or not all(isinstance(it, str) for it in members.values()):
        raise oauth_problem("invalid_request", "The body must be an object of texts.")
    return list(members.items())


def client_credentials(req: Request, fields: dict[str, str]) -> ClientCredentials | None:
    """Returns the credentials, in the form or in Basic; None without.

    Raises Problem 400 for a malformed header, and for two credentials that differ.
    """
    in_header = _basic_credentials(req.get_header("Authorization") or "")
    client_id, secret = fields.get("client_id", ""), fields.get("client_secret", "")
    if in_header is None:
        return ClientCredentials(client_id, (secret,)) if client_id and secret else None
    if client_id not in {"", in_header.client_id} or secret not in {"", *in_header.secrets}:
        text = "The client is another one in Authorization than in the body."
        raise oauth_problem("invalid_request", text)
    return in_header


def _basic_credentials(header: str) -> ClientCredentials | None:
    """Parses Basic; other schemes are no client's. Raises Problem 400 for a malformed header.

    RFC 6749 encodes id and secret like a form, which many clients do not do: both are read.
    """
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise oauth_problem("invalid_request", "Authorization: Basic is malformed.") from error
    client_id, _, secret = decoded.partition(":")
    if not (client_id and secret):
        raise oauth_problem("invalid_request", "Authorization: Basic has no id and secret.")
    return ClientCredentials(unquote_plus(client_id), (secret, unquote_plus(secret)))
