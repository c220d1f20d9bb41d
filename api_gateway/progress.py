"""How far a submission is, told as it moves: server-sent events, one for each state seen.

Nothing is queued for anybody: each event says how things stand when it is sent, so who reads
slowly is told less often, and who comes back is told what is true now.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus

import structlog
from falcon.asgi import Request, Response, SSEvent

from api_gateway import answers
from api_gateway.answers import Status
from api_gateway.callers import Caller
from api_gateway.following import Following
from api_gateway.media import GONE, ON_GONE, dumps
from api_gateway.problems import unavailable
from api_gateway.resources.statuses import shown_status
from enrollment.domain.errors import EnrollmentError, SubmissionNotFound
from schemas.submissions import position

log = structlog.get_logger()

EVENTS = "text/event-stream"
#: Seconds without news after which a comment is sent, so that everybody between knows.
HEARTBEAT_SECONDS = 15.0
#: Seconds between two events at least: a file may move many times a second.
PAUSE_SECONDS = 0.25
#: Milliseconds after which a client that was cut off is to come back.
_COME_BACK = 2_000
#: Streams that one caller may have open in one process.
MAX_STREAMS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Tells the progress of submissions to those who keep their connection open."""

    following: Following
    now: Callable[[], datetime]
    #: Streams open, by caller.
    streams: Counter[str] = field(default_factory=Counter)

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
        resp.sse = self._counted(req, status, caller, heard)

    async def _counted(
        self, req: Request, status: Status, caller: Caller, heard: str | None
    ) -> AsyncIterator[SSEvent | None]:
        key = status.submission.batch_id or status.submission.id
        req.scope[ON_GONE] = lambda: self.following.waiters.wake([key])
        self.streams[caller.name] += 1
        try:
            async for event in self.events(status, caller, heard, lambda: GONE in req.scope):
                yield event
        finally:
            self.streams[caller.name] -= 1
            if not self.streams[caller.name]:
                del self.streams[caller.name]

    async def events(
        self, status: Status, caller: Caller, heard: str | None, is_gone: Callable[[], bool]
    ) -> AsyncIterator[SSEvent | None]:
        """An event for each state that is not the last one heard; None to show signs of life."""
        latest: Status | None = status
        while latest is not None and not is_gone():
            submission = latest.submission
            if position(submission) == heard:
                yield None
            else:
                heard = position(submission)
                yield self._event(latest)
                if submission.finished_at is not None:
                    return
                await asyncio.sleep(PAUSE_SECONDS)
            if not is_gone():
                await self.following.news_of(submission, HEARTBEAT_SECONDS)
                latest = await self._look(latest, caller)

    def _event(self, status: Status) -> SSEvent:
        return SSEvent(
            event="progress" if status.submission.finished_at is None else "done",
            event_id=position(status.submission),
            retry=_COME_BACK,
            data=dumps(shown_status(status, self.now())),
        )

    async def _look(self, status: Status, caller: Caller) -> Status | None:
        """How far it is now; as before while the records are away, None where it is no more."""
        wanted = status.submission.id
        try:
            return await self.following.records.read(answers.status, wanted, caller)
        except SubmissionNotFound:
            return None
        except EnrollmentError as error:
            log.info("progress.not_read", submission_id=str(wanted), because=str(error))
            return status
