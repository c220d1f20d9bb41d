"""How far a submission is, told as it moves: server-sent events, one for each state seen.

Nothing is queued for anybody: each event says how things stand when it is sent, so who reads
slowly is told less often, and who comes back is told what is true now.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from http import HTTPStatus

import structlog
from falcon.asgi import Request, Response, SSEvent

from api_gateway.answers import Status
from api_gateway.callers import Caller
from api_gateway.following import Following
from api_gateway.media import GONE, ON_GONE, dumps
from api_gateway.moves import Moves
from api_gateway.problems import Problem, unavailable
from api_gateway.resources.statuses import shown_status
from api_gateway.waiting import is_set
from enrollment.domain.errors import EnrollmentError, SubmissionNotFound
from enrollment.domain.submissions import Submission
from schemas.submissions import position

log = structlog.get_logger()

EVENTS = "text/event-stream"
#: Seconds without news after which a comment is sent, so that everybody between knows.
HEARTBEAT_SECONDS = 15.0
#: Seconds after which the caller is looked at again: a stream ends when its key or token does.
CHECK_SECONDS = 3.0
#: Seconds between two events at least: a file may move many times a second.
PAUSE_SECONDS = 0.25
#: Milliseconds after which a client that was cut off is to come back.
_COME_BACK = 2_000
#: Streams that one caller may have open in one process.
MAX_STREAMS = 2_000

#: Who a request is from now; raises Problem for credentials that are not valid any more.
Identify = Callable[[Request], Awaitable[Caller | None]]


class Progress:
    """Tells the progress of submissions to those who keep their connection open.

    One per event loop.
    """

    def __init__(
        self,
        *,
        following: Following,
        now: Callable[[], datetime],
        identify: Identify,
    ) -> None:
        self.following = following
        self.now = now
        self.identify = identify
        self.moves = Moves(following.records)
        #: Streams open, by caller.
        self.streams: Counter[str] = Counter()

    def answer(self, req: Request, resp: Response, status: Status) -> None:
        """Stream what becomes of a submission; 204 for who heard its end already.

        Raises Problem 503 where the caller has too many streams open.
        """
        caller: Caller = req.context.caller
        heard = req.get_header("Last-Event-ID")
        resp.set_header("Cache-Control", "no-store")
        if status.submission.finished_at is not None and heard == position(status.submission):
            resp.status = HTTPStatus.NO_CONTENT  # a browser then stops coming back
            return
        if self.streams[caller.name] >= MAX_STREAMS:
            raise unavailable("Too many event streams are open; poll, or try again later.")
        resp.set_header("X-Accel-Buffering", "no")  # proxies pass on each event as it comes
        resp.sse = self._counted(caller, Stream(self, req, status, heard))

    async def _counted(self, caller: Caller, stream: "Stream") -> AsyncIterator[SSEvent | None]:
        self.streams[caller.name] += 1
        try:
            async for event in stream.events():
                yield event
        finally:
            self.streams[caller.name] -= 1
            if not self.streams[caller.name]:
                del self.streams[caller.name]


class Stream:
    """One client that is told how far one submission is."""

    def __init__(self, progress: Progress, req: Request, status: Status, heard: str | None) -> None:
        self._progress = progress
        self._req = req
        self._caller: Caller = req.context.caller
        self._first = status
        self._heard = heard

    @property
    def _is_gone(self) -> bool:
        return GONE in self._req.scope

    async def events(self) -> AsyncIterator[SSEvent | None]:
        """An event for each state that is not the last one heard; None to show signs of life."""
        latest: Status | None = self._first
        while latest is not None and not self._is_gone:
            submission = latest.submission
            if position(submission) == self._heard:
                yield None
            else:
                self._heard = position(submission)
                yield self._event(latest)
                if submission.finished_at is not None:
                    return
                await asyncio.sleep(PAUSE_SECONDS)
            latest = await self._next(latest)

    def _event(self, status: Status) -> SSEvent:
        return SSEvent(
            event="progress" if status.submission.finished_at is None else "done",
            event_id=position(status.submission),
            retry=_COME_BACK,
            data=dumps(shown_status(status, self._progress.now())),
        )

    async def _next(self, known: Status) -> Status | None:
        """How far it is once it moved, or after a while; None where nobody is to be told.

        While it cannot be read, or the caller cannot be looked at, it is as before.
        """
        try:
            has_moved = await self._wait(known.submission)
            if self._is_gone:
                return None
            return await self._progress.moves.after(known, self._caller, has_moved=has_moved)
        except (EnrollmentError, Problem) as error:
            is_over = isinstance(error, SubmissionNotFound) or _is_refusal(error)
            event = "progress.ended" if is_over else "progress.not_read"
            log.info(event, submission_id=str(known.submission.id), because=str(error))
            if is_over:
                return None
        await asyncio.sleep(PAUSE_SECONDS)
        return known

    async def _wait(self, submission: Submission) -> bool:
        """Whether it moved, which is waited for no longer than until a sign of life is due."""
        until = time.monotonic() + HEARTBEAT_SECONDS
        with self._progress.following.waiters.watching(submission) as moved:
            self._req.scope[ON_GONE] = moved.set
            while not self._is_gone:
                left = until - time.monotonic()
                has_moved = await is_set(moved, min(left, CHECK_SECONDS))
                await self._check_caller()
                if has_moved or left <= CHECK_SECONDS:
                    return has_moved
        return False

    async def _check_caller(self) -> None:
        """Raises Problem, or SubmissionNotFound for who is not who they were."""
        if await self._progress.identify(self._req) != self._caller:
            raise SubmissionNotFound(str(self._first.submission.id))


def _is_refusal(error: Exception) -> bool:
    """Whether the credentials are not valid any more, not only out of reach to be looked at."""
    return isinstance(error, Problem) and error.status != HTTPStatus.SERVICE_UNAVAILABLE
