"""Following a submission: waiting until it moves, or is done."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from api_gateway import answers
from api_gateway.answers import Status
from api_gateway.callers import Caller
from api_gateway.records import Records
from api_gateway.waiting import Waiters
from enrollment.domain.submissions import Submission

#: Seconds after which who waits looks by itself, whoever should have been heard of.
LOOK_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Following:
    """Waits for submissions, for whoever asked."""

    records: Records
    waiters: Waiters

    async def until(
        self,
        is_reached: Callable[[Submission], bool],
        status: Status,
        caller: Caller,
        seconds: float,
    ) -> Status:
        """How far a submission is once it is there, or is finished, or the time is over.

        ``status`` is what is known of it already.
        """
        deadline = time.monotonic() + seconds
        while True:
            submission = status.submission
            if submission.finished_at is not None or is_reached(submission):
                return status
            left = deadline - time.monotonic()
            if left <= 0:
                return status
            await self.news_of(submission, min(left, LOOK_SECONDS))
            status = await self.records.read(answers.status, submission.id, caller)

    async def news_of(self, submission: Submission, seconds: float) -> None:
        """Return when the submission moved, or when the time is over."""
        if submission.batch_id is None:
            await self.waiters.until_moved(submission.id, submission.mark, seconds)
        else:
            await self.waiters.until_answered(submission.batch_id, seconds)
