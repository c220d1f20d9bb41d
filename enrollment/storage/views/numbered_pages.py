"""Read models of enrollments in numbered pages: the rows of a page, and how many there are."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Select, SelectBase, func, select
from sqlalchemy.orm import Session

from enrollment.domain.model import microseconds
from enrollment.storage.tables import EnrollmentRow, LearnerRow
from enrollment.storage.views import enrollment_views
from enrollment.storage.views.enrollment_views import (
    EnrollmentFilters,
    EnrollmentPageKey,
    EnrollmentView,
    decode_view,
    in_courses_of_staff,
    matching_courses,
    matching_learners,
    select_views,
)


class PageBounds(NamedTuple):
    """The rows of a page of a learner's enrollments, by when they were created."""

    #: Number of rows before the page.
    start: int
    limit: int
    newest_first: bool


class CountedPage(NamedTuple):
    """The enrollments of a page, and the number of those of all pages."""

    rows: list[EnrollmentView]
    total: int


class PageOfAll(NamedTuple):
    """The enrollments of a page, and the key of its last row (None: it is the last page)."""

    rows: list[EnrollmentView]
    key: EnrollmentPageKey | None


def page_of_learner(
    session: Session, username: str, bounds: PageBounds, *, staff: str | None = None
) -> CountedPage:
    """Returns a page of the enrollments of a learner, also inactive ones.

    With `staff` only those in the courses of which this person is staff. Executes the same
    statements whether the learner exists or not, so that its time does not tell.
    """
    query = select_views().where(LearnerRow.username == username)
    if staff is not None:
        query = query.where(in_courses_of_staff(staff))
    order = tuple(column.desc() for column in _KEY) if bounds.newest_first else _KEY
    page = query.order_by(*order).offset(bounds.start).limit(bounds.limit)
    rows = [decode_view(row) for row in session.execute(page)]
    return CountedPage(rows, _count(session, query))


def page_of_all(
    session: Session, filters: EnrollmentFilters, *, start: int, limit: int
) -> PageOfAll:
    """Returns a page of the enrollments that match all filters, also inactive ones, newest first.

    Passes over `start` rows one by one, so callers must bound it; `enrollment_views.page` continues
    from the key without that.
    """
    after = None
    if start > 0:
        after = _key_of_row(session, filters, start)
        if after is None:
            return PageOfAll([], None)
    return PageOfAll(*enrollment_views.page(session, filters, after=after, limit=limit))


def count_matching(session: Session, filters: EnrollmentFilters) -> int:
    """Returns how many enrollments match all filters.

    Without filters it reads an index of the whole table: seconds for tens of millions of rows.
    """
    keys = _keys(session, filters)
    return 0 if keys is None else _count(session, keys)


_KEY = EnrollmentRow.created, EnrollmentRow.learner_id, EnrollmentRow.course_id


def _keys(session: Session, filters: EnrollmentFilters) -> Select[datetime, int, int] | None:
    """Returns a query of the keys of the matching enrollments; None if there can be none."""
    courses, learners = matching_courses(session, filters), matching_learners(session, filters)
    if courses == [] or learners == []:
        return None
    keys = select(*_KEY)
    if courses is not None:
        keys = keys.where(EnrollmentRow.course_id.in_(courses))
    if learners is not None:
        keys = keys.where(EnrollmentRow.learner_id.in_(learners))
    return keys


def _key_of_row(
    session: Session, filters: EnrollmentFilters, number: int
) -> EnrollmentPageKey | None:
    """Returns the key of a row, counted from 1, newest first; None if there are not so many."""
    keys = _keys(session, filters)
    if keys is None:
        return None
    order = tuple(column.desc() for column in _KEY)
    row = session.execute(keys.order_by(*order).offset(number - 1).limit(1)).first()
    return None if row is None else EnrollmentPageKey(microseconds(row[0]), row[1], row[2])


def _count(session: Session, query: SelectBase) -> int:
    return session.scalars(select(func.count()).select_from(query.subquery())).one()
