"""`/course/{course_id}`: course details in the form of Open edX; public, and the most read URL."""

from http import HTTPStatus

import falcon
from falcon.asgi import Request, Response

from api_gateway.course_details_cache import CachedDetails, CourseDetailsCache, NotCached
from api_gateway.http.problems import Problem, bad_request
from enrollment.domain.course_keys import parse_course_key

#: Values of `include_expired` that mean no (see "include_expired=0 is false" in
#: docs/openedx-compatibility.md).
_NO = frozenset({"", "0", "false"})
#: HTTP caches may store the response but must revalidate it.
_HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "public, no-cache",
    "Vary": "Accept",
    "Allow": "GET, HEAD, OPTIONS",
}
_NOT_MODIFIED_HEADERS = {name: _HEADERS[name] for name in ("Cache-Control", "Vary", "Allow")}


class CourseDetailsResource:
    """The details of one course in the form of Open edX."""

    def __init__(self, details: CourseDetailsCache) -> None:
        self._details = details

    async def on_get(self, req: Request, resp: Response, course_id: str) -> None:
        """Responds with the details, or 304 if the client has them."""
        key = (course_id, bool(req.query_string) and wants_expired(req))
        entry = self._details.peek(key)
        if isinstance(entry, NotCached):
            entry = await self._load(key)
        if entry is None:
            raise _course_not_found(course_id)
        if_none_match = req.get_header("If-None-Match")
        if if_none_match is not None and matches_tag(if_none_match, entry.etag):
            resp.status = HTTPStatus.NOT_MODIFIED
            resp.set_headers(_NOT_MODIFIED_HEADERS)
        else:
            resp.data = entry.body
            resp.set_headers(_HEADERS)
        resp.set_header("ETag", entry.etag)

    on_head = on_get

    async def _load(self, key: tuple[str, bool]) -> CachedDetails | None:
        if parse_course_key(key[0]) is None:
            raise _course_not_found(key[0])
        return await self._details.get(key)


def wants_expired(req: falcon.Request) -> bool:
    """Returns whether modes past their deadline are requested."""
    value = req.get_param("include_expired", default="")
    return value.lower() not in _NO


def matches_tag(if_none_match: str, etag: str) -> bool:
    """Returns whether an If-None-Match header matches the ETag weakly (RFC 9110, 13.1.2)."""
    if if_none_match == etag:
        return True
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or tags == ["*"]


def _course_not_found(course_id: str) -> Problem:
    return bad_request("course_not_found", f"No course found for course ID '{course_id}'")
