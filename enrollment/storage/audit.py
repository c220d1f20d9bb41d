"""Every event and every enrollment, for an audit: in pages, never all at once.

Pages go by keys that have an index, so each is as quick as the first, and none takes so long
that the database would end it.
"""

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Text, and_, bindparam, cast, func, select, text, tuple_
from sqlalchemy.orm import Session

from enrollment.domain.chains import UNREADABLE, KeptEnrollment, KeptEvent
from enrollment.domain.events import EnrollmentState
from enrollment.domain.model import Attribute
from enrollment.domain.seating import KeptCourse
from enrollment.storage.changes import decode_state
from enrollment.storage.event_ids import batch_id_column, feed_position, is_event_of
from enrollment.storage.sessions import is_postgresql
from enrollment.storage.tables import Base

#: Rows of a page; spans bring the outcomes of their batches along, ids are next to nothing.
ROWS = 5_000
SPANS = 250
IDS = 50_000
#: Events of the spans that are read together.
EVENTS = 5_000
#: Below every key.
LOWEST = -(1 << 62)

#: What is read by the million is read from the tables themselves, past their classes.
_TABLES = Base.metadata.tables
_BATCH, _COURSE, _ENROLLMENT = _TABLES["batch"], _TABLES["course"], _TABLES["enrollment"]
_EVENT, _FEED, _FEED_HEAD = _TABLES["event"], _TABLES["feed"], _TABLES["feed_head"]
_LEARNER, _SUBMISSION = _TABLES["learner"], _TABLES["submission"]


class Span(NamedTuple):
    """The place of one batch's events in the feed, and the batch, if it is kept still."""

    first: int
    last: int
    batch_id: int
    is_kept: bool
    #: None for singles.
    submission: str | None
    is_answered: bool
    outcomes: bytes | None

    @property
    def events(self) -> int:
        """How many events it is for."""
        return self.last - self.first + 1


#: Ways of joining for which all of a table is read.
_WHOLE_TABLES = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin")


def go_by_keys(session: Session) -> None:
    """Each page looks its rows up by their keys, whatever PostgreSQL guesses of their number.

    It takes a span's events for half a percent of all, and would read all of them each time.
    """
    if is_postgresql(session):
        for way in _WHOLE_TABLES:
            session.execute(text(f"SET LOCAL {way} = off"))


# --- the feed ---------------------------------------------------------------------------------


def head(session: Session) -> int | None:
    """Where the feed says that it ends; None where it says nothing."""
    return session.scalars(select(_FEED_HEAD.c.position).where(_FEED_HEAD.c.id == 1)).first()


_SPANS = (
    select(
        _FEED.c.first,
        _FEED.c.last,
        _FEED.c.batch_id,
        _BATCH.c.id.is_not(None),
        cast(_BATCH.c.submission_id, Text),
        _BATCH.c.answered_at.is_not(None),
        _BATCH.c.outcomes,
    )
    .outerjoin(_BATCH, _BATCH.c.id == _FEED.c.batch_id)
    .where(_FEED.c.last > bindparam("after"))
    .order_by(_FEED.c.last)
    .limit(SPANS)
)


def spans(session: Session) -> Iterator[list[Span]]:
    """The places of the feed in order, a few at a time: those of some thousand events."""
    after: Any = LOWEST
    while rows := session.execute(_SPANS, {"after": after}).all():
        group: list[Span] = []
        size = 0
        for span in map(Span._make, rows):
            if group and size + span.events > EVENTS:
                yield group
                group, size = [], 0
            group.append(span)
            size += span.events
        yield group
        after = rows[-1][1]


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
        cast(_EVENT.c.before, Text).label("began"),
        cast(_EVENT.c.after, Text).label("ended"),
        _EVENT.c.previous_id,
        and_(_BEFORE.c.course_id == _EVENT.c.course_id, _BEFORE.c.username == _EVENT.c.username),
        cast(_BEFORE.c.after, Text).label("ended_before"),
        feed_position(_BEFORE.c, _BEFORE_SPAN.c),
    )
    .select_from(_FEED)
    .join(_EVENT, is_event_of(_EVENT.c.id, _FEED.c.batch_id))
    .outerjoin(_BEFORE, _BEFORE.c.id == _EVENT.c.previous_id)
    .outerjoin(_BEFORE_SPAN, _BEFORE_SPAN.c.batch_id == batch_id_column(_EVENT.c.previous_id))
    .where(_FEED.c.last.between(bindparam("first"), bindparam("last")))
    .order_by(_FEED.c.last, _EVENT.c.id)
)


def events(session: Session, some: Sequence[Span]) -> dict[int, list[KeptEvent]]:
    """The events of consecutive spans, by batch, in the order of the feed."""
    rows = session.execute(_EVENTS, {"first": some[0].last, "last": some[-1].last}).all()
    return {batch: list(map(_event, group)) for batch, group in groupby(rows, itemgetter(1))}


def _event(row: Any) -> KeptEvent:
    cells = list(row)
    for place in (8, 9, 12):
        cells[place] = standing_of(cells[place])
    return KeptEvent._make(cells)


@lru_cache(maxsize=4_096)
def standing_of(kept: str | None) -> EnrollmentState | None:
    """A state out of its JSON text; UNREADABLE where there is none in it."""
    if kept is None:
        return None
    try:
        return decode_state(kept)
    except ValueError:
        return UNREADABLE


_OWNERS = (
    select(_SUBMISSION.c.batch_id, _SUBMISSION.c.position, cast(_SUBMISSION.c.id, Text))
    .join(_FEED, _FEED.c.batch_id == _SUBMISSION.c.batch_id)
    .where(_FEED.c.last.between(bindparam("first"), bindparam("last")))
)


def owners(session: Session, some: Sequence[Span]) -> dict[int, dict[int, str]]:
    """Whose each place is in the batches of singles among consecutive spans."""
    if all(span.submission is not None for span in some):
        return {}
    rows: Any = session.execute(_OWNERS, {"first": some[0].last, "last": some[-1].last}).all()
    found: dict[int, dict[int, str]] = {}
    for batch, position, owner in rows:
        found.setdefault(batch, {})[position] = owner
    return found


_EVENT_IDS = (
    select(_EVENT.c.id, _EVENT.c.previous_id, _FEED.c.batch_id)
    .outerjoin(_FEED, _FEED.c.batch_id == batch_id_column(_EVENT.c.id))
    .where(_EVENT.c.id > bindparam("after"))
    .order_by(_EVENT.c.id)
    .limit(IDS)
)


def event_ids(session: Session) -> Iterator[tuple[int, int | None, bool]]:
    """Every event's id, that of the one before it, and whether its batch is in the feed."""
    after: Any = LOWEST
    while rows := session.execute(_EVENT_IDS, {"after": after}).all():
        for number, previous, batch in rows:
            yield number, previous, batch is not None
        after = rows[-1][0]


_PAGE_OF_IDS = (
    select(_EVENT.c.id)
    .where(_EVENT.c.id > bindparam("after"))
    .order_by(_EVENT.c.id)
    .limit(4 * IDS)
    .subquery()
)
_COUNT = select(func.count(), func.max(_PAGE_OF_IDS.c.id))


def count_events(session: Session) -> int:
    """How many events there are, in the feed or not."""
    number, after = 0, LOWEST
    while True:
        counted, last = session.execute(_COUNT, {"after": after}).one()
        if not counted:
            return number
        number, after = number + counted, last


# --- enrollments ------------------------------------------------------------------------------

_COURSES = (
    select(_COURSE.c.id, _COURSE.c.course_id, _COURSE.c.capacity, _COURSE.c.seats_taken)
    .where(_COURSE.c.id > bindparam("after"))
    .order_by(_COURSE.c.id)
    .limit(ROWS)
)


def courses(session: Session) -> Iterator[KeptCourse]:
    """Every course."""
    after: Any = -(1 << 31)
    while rows := session.execute(_COURSES, {"after": after}).all():
        yield from map(KeptCourse._make, rows)
        after = rows[-1][0]


_KEY = tuple_(_ENROLLMENT.c.learner_id, _ENROLLMENT.c.course_id)
_ENROLLMENTS = (
    select(
        _ENROLLMENT.c.learner_id,
        _ENROLLMENT.c.course_id,
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
    .limit(ROWS)
)


def enrollments(session: Session) -> Iterator[list[KeptEnrollment]]:
    """Every enrollment with its newest event, in pages."""
    after: dict[str, Any] = {"learner": LOWEST, "course": 0}
    while rows := session.execute(_ENROLLMENTS, after).all():
        yield list(map(_enrollment, rows))
        after = {"learner": rows[-1][0], "course": rows[-1][1]}


def _enrollment(row: Any) -> KeptEnrollment:
    learner, course, username, course_id, mode, is_active, extras, newest, is_same, after = row
    standing = (
        EnrollmentState(mode, is_active) if extras is None else _with(mode, is_active, extras)
    )
    return KeptEnrollment(
        learner, course, username, course_id, standing, newest, is_same, standing_of(after)
    )


def _with(mode: str, is_active: bool, extras: str) -> EnrollmentState:  # noqa: FBT001 (a column)
    try:
        kept = json.loads(extras)
        attributes = tuple(Attribute(*attribute) for attribute in kept["attributes"])
        return EnrollmentState(mode, is_active, attributes, kept["cohort"])
    except (KeyError, TypeError, ValueError):
        return UNREADABLE
