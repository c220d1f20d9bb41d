"""Status responses: JSON, headers, parsing of the id in the path."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple
from uuid import UUID

from falcon.asgi import Response

from api_gateway.http.responses import JSON_TYPE, dumps
from api_gateway.status.poll_headers import retry_after_seconds, submission_etag
from api_gateway.status.queries import Status
from enrollment.domain.errors import SubmissionNotFound
from enrollment.domain.model import EPOCH
from schemas.enrollments import EnrollmentJson, dump_enrollment
from schemas.submissions import (
    SUBMISSIONS_PATH,
    SubmissionJson,
    dump_submission,
)

#: Maximum age of a rendered status: it contains the estimated remaining time.
MAX_RENDER_AGE = timedelta(seconds=1)
#: The canonical form of ids; `UUID` parses other forms too, which are rejected.
_CANONICAL = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


@lru_cache(maxsize=1_000)
def parse_submission_id(text: str) -> UUID:
    """Parses the id in a path; cached, as clients poll. Raises SubmissionNotFound."""
    if not _CANONICAL.fullmatch(text):
        raise SubmissionNotFound(text[:100])
    return UUID(text)


def render_enrollment(status: Status, now: datetime) -> EnrollmentJson | None:
    """Renders the enrollment of a completed single request; None without one."""
    listed = status.enrollment
    if listed is None:
        return None
    return dump_enrollment(listed.username, listed.enrollment, status.course, at=now)


def render_status(status: Status, now: datetime) -> SubmissionJson:
    """Renders the status as a JSON object."""
    enrollment = render_enrollment(status, now)
    return dump_submission(
        status.submission, now=now, outcome=status.outcome, enrollment=enrollment
    )


class RenderedStatus(NamedTuple):
    """A rendered status: ETag, all headers, body."""

    etag: str
    headers: Mapping[str, str]
    body: bytes


class RenderCache:
    """Caches the last rendered status, for clients that shared a read."""

    def __init__(self) -> None:
        self._status: Status | None = None
        self._rendered_at = EPOCH
        self._rendered = RenderedStatus("", {}, b"")

    def get(self, status: Status, now: datetime) -> RenderedStatus:
        """Returns the rendered status, at most `MAX_RENDER_AGE` old."""
        if status is not self._status or not now - self._rendered_at < MAX_RENDER_AGE:
            self._status, self._rendered_at, self._rendered = status, now, _render(status, now)
        return self._rendered


def _render(status: Status, now: datetime) -> RenderedStatus:
    body = render_status(status, now)
    tag = submission_etag(status.submission, body.get("enrollment"))
    headers = {"ETag": tag}
    pause = retry_after_seconds(status.submission, now)
    if pause is not None:
        headers["Retry-After"] = str(pause)
    return RenderedStatus(tag, headers, dumps(body))


def with_link_token(
    rendered: RenderedStatus, submission_id: UUID, token: str | None
) -> RenderedStatus:
    """Returns the rendered status with a token in its link to the events; as it is without one.

    The link is replaced in the body, which clients share otherwise. No text of a client can look
    like it: quotes in a string are escaped.
    """
    if token is None:
        return rendered
    link = f'"events":"{events_path(submission_id)}'.encode()
    return rendered._replace(
        body=rendered.body.replace(link, b"%b?token=%b" % (link, token.encode()), 1)
    )


def events_path(submission_id: UUID) -> str:
    """Returns the path of the event stream of a submission."""
    return f"{SUBMISSIONS_PATH}/{submission_id}/events"


def write_status(
    resp: Response,
    status: Status,
    now: datetime,
    *,
    code: HTTPStatus = HTTPStatus.OK,
    token: str | None = None,
) -> None:
    """Writes the status with its headers; `token` is for the link to its events."""
    rendered = with_link_token(_render(status, now), status.submission.id, token)
    write_headers(resp, rendered)
    write_body(resp, rendered, code)


def write_headers(resp: Response, rendered: RenderedStatus) -> None:
    """Writes the headers, which a 304 response has too."""
    resp.set_headers(rendered.headers)


def write_body(resp: Response, rendered: RenderedStatus, code: HTTPStatus = HTTPStatus.OK) -> None:
    """Writes the body."""
    resp.status = code
    resp.content_type = JSON_TYPE
    resp.data = rendered.body
