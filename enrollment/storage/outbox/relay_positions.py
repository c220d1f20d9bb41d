"""Positions of the relay in the change feed, one for each channel, and the lease of a channel.

Invariant: a relay only raises a position, and only while it holds the lease. One that stood still
beyond the end of its lease, or whose channel was moved by hand, cannot store a position any more.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from enrollment.storage import events
from enrollment.storage.bulk.array_params import insert_on
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.engine.sessions import database_now
from enrollment.storage.tables import RelayPositionRow

_ROW = RelayPositionRow


class ChannelName(StrEnum):
    """The channels; each has a row as soon as it is used first."""

    EVENT_STREAM = "event_stream"
    EVENT_BUS = "event_bus"
    #: Not a way out: its row carries the lease of the consumer of catalog events.
    CATALOG = "catalog"


class Lag(NamedTuple):
    """How far a channel is behind the feed."""

    #: Position of the last event that was published.
    position: int
    #: Number of events that are not published yet.
    events: int
    #: When the oldest of these was committed; None if there is none.
    since: datetime | None


def load_lag(session: Session, channel: ChannelName) -> Lag:
    """Returns how far a channel is behind; it begins at 0, before the first event."""
    position = session.scalar(select(_ROW.position).where(_ROW.channel == channel)) or 0
    behind = events.last_position(session) - position
    oldest = events.events_after(session, position, limit=1) if behind > 0 else []
    return Lag(position, max(behind, 0), oldest[0].at if oldest else None)


def lock(session: Session, channel: ChannelName) -> int:
    """Locks the row of a channel, which is made if there is none; returns its position."""
    _insert_missing(session, channel)
    query = select(_ROW.position).where(_ROW.channel == channel)
    return session.scalars(query.with_for_update()).one()


def move(session: Session, channel: ChannelName, position: int) -> None:
    """Lets a channel go on after a position of the feed, earlier or later than its own.

    A relay that publishes at this moment cannot store what it has published, and takes the new
    position with its next lease.
    """
    session.execute(
        update(_ROW)
        .where(_ROW.channel == channel)
        .values(position=position, moved_at=database_now(session), holder=None, held_until=None)
    )


def _insert_missing(session: Session, channel: ChannelName) -> None:
    insert = insert_on(postgresql=is_postgresql(session))(_ROW)
    session.execute(insert.values(channel=channel, position=0).on_conflict_do_nothing())


def claim(session: Session, channel: ChannelName, holder: str, *, lease: timedelta) -> int | None:
    """Takes or renews the lease of a channel; returns its position, None if another holds it."""
    _insert_missing(session, channel)
    now = database_now(session)
    is_free = or_(_ROW.holder == holder, _ROW.held_until.is_(None), _ROW.held_until < now)
    return session.scalar(
        update(_ROW)
        .where(_ROW.channel == channel, is_free)
        .values(holder=holder, held_until=now + lease)
        .returning(_ROW.position)
    )


def advance(
    session: Session, channel: ChannelName, holder: str, *, start: int, end: int, lease: timedelta
) -> bool:
    """Stores that everything up to `end` is published, and renews the lease.

    Returns False, and stores nothing, if another relay has taken the channel meanwhile.
    """
    now = database_now(session)
    stored = session.execute(
        update(_ROW)
        .where(_ROW.channel == channel, _ROW.holder == holder, _ROW.position == start)
        .values(position=end, moved_at=now, held_until=now + lease)
    )
    return stored.rowcount == 1  # type: ignore[attr-defined, no-any-return]


def release(session: Session, channel: ChannelName, holder: str) -> None:
    """Ends the lease of a holder, so that another relay continues at once."""
    session.execute(
        update(_ROW)
        .where(_ROW.channel == channel, _ROW.holder == holder)
        .values(holder=None, held_until=None)
    )
