"""Ids of events: the id of the batch, then the event's place in the batch, in one integer.

Requests are numbered in the order of intake in the same way (`batches.intake_number`). All
arithmetic on these numbers is here, once for Python integers and once for SQL expressions.
"""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, literal

from enrollment.domain.events import MAX_ORDINAL, ORDINAL_BITS

_STEP = literal(1 << ORDINAL_BITS, BigInteger())


def event_id(batch_id: int, ordinal: int) -> int:
    """Returns the id of a batch's n-th event, counted from 0."""
    return batch_id << ORDINAL_BITS | ordinal


def batch_id_of(event_id: int) -> int:
    """Returns the id of the batch that an event belongs to."""
    return event_id >> ORDINAL_BITS


def batch_id_column(event_id: Any) -> ColumnElement[Any]:
    """SQL form of `batch_id_of`: the id of the batch that an event belongs to."""
    batch_id: ColumnElement[Any] = event_id // _STEP
    return batch_id


def is_event_of(event_id: Any, batch_id: Any) -> ColumnElement[bool]:
    """SQL condition: an event belongs to a batch (a range of ids that an index can serve)."""
    first = batch_id * _STEP
    is_between: ColumnElement[bool] = event_id.between(first, first + MAX_ORDINAL)
    return is_between


def is_event_between(event_id: Any, batch_id: Any, first: Any, last: Any) -> ColumnElement[bool]:
    """SQL condition: an event belongs to a batch and its ordinal there is from `first` to `last`.

    Adjacent ids, so an index can serve it.
    """
    start = batch_id * _STEP
    is_between: ColumnElement[bool] = event_id.between(start + first, start + last)
    return is_between


def feed_position(event: Any, feed: Any) -> ColumnElement[Any]:
    """SQL expression: the feed position of an event; the arguments are tables or their columns."""
    position: ColumnElement[Any] = feed.first + event.id - feed.batch_id * _STEP
    return position
