"""A submission's status in an answer: its body, its headers, the id in its path."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple
from uuid import UUID

from falcon.asgi import Response

from api_gateway.answers import Status
from api_gateway.media import JSON, dumps
from enrollment.domain.errors import SubmissionNotFound
from enrollment.domain.model import EPOCH
from schemas.enrollments import EnrollmentJson, dump_enrollment
from schemas.submissions import SubmissionJson, dump_submission, etag, retry_after

#: For so long what was shown of a status is shown again: it says how much time is left.
FRESH = timedelta(seconds=1)
#: The one text of an id that is given out; others that Python reads name nothing.
_CANONICAL = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


@lru_cache(maxsize=1_000)
def submission_id(text: str) -> UUID:
    """The id in a path, often the same again. Raises SubmissionNotFound for what is none."""
    if not _CANONICAL.fullmatch(text):
        raise SubmissionNotFound(text[:100])
    return UUID(text)


def shown_enrollment(status: Status, now: datetime) -> EnrollmentJson | None:
    """The enrollment that goes with a single that is done."""
    kept = status.enrollment
    if kept is None:
        return None
    return dump_enrollment(kept.username, kept.enrollment, status.course, at=now)


def shown_status(status: Status, now: datetime) -> SubmissionJson:
    """The status object."""
    shown = shown_enrollment(status, now)
    return dump_submission(status.submission, now=now, outcome=status.outcome, enrollment=shown)


class Shown(NamedTuple):
    """The status object as it is sent, with what its headers say."""

    tag: str
    #: What stands above it, whether it is sent or not.
    headers: Mapping[str, str]
    body: bytes


class LastShown:
    """The status that was shown last: those who shared the look at it share its JSON too."""

    def __init__(self) -> None:
        self._status: Status | None = None
        self._at = EPOCH
        self._shown = Shown("", {}, b"")

    def of(self, status: Status, now: datetime) -> Shown:
        """The status object; what it says of the time left is a second old at most."""
        if status is not self._status or not now - self._at < FRESH:
            self._status, self._at, self._shown = status, now, _shown(status, now)
        return self._shown


def _shown(status: Status, now: datetime) -> Shown:
    body = shown_status(status, now)
    tag = etag(status.submission, body.get("enrollment"))
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    pause = retry_after(status.submission, now)
    if pause is not None:
        headers["Retry-After"] = str(pause)
    return Shown(tag, headers, dumps(body))


def write_status(
    resp: Response, status: Status, now: datetime, *, code: HTTPStatus = HTTPStatus.OK
) -> None:
    """The status object with its headers."""
    shown = _shown(status, now)
    write_head(resp, shown)
    write_body(resp, shown, code)


def write_head(resp: Response, shown: Shown) -> None:
    """The headers of the status object, whether it is sent or not."""
    resp.set_headers(shown.headers)


def write_body(resp: Response, shown: Shown, code: HTTPStatus = HTTPStatus.OK) -> None:
    """The status object itself."""
    resp.status = code
    resp.content_type = JSON
    resp.data = shown.body
