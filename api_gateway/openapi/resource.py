"""`/openapi.json`, `/docs`, `/docs/reasons` and their style sheet: the documentation."""

import gzip
import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from typing import NamedTuple

from falcon.asgi import Request, Response

from api_gateway.http.headers import matches_etag
from api_gateway.http.responses import JSON_TYPE, dumps
from api_gateway.openapi.document import build
from api_gateway.openapi.html_pages import reasons_page
from api_gateway.openapi.pages.reference import reference_page
from api_gateway.openapi.pages.stylesheet import STYLESHEET

_HTML = "text/html; charset=utf-8"
_CSS = "text/css; charset=utf-8"
#: Forbids the page to run anything or to load more than our style sheet, and others to frame it.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_PAGE_HEADERS = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "Cache-Control": "public, no-cache",
    "Vary": "Accept-Encoding",
}


class StaticPage(NamedTuple):
    """A response body that is constant while the process runs."""

    content_type: str
    body: bytes
    etag: str
    gzipped: bytes
    gzipped_etag: str


def static_page(content_type: str, body: bytes) -> StaticPage:
    """Returns the page, also compressed; each form has an ETag that is a hash of its body."""
    gzipped = gzip.compress(body, mtime=0)
    return StaticPage(content_type, body, _etag(body), gzipped, _etag(gzipped))


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _accepts_gzip(req: Request) -> bool:
    """Returns whether Accept-Encoding names gzip without refusing it by `q=0`."""
    for coding in (req.get_header("Accept-Encoding") or "").lower().split(","):
        name, _, quality = coding.replace(" ", "").partition(";")
        if name == "gzip":
            return quality.rstrip("0.") != "q="
    return False


class PageResource:
    """Serves one page, which is rendered on the first request."""

    def __init__(self, render: Callable[[], StaticPage]) -> None:
        self._page = cache(render)

    async def on_get(self, req: Request, resp: Response) -> None:
        """Responds with the page, or 304 if the client has it."""
        page = self._page()
        is_gzipped = _accepts_gzip(req)
        etag = page.gzipped_etag if is_gzipped else page.etag
        resp.set_headers(_PAGE_HEADERS)
        resp.set_header("ETag", etag)
        if matches_etag(req, etag):
            resp.status = HTTPStatus.NOT_MODIFIED
            return
        resp.content_type = page.content_type
        if is_gzipped:
            resp.set_header("Content-Encoding", "gzip")
        resp.data = page.gzipped if is_gzipped else page.body

    on_head = on_get


def documentation(routes: Mapping[str, str], v1: frozenset[str]) -> dict[str, PageResource]:
    """Returns the resources of the documentation by route name."""
    document = cache(lambda: build(routes, v1))
    return {
        "openapi": PageResource(lambda: static_page(JSON_TYPE, dumps(document()))),
        "docs": PageResource(lambda: static_page(_HTML, reference_page(document()).encode())),
        "docs_style": PageResource(lambda: static_page(_CSS, STYLESHEET.encode())),
        "docs_reasons": PageResource(lambda: static_page(_HTML, reasons_page().encode())),
    }
