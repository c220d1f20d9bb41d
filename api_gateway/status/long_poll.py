"""Long polling: waits until a submission has made progress or is finished."""

import time
from collections.abc import Callable

from api_gateway.auth.caller import Caller
from api_gateway.auth.quotas import Quota
from api_gateway.status.queries import Status
from api_gateway.status.status_reader import StatusReader, after_progress, after_timeout
from api_gateway.status.waiters import Waiters
from enrollment.domain.submissions import Submission

#: Seconds after which the status is read again even without a notification.
READ_AGAIN_SECONDS = 15.0

#: Maximum number of clients per process that wait, of all callers.
MAX_LONG_POLLS = 8_000


def long_poll_quota(per_caller: int) -> Quota:
    """Returns the quota of clients that wait for progress."""
    return Quota(
        "long polls",
        setting="ENROLL_MAX_LONG_POLLS_PER_CALLER",
        per_caller=per_caller,
        total=MAX_LONG_POLLS,
    )


async def long_poll(
    status: Status,
    caller: Caller,
    seconds: float,
    *,
    reader: StatusReader,
    waiters: Waiters,
    is_reached: Callable[[Submission], bool] | None = None,
) -> Status:
    """Returns the status once `is_reached` is true, the submission is finished, or time is over.

    Time is over, too, when the process shuts down.

    `status` is the status known so far. Without `is_reached` only the end counts, and the status
    is not read after each progress. Clients that wait for the same submission share one read per
    progress. Raises SubmissionNotFound, DatabaseUnavailable, Overloaded.
    """
    deadline = time.monotonic() + seconds
    while True:
        submission = status.submission
        if submission.finished_at is not None or (is_reached and is_reached(submission)):
            return status
        remaining = deadline - time.monotonic()
        if remaining <= 0 or waiters.is_released:
            return status
        pause = min(remaining, READ_AGAIN_SECONDS)
        if submission.batch_id is not None:
            woken = await waiters.wait_for_batch(submission.batch_id, pause)
        elif is_reached is None:
            woken = await waiters.wait_for_end(submission.id, pause)
        else:
            woken = await waiters.wait_for_progress(submission.id, submission.progress_mark, pause)
        freshness = after_progress(submission) if woken else after_timeout(submission)
        status = await reader.read(submission.id, caller, freshness)
