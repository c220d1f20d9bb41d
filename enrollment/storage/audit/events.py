"""Audit queries: all events, enrollments and courses, page by page.

Pages are read by indexed keys (keyset pagination), so that every page is as fast as the first and
none exceeds the statement timeout.
"""

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Text, and_, bindparam, cast, func, select, text, tuple_
from sqlalchemy.orm import Session

from enrollment.domain.audit.event_chain import UNREADABLE_STATE, EnrollmentRecord, EventRecord
from enrollment.domain.audit.seats import CourseRecord
from enrollment.domain.events import EnrollmentState
from enrollment.domain.model import Attribute
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.event_ids import batch_id_column, feed_position, is_event_of
from enrollment.storage.events import decode_state
from enrollment.storage.tables import Base

#: Rows per page. Spans include the outcomes of their batches; ids are small.
PAGE_ROWS = 5_000
PAGE_SPANS = 250
PAGE_IDS = 50_000
#: Events of the spans that are loaded together.
GROUP_EVENTS = 5_000
#: Below every key of 64 or 32 bits.
LOWEST = -(1 << 62)
_LOWEST_INTEGER = -(1 << 31)

#: Statements are built on tables, not on mapped classes: the mapper costs more than the rest.
_TABLES = Base.metadata.tables
_BATCH, _COURSE, _ENROLLMENT = _TABLES["batch"], _TABLES["course"], _TABLES["enrollment"]
_EVENT, _FEED = _TABLES["event"], _TABLES["feed"]
_LEARNER, _SUBMISSION = _TABLES["learner"], _TABLES["submission"]


def pages(session: Session, statement: Any, **after: Any) -> Iterator[Sequence[Any]]:
    """Yields the rows of a statement in pages, each starting after the last key of the previous.

    The keywords are the statement's bind parameters with their initial values, below every key;
    its columns of the same names are the keys (UUIDs as text).
    """
    while rows := session.execute(statement, after).all():
        yield rows
        after = {name: type(key)(getattr(rows[-1], name)) for name, key in after.items()}


class FeedSpan(NamedTuple):
    """The positions of one batch's events in the feed, and the batch, if it is still stored."""

    first: int
    last: int
    batch_id: int
    is_stored: bool
    #: None for singles.
    submission: str | None
    outcomes: bytes | None

    @property
    def events(self) -> int:
        """The number of events."""
        return self.last - self.first + 1


#: PostgreSQL's settings for plans that read a whole table.
_WHOLE_TABLE_PLANS = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin")


def use_index_scans(session: Session) -> None:
    """Makes PostgreSQL use indexes until the transaction ends.

    Its planner estimates a span at half a percent of all events, and would read the whole table.
    """
    if is_postgresql(session):
        for plan in _WHOLE_TABLE_PLANS:
            session.execute(text(f"SET LOCAL {plan} = off"))


# --- the feed ---------------------------------------------------------------------------------


_SPANS = (
    select(
        _FEED.c.first,
        _FEED.c.last,
        _FEED.c.batch_id,
        _BATCH.c.id.is_not(None),
        cast(_BATCH.c.submission_id, Text),
        _BATCH.c.outcomes,
    )
    .outerjoin(_BATCH, _BATCH.c.id == _FEED.c.batch_id)
    .where(_FEED.c.last > bindparam("last"))
    .order_by(_FEED.c.last)
    .limit(PAGE_SPANS)
)


def iterate_spans(session: Session) -> Iterator[list[FeedSpan]]:
    """Yields the spans of the feed in order, in groups of at most some thousand events."""
    for rows in pages(session, _SPANS, last=LOWEST):
        group: list[FeedSpan] = []
        size = 0
        for span in map(FeedSpan._make, rows):
            if group and size + span.events > GROUP_EVENTS:
                yield group
                group, size = [], 0
            group.append(span)
            size += span.events
        yield group


_BEFORE, _BEFORE_SPAN = _EVENT.alias("before"), _FEED.alias("before_span")
_EVENTS = (
    select(
        _EVENT.c.id,
        _FEED.c.batch_id,
        feed_position(_EVENT.c, _FEED.c),
        _EVENT.c.kind,
        _EVENT.c.course_id,
        _EVENT.c.username,
        cast(_EVENT.c.submission_id, Text),
        _EVENT.c.line,
        cast(_EVENT.c.before, Text).label("state_before"),
        cast(_EVENT.c.after, Text).label("state_after"),
        _EVENT.c.previous_id,
        and_(_BEFORE.c.course_id == _EVENT.c.course_id, _BEFORE.c.username == _EVENT.c.username),
        cast(_BEFORE.c.after, Text).label("previous_after"),
        feed_position(_BEFORE.c, _BEFORE_SPAN.c),
    )
    .select_from(_FEED)
    .join(_EVENT, is_event_of(_EVENT.c.id, _FEED.c.batch_id))
    .outerjoin(_BEFORE, _BEFORE.c.id == _EVENT.c.previous_id)
    .outerjoin(_BEFORE_SPAN, _BEFORE_SPAN.c.batch_id == batch_id_column(_EVENT.c.previous_id))
    .where(_FEED.c.last.between(bindparam("first"), bindparam("last")))
    .order_by(_FEED.c.last, _EVENT.c.id)
)


def load_events(session: Session, spans: Sequence[FeedSpan]) -> dict[int, list[EventRecord]]:
    """Returns the events of consecutive spans by batch id, in the order of the feed."""
    rows = session.execute(_EVENTS, {"first": spans[0].last, "last": spans[-1].last}).all()
    return {batch: list(map(_event, group)) for batch, group in groupby(rows, itemgetter(1))}


def _event(row: Any) -> EventRecord:
    cells = list(row)
    for index in (8, 9, 12):
        cells[index] = _state(cells[index])
    return EventRecord._make(cells)


@lru_cache(maxsize=4_096)
def _state(stored: str | None) -> EnrollmentState | None:
    if stored is None:
        return None
    try:
        return decode_state(stored)
    except ValueError:
        return UNREADABLE_STATE


_OWNERS = (
    select(_SUBMISSION.c.batch_id, _SUBMISSION.c.position, cast(_SUBMISSION.c.id, Text))
    .join(_FEED, _FEED.c.batch_id == _SUBMISSION.c.batch_id)
    .where(_FEED.c.last.between(bindparam("first"), bindparam("last")))
)


def load_owners(session: Session, spans: Sequence[FeedSpan]) -> dict[int, dict[int, str]]:
    """Returns the submission of each position in the batches of singles of consecutive spans."""
    found: dict[int, dict[int, str]] = {}
    if any(span.submission is None for span in spans):
        rows: Any = session.execute(_OWNERS, {"first": spans[0].last, "last": spans[-1].last})
        for batch_id, position, owner in rows.all():
            found.setdefault(batch_id, {})[position] = owner
    return found


_EVENT_IDS = (
    select(_EVENT.c.id, _EVENT.c.previous_id, _FEED.c.batch_id.is_not(None))
    .outerjoin(_FEED, _FEED.c.batch_id == batch_id_column(_EVENT.c.id))
    .where(_EVENT.c.id > bindparam("id"))
    .order_by(_EVENT.c.id)
    .limit(PAGE_IDS)
)


def iterate_event_ids(session: Session) -> Iterator[tuple[int, int | None, bool]]:
    """Yields every event's id, its previous event's id, and whether its batch is in the feed."""
    for rows in pages(session, _EVENT_IDS, id=LOWEST):
        yield from rows


_PAGE_OF_IDS = (
    select(_EVENT.c.id)
    .where(_EVENT.c.id > bindparam("id"))
    .order_by(_EVENT.c.id)
    .limit(4 * PAGE_IDS)
    .subquery()
)
_COUNTS = select(func.count(), func.max(_PAGE_OF_IDS.c.id).label("id")).having(func.count() > 0)


def count_events(session: Session) -> int:
    """Returns the number of events, in the feed or not."""
    return sum(rows[0][0] for rows in pages(session, _COUNTS, id=LOWEST))


# --- enrollments ------------------------------------------------------------------------------

_COURSES = (
    select(_COURSE.c.id, _COURSE.c.course_id, _COURSE.c.capacity, _COURSE.c.seats_taken)
    .where(_COURSE.c.id > bindparam("id"))
    .order_by(_COURSE.c.id)
    .limit(PAGE_ROWS)
)


def iterate_courses(session: Session) -> Iterator[CourseRecord]:
    """Yields every course."""
    for rows in pages(session, _COURSES, id=_LOWEST_INTEGER):
        yield from map(CourseRecord._make, rows)


_KEY = tuple_(_ENROLLMENT.c.learner_id, _ENROLLMENT.c.course_id)
_ENROLLMENTS = (
    select(
        _ENROLLMENT.c.learner_id.label("learner"),
        _ENROLLMENT.c.course_id.label("course"),
        _LEARNER.c.username,
        _COURSE.c.course_id,
        _ENROLLMENT.c.mode,
        _ENROLLMENT.c.is_active,
        cast(_ENROLLMENT.c.extras, Text),
        _ENROLLMENT.c.event_id,
        and_(_EVENT.c.course_id == _COURSE.c.course_id, _EVENT.c.username == _LEARNER.c.username),
        cast(_EVENT.c.after, Text),
    )
    .outerjoin(_LEARNER, _LEARNER.c.id == _ENROLLMENT.c.learner_id)
    .outerjoin(_COURSE, _COURSE.c.id == _ENROLLMENT.c.course_id)
    .outerjoin(_EVENT, _EVENT.c.id == _ENROLLMENT.c.event_id)
    .where(tuple_(bindparam("learner"), bindparam("course")) < _KEY)
    .order_by(_ENROLLMENT.c.learner_id, _ENROLLMENT.c.course_id)
    .limit(PAGE_ROWS)
)


def iterate_enrollments(session: Session) -> Iterator[list[EnrollmentRecord]]:
    """Yields pages of the enrollments, each enrollment with facts about its newest event."""
    for rows in pages(session, _ENROLLMENTS, learner=LOWEST, course=0):
        yield list(map(_enrollment, rows))


def _enrollment(row: Any) -> EnrollmentRecord:
    learner, course, username, course_id, mode, is_active, extras, newest, is_same, after = row
    state = EnrollmentState(mode, is_active)
    if extras is not None:
        state = _with_extras(state, extras)
    names = (learner, course, username, course_id)
    return EnrollmentRecord(*names, state, newest, is_same, _state(after))


def _with_extras(state: EnrollmentState, extras: str) -> EnrollmentState:
    try:
        stored = json.loads(extras)
        attributes = tuple(Attribute(*attribute) for attribute in stored["attributes"])
        return state._replace(attributes=attributes, cohort=stored["cohort"])
    except (KeyError, TypeError, ValueError):
        return UNREADABLE_STATE
