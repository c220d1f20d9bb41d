"""Reads the change feed for all streams of a process.

A page is read once for all streams at its position. Streams at the end of the feed wait: one
task asks the database for all of them where the feed ends.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import structlog
from sqlalchemy.orm import Session

from api_gateway.database import Database
from api_gateway.http.responses import dumps
from api_gateway.status.waiters import wait_until_set
from enrollment.domain.errors import EnrollmentError
from enrollment.storage import events
from enrollment.storage.outbox.installation import installation_id
from schemas.events import dump_event, event_source

log = structlog.get_logger()

#: Events in a page: a stream holds no more of them in memory while its client is slow.
PAGE_EVENTS = 50
#: Pages that are kept for streams that come to the same position a little later.
MAX_PAGES = 32
#: Seconds between two polls of the end of the feed while no completion event arrives.
FEED_POLL_SECONDS = 1.0
#: Seconds between two polls at least, however many completion events arrive.
MIN_FEED_POLL_SECONDS = 0.05


class FeedEvent(NamedTuple):
    """An event of the feed, rendered once for all streams."""

    position: int
    type: str
    course_id: str
    username: str
    #: The event as `/changes` lists it, in JSON.
    body: bytes


Page = tuple[FeedEvent, ...]


class FeedReader:
    """The one reader of the feed in a process. One per event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: Pages by the position before them. The feed is only appended to and has no gaps, so a
        #: page remains true; an empty one is not kept.
        self._pages: OrderedDict[int, Page] = OrderedDict()
        self._reads: dict[int, asyncio.Task[Page]] = {}
        #: The position that each waiting stream has reached, by the event that wakes it.
        self._waiting: dict[asyncio.Event, int] = {}
        #: The end of the feed when it was polled last.
        self._end = 0
        self._hint = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        #: Whether the process is shutting down, so that no stream waits.
        self.is_released = False

    async def page(self, position: int) -> Page:
        """Returns the next events after a position, none at the end of the feed.

        Raises ListTooSlow, DatabaseUnavailable.
        """
        known = self._pages.get(position)
        if known is not None:
            self._pages.move_to_end(position)
            return known
        task = self._reads.get(position)
        if task is None:
            task = self._reads[position] = asyncio.create_task(self._read(position))
            task.add_done_callback(lambda done: self._remove(position, done))
        return await asyncio.shield(task)

    def _remove(self, position: int, task: asyncio.Task[Page]) -> None:
        del self._reads[position]
        if not task.cancelled():
            task.exception()  # marks it as retrieved, in case every stream has gone away

    async def _read(self, position: int) -> Page:
        page = await self._database.read(_page_after, position)
        if page:
            self._pages[position] = page
            while len(self._pages) > MAX_PAGES:
                self._pages.popitem(last=False)
        return page

    @contextmanager
    def watch(self, position: int) -> Iterator[asyncio.Event]:
        """Yields an event that is set once the feed goes on after the position, or at shutdown."""
        news = asyncio.Event()
        self._waiting[news] = position
        if self.is_released or self._end > position:
            news.set()
        elif self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow())
        try:
            yield news
        finally:
            del self._waiting[news]

    def on_completed(self, _batch_ids: Collection[int]) -> None:
        """Polls the end of the feed soon: batches were completed, which may have events."""
        self._hint.set()

    def release(self) -> None:
        """Wakes all streams, and those that wait later, at once: the process is shutting down."""
        self.is_released = True
        for news in self._waiting:
            news.set()

    async def stop(self) -> None:
        """Ends the polling."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _follow(self) -> None:
        """Polls the end of the feed as long as a stream waits for it."""
        while self._waiting:
            self._hint.clear()
            await self._poll()
            await asyncio.sleep(MIN_FEED_POLL_SECONDS)
            await wait_until_set(self._hint, FEED_POLL_SECONDS - MIN_FEED_POLL_SECONDS)

    async def _poll(self) -> None:
        """Asks where the feed ends; logs failures, as the next poll may succeed."""
        try:
            end = await self._database.read(events.last_position)
        except EnrollmentError as error:
            log.info("feed.not_read", because=str(error))
        except Exception:
            log.exception("feed.not_read")
        else:
            if end < self._end:  # an older state of the database was restored
                self._pages.clear()
            self._end = end
        for news, position in self._waiting.items():
            if self._end > position:
                news.set()


def _page_after(session: Session, position: int) -> Page:
    """Reads and renders a page; in the thread of the query, as rendering takes as long as it."""
    found = events.events_after(session, position, limit=PAGE_EVENTS)
    if not found:
        return ()
    source = event_source(installation_id(session))
    rendered = ((event, dump_event(event, source=source)) for event in found)
    return tuple(
        FeedEvent(event.position, body["type"], event.course_id, event.username, dumps(body))
        for event, body in rendered
    )
