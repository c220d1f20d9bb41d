"""A submission's status in an answer: its body, its headers, the id in its path."""

import re
from datetime import datetime
from http import HTTPStatus
from typing import Any
from uuid import UUID

from falcon.asgi import Response

from api_gateway.answers import Status
from api_gateway.media import write_json
from enrollment.domain.errors import SubmissionNotFound
from enrollment.domain.submissions import Submission
from schemas.enrollments import dump_enrollment
from schemas.submissions import dump_submission, etag, retry_after

#: The one text of an id that is given out; others that Python reads name nothing.
_CANONICAL = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


def submission_id(text: str) -> UUID:
    """The id in a path. Raises SubmissionNotFound for what is none."""
    if not _CANONICAL.fullmatch(text):
        raise SubmissionNotFound(text[:100])
    return UUID(text)


def shown_enrollment(status: Status, now: datetime) -> dict[str, Any] | None:
    """The enrollment that goes with a single that is done."""
    kept = status.enrollment
    if kept is None:
        return None
    return dump_enrollment(kept.username, kept.enrollment, status.course, at=now)


def shown_status(status: Status, now: datetime) -> dict[str, Any]:
    """The status object."""
    shown = shown_enrollment(status, now)
    return dump_submission(status.submission, now=now, outcome=status.outcome, enrollment=shown)


def write_status(
    resp: Response, status: Status, now: datetime, *, code: HTTPStatus = HTTPStatus.OK
) -> None:
    """The status object with its headers."""
    body = shown_status(status, now)
    write_head(resp, status.submission, body.get("enrollment"), now)
    write_json(resp, body, code)


def write_head(
    resp: Response, submission: Submission, shown: dict[str, Any] | None, now: datetime
) -> str:
    """The headers of the status object, whether it is sent or not; gives its tag."""
    tag = etag(submission, shown)
    resp.set_header("ETag", tag)
    resp.set_header("Cache-Control", "private, no-cache")
    pause = retry_after(submission, now)
    if pause is not None:
        resp.set_header("Retry-After", str(pause))
    return tag
