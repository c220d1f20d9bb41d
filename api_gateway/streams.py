"""Makes the parts by which clients follow submissions and the change feed."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import NamedTuple

from api_gateway.database import Database, ListReader
from api_gateway.feed.change_stream import ChangeStreams
from api_gateway.feed.feed_reader import FeedReader
from api_gateway.http.draining import Draining
from api_gateway.http.responses import dumps
from api_gateway.intake.dispatcher import Dispatcher
from api_gateway.status.event_stream import EventStreams, Identify
from api_gateway.status.queries import Status
from api_gateway.status.status_reader import StatusReader
from api_gateway.status.status_response import render_status
from api_gateway.status.waiters import Waiters
from enrollment.runtime.settings import Settings


class StreamParts(NamedTuple):
    """Parts that share what wakes them, and the quota of open streams."""

    waiters: Waiters
    reader: StatusReader
    progress: EventStreams
    changes: ChangeStreams

    def released_by(self, draining: Draining) -> Draining:
        """Makes all waits end when the process begins to shut down."""
        draining.on_begin(self.waiters.release)
        draining.on_begin(self.changes.reader.release)
        return draining


def make_streams(
    settings: Settings,
    database: Database,
    lists: ListReader,
    identify: Identify,
    dispatcher: Dispatcher,
) -> StreamParts:
    """Makes the parts; starts nothing."""
    feed = FeedReader(lists)

    def on_completed(batch_ids: Collection[int]) -> None:
        dispatcher.on_completed(batch_ids)
        feed.on_completed(batch_ids)

    waiters = Waiters(database, settings.redis_url, on_completed=on_completed)
    reader = StatusReader(database)
    progress = EventStreams(
        reader=reader,
        waiters=waiters,
        render=_render,
        identify=identify,
        max_per_caller=settings.max_streams_per_caller,
    )
    changes = ChangeStreams(reader=feed, identify=identify, quota=progress.quota)
    return StreamParts(waiters, reader, progress, changes)


def _render(status: Status) -> bytes:
    return dumps(render_status(status, datetime.now(UTC)))
