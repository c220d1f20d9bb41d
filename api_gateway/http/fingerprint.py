"""Fingerprints of requests: two requests with one Idempotency-Key are the same if these are equal.

Method, path, query, media type and the decoded body count. The order of query parameters, and the
order of members and the white space of JSON and of forms, do not.
"""

import hashlib
from urllib.parse import parse_qsl

from falcon.asgi import Request

from api_gateway.http.responses import JSON_TYPE
from schemas.encoding.canonical_json import canonical_json, canonical_json_text


def media_type_of(req: Request) -> str:
    """Returns the media type of the body, in lower case and without parameters."""
    return (req.content_type or "").partition(";")[0].strip().lower()


def start_fingerprint(req: Request) -> "hashlib._Hash":
    """Returns a SHA-256 of the parts that identify the request, without the body."""
    query = sorted(parse_qsl(req.query_string, keep_blank_values=True))
    parts = repr((req.method, req.path, query, media_type_of(req))).encode()
    return hashlib.sha256(parts + b"\0")


def fingerprint_of_value(req: Request, value: object) -> bytes:
    """Returns the fingerprint of a request with a body that was decoded from JSON or a form."""
    digest = start_fingerprint(req)
    digest.update(canonical_json(value))
    return digest.digest()


def fingerprint_of_body(req: Request, body: bytes) -> bytes:
    """Returns the fingerprint of a request with a body as sent."""
    digest = start_fingerprint(req)
    is_json = media_type_of(req) == JSON_TYPE
    digest.update(canonical_json_text(body) if is_json else body)
    return digest.digest()
