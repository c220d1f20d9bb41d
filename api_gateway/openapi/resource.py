"""``/openapi.json``, ``/docs``, ``/docs/reasons``: the documentation of the API."""

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from typing import NamedTuple

from falcon.asgi import Request, Response

from api_gateway.http.headers import matches_etag
from api_gateway.http.responses import JSON_TYPE, dumps
from api_gateway.openapi.document import build
from api_gateway.openapi.html_pages import index_page, reasons_page

_HTML = "text/html; charset=utf-8"
#: The page loads nothing, runs nothing, and cannot be framed.
_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_SAFE = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "public, no-cache",
}


class StaticPage(NamedTuple):
    """A body that does not change while the process runs."""

    content_type: str
    body: bytes
    etag: str


def page(content_type: str, body: bytes) -> StaticPage:
    """The page, with an ETag made of its contents."""
    return StaticPage(content_type, body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


class PageResource:
    """One page, made on the first request."""

    def __init__(self, make: Callable[[], StaticPage]) -> None:
        self._page = cache(make)

    async def on_get(self, req: Request, resp: Response) -> None:
        """The page, or 304 if it has not changed."""
        shown = self._page()
        resp.set_headers(_SAFE)
        resp.set_header("ETag", shown.etag)
        if matches_etag(req, shown.etag):
            resp.status = HTTPStatus.NOT_MODIFIED
            return
        resp.content_type = shown.content_type
        resp.data = shown.body

    on_head = on_get


def documentation(routes: Mapping[str, str], v1: frozenset[str]) -> dict[str, PageResource]:
    """The resources that document the API, by route name."""
    document = cache(lambda: build(routes, v1))
    return {
        "openapi": PageResource(lambda: page(JSON_TYPE, dumps(document()))),
        "docs": PageResource(lambda: page(_HTML, index_page(document()).encode())),
        "docs_reasons": PageResource(lambda: page(_HTML, reasons_page().encode())),
    }
