"""Server-sent events: streams the change feed.

The id of an event is its position, so a client that reconnects goes on after the last event that
it received: it misses none and gets none twice. A stream holds one page of events; the next one is
read when its client has taken them all.
"""

import asyncio
import time
from collections.abc import AsyncIterator

import structlog
from falcon.asgi import Request, Response, SSEvent

from api_gateway.auth.caller import Caller
from api_gateway.auth.quotas import Quota
from api_gateway.feed.change_filter import ChangeFilter
from api_gateway.feed.feed_reader import FeedEvent, FeedReader, Page
from api_gateway.http.disconnects import DISCONNECTED, ON_DISCONNECT
from api_gateway.http.problems import Problem
from api_gateway.status.event_stream import (
    CALLER_CHECK_SECONDS,
    RECONNECT_MILLISECONDS,
    SHUTDOWN_COMMENT,
    SSE_HEARTBEAT_SECONDS,
    Identify,
    is_refusal,
)
from api_gateway.status.waiters import wait_until_set
from enrollment.domain.errors import EnrollmentError

log = structlog.get_logger()

#: Seconds before the database is asked again after a failure.
READ_RETRY_SECONDS = 1.0
#: Seconds between two reads at the end of the feed.
MIN_READ_INTERVAL_SECONDS = 0.05


class ChangeStreams:
    """Opens streams of the change feed; limits their number per caller. One per event loop."""

    def __init__(self, *, reader: FeedReader, identify: Identify, quota: Quota) -> None:
        """`quota` is that of all event streams."""
        self.reader = reader
        self.identify = identify
        self.quota = quota

    def respond(self, req: Request, resp: Response, position: int, wanted: ChangeFilter) -> None:
        """Streams the events after a position that pass the filter.

        Raises Problem 429 if the caller has too many open streams, 503 if all together have.
        """
        caller: Caller = req.context.caller
        self.quota.check(caller.name)
        resp.set_header("X-Accel-Buffering", "no")  # proxies must not buffer events
        resp.sse = self._counted(caller, ChangeStream(self, req, position, wanted))

    async def _counted(self, caller: Caller, stream: "ChangeStream") -> AsyncIterator[SSEvent]:
        """Yields the events of a stream, which counts as open until then."""
        with self.quota.checked_place(caller.name):
            async for event in stream.events():
                yield event


class ChangeStream:
    """The stream of the feed to one client."""

    def __init__(
        self, streams: ChangeStreams, req: Request, position: int, wanted: ChangeFilter
    ) -> None:
        self._streams = streams
        self._reader = streams.reader
        self._req = req
        self._caller: Caller = req.context.caller
        self._wanted = wanted
        self._position = position
        #: Monotonic seconds when the caller was authenticated, and when something was sent.
        self._checked_at = self._sent_at = time.monotonic()

    @property
    def _is_over(self) -> bool:
        return self._reader.is_released or DISCONNECTED in self._req.scope

    async def events(self) -> AsyncIterator[SSEvent]:
        """Yields the events until the client has gone, its credentials end, or at shutdown."""
        yield self._mark()
        while await self._is_still_caller():
            page = await self._page()
            for event in page:
                if not await self._is_still_caller():
                    break
                self._position = event.position
                if self._wanted.passes(event.type, event.course_id, event.username):
                    yield self._rendered(event)
            if not page:
                await self._wait()
            if time.monotonic() - self._sent_at >= SSE_HEARTBEAT_SECONDS:
                yield self._mark()
        if self._reader.is_released:
            yield SSEvent(comment=SHUTDOWN_COMMENT)

    def _rendered(self, event: FeedEvent) -> SSEvent:
        self._sent_at = time.monotonic()
        return SSEvent(event=event.type, event_id=str(event.position), data=event.body)

    def _mark(self) -> SSEvent:
        """Returns a block without data: a sign of life, and where to go on after a reconnect.

        Browsers dispatch nothing for it. Its position is behind the events that the filter held
        back, too.
        """
        self._sent_at = time.monotonic()
        return SSEvent(event_id=str(self._position), retry=RECONNECT_MILLISECONDS)

    async def _page(self) -> Page:
        """Returns the next page; an empty one after a pause if it cannot be read now."""
        try:
            return await self._reader.page(self._position)
        except EnrollmentError as error:
            log.info("changes.not_read", because=str(error))
        await asyncio.sleep(READ_RETRY_SECONDS)
        return ()

    async def _wait(self) -> None:
        """Waits for more events, until the caller must be authenticated or a mark is due."""
        await asyncio.sleep(MIN_READ_INTERVAL_SECONDS)
        until_mark = self._sent_at + SSE_HEARTBEAT_SECONDS - time.monotonic()
        with self._reader.watch(self._position) as news:
            self._req.scope[ON_DISCONNECT] = news.set
            await wait_until_set(news, max(0.0, min(until_mark, CALLER_CHECK_SECONDS)))

    async def _is_still_caller(self) -> bool:
        """Returns whether the stream goes on; authenticates the caller when it is time.

        While the caller cannot be authenticated, nothing is sent.
        """
        while not self._is_over:
            if time.monotonic() - self._checked_at < CALLER_CHECK_SECONDS:
                return True
            try:
                if await self._streams.identify(self._req) != self._caller:
                    return False
                self._checked_at = time.monotonic()
            except (EnrollmentError, Problem) as error:
                log.info("changes.caller_not_known", because=str(error))
                if is_refusal(error):
                    return False
                await asyncio.sleep(READ_RETRY_SECONDS)
        return False
