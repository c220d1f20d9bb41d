"""Server-sent events: streams the status of a submission as it progresses.

Nothing is queued for a client: each event carries the status at the moment it is sent. A slow
reader gets fewer events, and a client that reconnects gets the current status.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus

import structlog
from falcon.asgi import Request, Response, SSEvent

from api_gateway.auth.caller import Caller
from api_gateway.http.disconnects import DISCONNECTED, ON_DISCONNECT
from api_gateway.http.problems import Problem, unavailable
from api_gateway.status.queries import Status
from api_gateway.status.status_reader import StatusReader, after_progress, after_silence
from api_gateway.status.waiters import Waiters, wait_until_set
from enrollment.domain.errors import EnrollmentError, SubmissionNotFound
from enrollment.domain.submissions import Submission
from schemas.submissions import progress_token

log = structlog.get_logger()

EVENT_STREAM_TYPE = "text/event-stream"
#: Seconds without an event after which a comment is sent, to keep proxies from closing.
SSE_HEARTBEAT_SECONDS = 15.0
#: Seconds between two checks of the caller: a stream ends when its key or token does.
CALLER_CHECK_SECONDS = 3.0
#: Minimum seconds between two events: a file may make progress many times a second.
MIN_EVENT_INTERVAL_SECONDS = 0.25
#: Milliseconds after which a disconnected client should reconnect.
_RECONNECT_MILLISECONDS = 2_000
#: Maximum number of open streams of one caller in one process.
MAX_STREAMS = 2_000

#: Authenticates a request again; raises Problem for credentials that are no longer valid.
Identify = Callable[[Request], Awaitable[Caller | None]]


class EventStreams:
    """Opens event streams and limits their number per caller. One per event loop."""

    def __init__(
        self,
        *,
        reader: StatusReader,
        waiters: Waiters,
        render: Callable[[Status], bytes],
        identify: Identify,
    ) -> None:
        self.reader = reader
        self.waiters = waiters
        #: Encodes a status as JSON.
        self.render = render
        self.identify = identify
        #: Number of open streams by caller.
        self.open_streams: Counter[str] = Counter()

    def respond(self, req: Request, resp: Response, status: Status) -> None:
        """Stream the progress of a submission; 204 for a client that has seen its end.

        Raises Problem 503 if the caller has too many open streams.
        """
        caller: Caller = req.context.caller
        last_seen = req.get_header("Last-Event-ID")
        resp.set_header("Cache-Control", "no-store")
        if status.submission.finished_at is not None and last_seen == progress_token(
            status.submission
        ):
            resp.status = HTTPStatus.NO_CONTENT  # a browser then stops reconnecting
            return
        if self.open_streams[caller.name] >= MAX_STREAMS:
            raise unavailable("Too many event streams are open; poll, or try again later.")
        resp.set_header("X-Accel-Buffering", "no")  # proxies must not buffer events
        resp.sse = self._counted(caller, EventStream(self, req, status, last_seen))

    async def _counted(
        self, caller: Caller, stream: "EventStream"
    ) -> AsyncIterator[SSEvent | None]:
        self.open_streams[caller.name] += 1
        try:
            async for event in stream.events():
                yield event
        finally:
            self.open_streams[caller.name] -= 1
            if not self.open_streams[caller.name]:
                del self.open_streams[caller.name]


class EventStream:
    """The events of one submission for one client."""

    def __init__(
        self, streams: EventStreams, req: Request, status: Status, last_seen: str | None
    ) -> None:
        self._streams = streams
        self._req = req
        self._caller: Caller = req.context.caller
        self._first = status
        self._last_seen = last_seen

    @property
    def _is_disconnected(self) -> bool:
        return DISCONNECTED in self._req.scope

    async def events(self) -> AsyncIterator[SSEvent | None]:
        """Yield an event for each status the client has not seen; None as a heartbeat."""
        latest: Status | None = self._first
        while latest is not None and not self._is_disconnected:
            submission = latest.submission
            if progress_token(submission) == self._last_seen:
                yield None
            else:
                self._last_seen = progress_token(submission)
                yield self._event(latest)
                if submission.finished_at is not None:
                    return
                await asyncio.sleep(MIN_EVENT_INTERVAL_SECONDS)
            latest = await self._next(latest)

    def _event(self, status: Status) -> SSEvent:
        return SSEvent(
            event="progress" if status.submission.finished_at is None else "done",
            event_id=progress_token(status.submission),
            retry=_RECONNECT_MILLISECONDS,
            data=self._streams.render(status),
        )

    async def _next(self, known: Status) -> Status | None:
        """Return the status after progress or a pause; None if the stream must end.

        While the status cannot be read, or the caller cannot be checked, returns `known`.
        """
        try:
            has_moved = await self._wait(known.submission)
            if self._is_disconnected:
                return None
            freshness = (after_progress if has_moved else after_silence)(known.submission)
            return await self._streams.reader.read(known.submission.id, self._caller, freshness)
        except (EnrollmentError, Problem) as error:
            is_over = isinstance(error, SubmissionNotFound) or _is_refusal(error)
            event = "progress.ended" if is_over else "progress.not_read"
            log.info(event, submission_id=str(known.submission.id), because=str(error))
            if is_over:
                return None
        await asyncio.sleep(MIN_EVENT_INTERVAL_SECONDS)
        return known

    async def _wait(self, submission: Submission) -> bool:
        """Return whether the submission made progress before a heartbeat is due."""
        until = time.monotonic() + SSE_HEARTBEAT_SECONDS
        with self._streams.waiters.watch(submission) as moved:
            self._req.scope[ON_DISCONNECT] = moved.set
            while not self._is_disconnected:
                left = until - time.monotonic()
                has_moved = await wait_until_set(moved, min(left, CALLER_CHECK_SECONDS))
                await self._check_caller()
                if has_moved or left <= CALLER_CHECK_SECONDS:
                    return has_moved
        return False

    async def _check_caller(self) -> None:
        """Raise Problem for ended credentials, SubmissionNotFound for those of another caller."""
        if await self._streams.identify(self._req) != self._caller:
            raise SubmissionNotFound(str(self._first.submission.id))


def _is_refusal(error: Exception) -> bool:
    """Whether the credentials are no longer valid, rather than impossible to check now."""
    return isinstance(error, Problem) and error.status != HTTPStatus.SERVICE_UNAVAILABLE
