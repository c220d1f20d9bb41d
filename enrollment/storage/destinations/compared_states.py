"""The enrollments of this service, as they are compared with those of a destination."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Select, and_, or_, select, tuple_
from sqlalchemy.orm import Session

from enrollment.domain.codes import DeliveryState
from enrollment.domain.destinations.deliveries import StoredDestination
from enrollment.domain.destinations.differences import ComparedState
from enrollment.storage.event_ids import batch_id_column, feed_position
from enrollment.storage.tables import (
    CourseRow,
    DestinationDeliveryRow,
    EnrollmentRow,
    EventRow,
    FeedRow,
    LearnerRow,
)
from enrollment.storage.webhooks import positions

#: (row of the learner, row of the course): the place of an enrollment in `page`.
StatePlace = tuple[int, int]
START: StatePlace = (0, 0)
_ROW = DestinationDeliveryRow


def page(
    session: Session, courses: Iterable[str], *, after: StatePlace, limit: int
) -> tuple[list[ComparedState], StatePlace | None]:
    """Returns enrollments of courses (all if none is named) after a place, and the next place.

    In the order of the primary key, so that each page is one range of it. None at the end.
    """
    key = (EnrollmentRow.learner_id, EnrollmentRow.course_id)
    query = (
        select(
            *key,
            CourseRow.course_id,
            LearnerRow.username,
            EnrollmentRow.mode,
            EnrollmentRow.is_active,
        )
        .join(CourseRow, CourseRow.id == EnrollmentRow.course_id)
        .join(LearnerRow, LearnerRow.id == EnrollmentRow.learner_id)
        .where(tuple_(*key) > tuple_(*after))
        .order_by(*key)
        .limit(limit)
    )
    if named := sorted(courses):
        query = query.where(CourseRow.course_id.in_(named))
    rows = session.execute(query).all()
    following = (rows[-1][0], rows[-1][1]) if len(rows) == limit else None
    return [ComparedState(row[2], row[3], row[4], row[5]) for row in rows], following


class ComparisonStart(NamedTuple):
    """When a comparison began, and the end of the feed at that time."""

    at: datetime
    position: int


class LastChange(NamedTuple):
    """The last change of an enrollment."""

    #: Position in the feed.
    position: int
    #: Whether it was changed or sent since a comparison began, or is to be sent.
    is_in_transit: bool


def find_last_changes(
    session: Session,
    stored: StoredDestination,
    keys: Iterable[tuple[str, str]],
    *,
    start: ComparisonStart,
) -> dict[tuple[str, str], LastChange]:
    """Returns the enrollments that exist among (course_id, username).

    A change that the destination gets and that was not queued for it yet is in transit, too.
    """
    wanted = set(keys)
    if not wanted:
        return {}
    is_wanted = or_(
        *(
            and_(CourseRow.course_id == course_id, LearnerRow.username.in_(users))
            for course_id, users in _by_course(wanted).items()
        )
    )
    # First, so that the changes up to here are among the deliveries that are found.
    queued = max(positions.find_position(session, positions.DESTINATIONS), stored.since)
    settled = min(queued, start.position)
    query = _last_changes(stored.id).where(is_wanted)
    pending = DeliveryState.PENDING.value
    return {
        (row[0], row[1]): LastChange(
            row[2],
            row[2] > settled or row[3] == pending or (row[4] is not None and row[4] >= start.at),
        )
        for row in session.execute(query)
    }


def _last_changes(destination_id: UUID) -> Select[*tuple[Any, ...]]:
    """Selects enrollments with their last event, and with their delivery if they have one."""
    is_delivery = and_(
        _ROW.destination_id == destination_id,
        _ROW.course_id == CourseRow.course_id,
        _ROW.username == LearnerRow.username,
    )
    return (
        select(
            CourseRow.course_id,
            LearnerRow.username,
            feed_position(EventRow, FeedRow),
            _ROW.state,
            _ROW.attempted_at,
        )
        .select_from(EnrollmentRow)
        .join(CourseRow, CourseRow.id == EnrollmentRow.course_id)
        .join(LearnerRow, LearnerRow.id == EnrollmentRow.learner_id)
        .join(EventRow, EventRow.id == EnrollmentRow.event_id)
        .join(FeedRow, FeedRow.batch_id == batch_id_column(EventRow.id))
        .outerjoin(_ROW, is_delivery)
    )


def _by_course(keys: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    users: dict[str, list[str]] = {}
    for course_id, username in sorted(keys):
        users.setdefault(course_id, []).append(username)
    return users
