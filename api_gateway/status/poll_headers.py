"""Polling of a submission: its ETag, a token of its progress, and when to ask again."""

from datetime import datetime
from hashlib import sha256

import orjson

from enrollment.domain.codes import State
from enrollment.domain.submissions import Submission
from schemas.enrollments import EnrollmentJson

#: Bounds of `Retry-After`, in seconds.
_MIN_RETRY_AFTER, _MAX_RETRY_AFTER = 1, 30
#: Outcomes per second that are assumed before there is a measured rate.
_ASSUMED_ROWS_PER_SECOND = 10_000


def submission_etag(submission: Submission, enrollment: EnrollmentJson | None = None) -> str:
    """Returns a weak ETag (RFC 9110, 8.8.1), which changes with outcomes and not with time.

    It covers the enrollment of a single request, which may change after the outcome.
    """
    digest = "" if enrollment is None else f"-{sha256(orjson.dumps(enrollment)).hexdigest()[:16]}"
    return f'W/"{progress_token(submission)}{digest}"'


def progress_token(submission: Submission) -> str:
    """Returns a token that differs between any two stages of a submission's progress."""
    cancelling = "c" if submission.cancel_asked_at else ""
    return f"{submission.state.value}-{submission.tally.completed}{cancelling}"


def retry_after_seconds(submission: Submission, now: datetime) -> int | None:
    """Returns the seconds until the next poll, more for more remaining work; None if finished."""
    if submission.state in {State.DONE, State.CANCELLED}:
        return None
    eta = submission.eta_seconds(now)
    seconds = submission.pending // _ASSUMED_ROWS_PER_SECOND if eta is None else eta // 2
    return max(_MIN_RETRY_AFTER, min(_MAX_RETRY_AFTER, seconds))
