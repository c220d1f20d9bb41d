"""Server-sent events: streams the status of a submission as it progresses.

No events are queued: each carries the status at the time it is sent. So a slow client gets
fewer events, and a client that reconnects gets the current status.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus

import structlog
from falcon.asgi import Request, Response, SSEvent

from api_gateway.auth.caller import Caller
from api_gateway.auth.quotas import Quota
from api_gateway.http.disconnects import DISCONNECTED, ON_DISCONNECT
from api_gateway.http.headers import preferred_type
from api_gateway.http.problems import Problem
from api_gateway.http.responses import JSON_TYPE
from api_gateway.status.poll_headers import progress_token
from api_gateway.status.queries import Status
from api_gateway.status.status_reader import StatusReader, after_progress, after_silence
from api_gateway.status.waiters import Waiters, wait_until_set
from enrollment.domain.errors import EnrollmentError, SubmissionNotFound
from enrollment.domain.submissions import Submission

log = structlog.get_logger()

EVENT_STREAM_TYPE = "text/event-stream"
#: Seconds without an event after which a comment is sent, so that proxies do not disconnect.
SSE_HEARTBEAT_SECONDS = 15.0
#: Seconds between two authentications of the caller: a stream ends with its key or token.
CALLER_CHECK_SECONDS = 3.0
#: Minimum seconds between two events: a file may make progress many times per second.
MIN_EVENT_INTERVAL_SECONDS = 0.25
#: Milliseconds after which a disconnected client should reconnect.
RECONNECT_MILLISECONDS = 2_000
#: The last words of a stream whose process shuts down; the client reconnects to another one.
SHUTDOWN_COMMENT = "the server is shutting down; reconnect"
#: Maximum number of open streams per process, of all callers.
MAX_STREAMS = 8_000

#: Authenticates a request again; raises Problem if its credentials are no longer valid.
Identify = Callable[[Request], Awaitable[Caller | None]]


class EventStreams:
    """Opens event streams; limits their number per caller. One per event loop."""

    def __init__(
        self,
        *,
        reader: StatusReader,
        waiters: Waiters,
        render: Callable[[Status], bytes],
        identify: Identify,
        max_per_caller: int,
    ) -> None:
        self.reader = reader
        self.waiters = waiters
        #: Renders a status as JSON.
        self.render = render
        self.identify = identify
        self.quota = Quota(
            "event streams",
            setting="ENROLL_MAX_STREAMS_PER_CALLER",
            per_caller=max_per_caller,
            total=MAX_STREAMS,
        )

    def respond(self, req: Request, resp: Response, status: Status) -> None:
        """Streams the progress of a submission; 204 for a client that has seen its end.

        Raises Problem 429 if the caller has too many open streams, 503 if all together have.
        """
        caller: Caller = req.context.caller
        last_seen = req.get_header("Last-Event-ID")
        if status.submission.finished_at is not None and last_seen == progress_token(
            status.submission
        ):
            resp.status = HTTPStatus.NO_CONTENT  # a browser then stops reconnecting
            return
        self.quota.check(caller.name)
        resp.set_header("X-Accel-Buffering", "no")  # proxies must not buffer events
        resp.sse = self._counted(caller, EventStream(self, req, status, last_seen))

    async def _counted(
        self, caller: Caller, stream: "EventStream"
    ) -> AsyncIterator[SSEvent | None]:
        """Yields the events of a stream, which counts as open until then."""
        with self.quota.checked_place(caller.name):
            async for event in stream.events():
                yield event


class EventStream:
    """The stream of events of one submission to one client."""

    def __init__(
        self, streams: EventStreams, req: Request, status: Status, last_seen: str | None
    ) -> None:
        self._streams = streams
        self._req = req
        self._caller: Caller = req.context.caller
        self._initial = status
        self._last_seen = last_seen

    @property
    def _is_disconnected(self) -> bool:
        return DISCONNECTED in self._req.scope

    async def events(self) -> AsyncIterator[SSEvent | None]:
        """Yields an event for each status that is new to the client; None as a heartbeat."""
        latest: Status | None = self._initial
        while latest is not None and not self._is_disconnected:
            token = progress_token(latest.submission)
            is_new = token != self._last_seen
            self._last_seen = token
            yield self._event(latest) if is_new else None
            if is_new and latest.submission.finished_at is not None:
                return
            if is_new:
                await asyncio.sleep(MIN_EVENT_INTERVAL_SECONDS)
            if self._streams.waiters.is_released:
                yield SSEvent(comment=SHUTDOWN_COMMENT)
                return
            latest = await self._next(latest)

    def _event(self, status: Status) -> SSEvent:
        return SSEvent(
            event="progress" if status.submission.finished_at is None else "done",
            event_id=progress_token(status.submission),
            retry=RECONNECT_MILLISECONDS,
            data=self._streams.render(status),
        )

    async def _next(self, known: Status) -> Status | None:
        """Returns the status after progress or a heartbeat interval; None if the stream must end.

        Returns `known` if the status cannot be read or the caller cannot be authenticated now.
        """
        try:
            has_progressed = await self._wait(known.submission)
            if self._is_disconnected:
                return None
            freshness = (after_progress if has_progressed else after_silence)(known.submission)
            return await self._streams.reader.read(known.submission.id, self._caller, freshness)
        except (EnrollmentError, Problem) as error:
            has_ended = isinstance(error, SubmissionNotFound) or is_refusal(error)
            event = "progress.ended" if has_ended else "progress.not_read"
            log.info(event, submission_id=str(known.submission.id), because=str(error))
            if has_ended:
                return None
        await asyncio.sleep(MIN_EVENT_INTERVAL_SECONDS)
        return known

    async def _wait(self, submission: Submission) -> bool:
        """Waits for progress until a heartbeat is due; returns whether there was any."""
        deadline = time.monotonic() + SSE_HEARTBEAT_SECONDS
        with self._streams.waiters.watch(submission) as progress:
            self._req.scope[ON_DISCONNECT] = progress.set
            return await self._wait_for(progress, deadline)

    async def _wait_for(self, progress: asyncio.Event, deadline: float) -> bool:
        """Waits until the event is set or the deadline; authenticates the caller regularly."""
        while not self._is_disconnected:
            remaining = deadline - time.monotonic()
            has_progressed = await wait_until_set(progress, min(remaining, CALLER_CHECK_SECONDS))
            await self._check_caller()
            if has_progressed or remaining <= CALLER_CHECK_SECONDS:
                return has_progressed
        return False

    async def _check_caller(self) -> None:
        """Raises Problem for invalid credentials, SubmissionNotFound for another caller."""
        if await self._streams.identify(self._req) != self._caller:
            raise SubmissionNotFound(str(self._initial.submission.id))


def prefers_events(req: Request) -> bool:
    """Returns whether an event stream is preferred; skips the slow negotiation where it can."""
    return (
        "text/" in req.accept.lower()
        and preferred_type(req, [JSON_TYPE, EVENT_STREAM_TYPE]) == EVENT_STREAM_TYPE
    )


def is_refusal(error: Exception) -> bool:
    """Whether the credentials are invalid; false if they only cannot be verified now."""
    return isinstance(error, Problem) and error.status != HTTPStatus.SERVICE_UNAVAILABLE
