"""Courses: loaded in sets by every batch, and replaced as a whole.

Every change raises the edition in the same transaction (`course_edition`). Saving a course as it is
stored changes nothing.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Executable, Integer, Select, String, bindparam, or_, select, update
from sqlalchemy import delete as delete_from
from sqlalchemy.orm import Session

from enrollment.domain.errors import Conflict, CourseInUse, CourseNotFound
from enrollment.domain.model import Course, Mode
from enrollment.storage.bulk.array_params import ArrayTable, insert_on
from enrollment.storage.course_edition import bump_edition, exclude_batches
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.tables import CourseRow, EnrollmentRow, ModeRow

#: Statements of every batch are built on tables: the mapper costs more than the rest.
_COURSES = CourseRow.metadata.tables[CourseRow.__tablename__]
_MODES = ModeRow.metadata.tables[ModeRow.__tablename__]
_COURSE, _MODE = _COURSES.c, _MODES.c
_NAMES = (
    *("course_id", "name", "enrollment_start", "enrollment_end", "course_start", "course_end"),
    *("invite_only", "self_paced", "cohorts", "capacity", "seats_taken"),
)
_COLUMNS = (_COURSE.id, _COURSE.revision, *(_COURSE[name] for name in _NAMES))
_MODE_NAMES = (
    *("slug", "name", "min_price", "suggested_prices", "currency", "expires_at", "description"),
    *("sku", "bulk_sku"),
)
_MODE_COLUMNS = tuple(_MODE[name] for name in _MODE_NAMES)


class LoadedCourse(NamedTuple):
    """A course, with the revision that guards the next write to its seats."""

    id: int
    revision: int
    course: Course


def save(session: Session, course: Course) -> None:
    """Inserts or replaces a course; the number of seats taken stays."""
    save_all(session, [course])


def save_all(session: Session, courses: Iterable[Course]) -> None:
    """Inserts or replaces courses; of two with the same id the later wins.

    Courses that are stored like this already stay as they are, with their revision; if all are, the
    edition stays too, and nothing is locked. Otherwise locks existing rows in the order in which
    batches lock them: a batch in progress commits before the change, or its seats conflict and it
    is processed again.
    """
    named = {course.course_id: course for course in courses}
    if _are_stored(session, named):
        return
    exclude_batches(session)
    _lock_in_row_order(session, select(_COURSE.id).where(_COURSE.course_id.in_(sorted(named))))
    changed = _different(named, _load(session, named))
    if changed:
        _replace(session, changed)
        bump_edition(session)


def _are_stored(session: Session, named: Mapping[str, Course]) -> bool:
    """Returns whether the courses are stored like this, without locking them.

    Courses and modes are read by two statements. A change between them raises a revision.
    """
    loaded = _load(session, named)
    if _different(named, loaded):
        return False
    revisions = select(_COURSE.id, _COURSE.revision).where(_COURSE.course_id.in_(sorted(named)))
    return dict(session.execute(revisions).all()) == {each.id: each.revision for each in loaded}


def _different(named: Mapping[str, Course], loaded: Iterable[LoadedCourse]) -> list[Course]:
    """Returns the courses that are not stored like this, in the order of their ids."""
    stored = {each.course.course_id: each.course for each in loaded}
    return [
        course
        for course_id, course in sorted(named.items())
        if course_id not in stored
        or stored[course_id] != replace(course, seats_taken=stored[course_id].seats_taken)
    ]


def _replace(session: Session, courses: Sequence[Course]) -> None:
    """Inserts or replaces courses, of which existing ones are locked, with their modes."""
    ids = _upsert(session, [_values(course) for course in courses])
    session.execute(delete_from(_MODES).where(_MODE.course_id.in_(sorted(ids.values()))))
    modes = [
        _mode_values(ids[course.course_id], position, mode)
        for course in courses
        for position, mode in enumerate(course.modes)
    ]
    if modes:
        session.execute(_MODES.insert(), modes)


def modify(session: Session, course_id: str, edit: Callable[[Course], Course]) -> Course:
    """Replaces a course by what `edit` returns for it, under a lock; returns the new course.

    Raises CourseNotFound.
    """
    exclude_batches(session)
    _lock_in_row_order(session, select(_COURSE.id).where(_COURSE.course_id == course_id))
    current = find(session, course_id)
    if current is None:
        raise CourseNotFound(course_id)
    changed = edit(current)
    save(session, changed)
    return changed


def find(session: Session, course_id: str) -> Course | None:
    """Returns a course, or None."""
    return find_all(session, [course_id]).get(course_id)


def find_all(session: Session, course_ids: Collection[str]) -> dict[str, Course]:
    """Returns the courses that exist among the ids."""
    return {each.course.course_id: each.course for each in _load(session, course_ids)}


def page(session: Session, *, after: str | None, limit: int) -> list[Course]:
    """Returns courses in the order of their ids, those after an id."""
    query = select(*_COLUMNS).order_by(_COURSE.course_id).limit(limit)
    if after is not None:
        query = query.where(_COURSE.course_id > after)
    rows = session.execute(query).all()
    mode_rows = session.execute(_MODES_OF_ROWS, {"rows": [row[0] for row in rows]})
    return [each.course for each in _with_modes(rows, mode_rows)]


def delete(session: Session, course_id: str) -> None:
    """Deletes a course without enrollments.

    Locks the row first. A batch that enrolls into the course updates the same row, so either its
    enrollments are visible here or it raises Conflict. Raises CourseNotFound, CourseInUse.
    """
    exclude_batches(session)
    row_id = session.scalar(
        select(_COURSE.id).where(_COURSE.course_id == course_id).with_for_update()
    )
    if row_id is None:
        raise CourseNotFound(course_id)
    used = select(EnrollmentRow.learner_id).where(EnrollmentRow.course_id == row_id).limit(1)
    if session.scalar(used) is not None:
        raise CourseInUse(course_id)
    session.execute(delete_from(_COURSES).where(_COURSE.id == row_id))
    bump_edition(session)


_IDS = ArrayTable("wanted", course_id=String())
_SEATS = ArrayTable("seats", id=Integer(), delta=Integer(), revision=Integer())


@cache
def _lock_capped(*, postgresql: bool) -> Select[int]:
    wanted = _IDS.table(postgresql=postgresql)
    return (
        select(_COURSE.id)
        .join(wanted, _COURSE.course_id == wanted.c.course_id)
        .where(_COURSE.capacity.is_not(None))
        .order_by(_COURSE.id)
        .with_for_update(of=_COURSES)
    )


def load_for_batch(
    session: Session, course_ids: Collection[str], *, lock_capped: bool = True
) -> dict[str, LoadedCourse]:
    """Returns the courses that exist among the ids, in a fixed number of statements.

    With `lock_capped` those with a capacity are locked until the transaction ends (`FOR UPDATE`, in
    row order): of two batches that need the last seat one waits until the other has committed.
    SQLite has a single writer anyway. A course that gets its capacity meanwhile is detected by its
    revision in `take_seats`.
    """
    loaded = _load(session, course_ids) if course_ids else []
    capped = [each.course.course_id for each in loaded if each.course.capacity is not None]
    if lock_capped and capped and is_postgresql(session):
        session.execute(_lock_capped(postgresql=True), _IDS.parameters(session, capped)).all()
        loaded = _load(session, course_ids)
    return {each.course.course_id: each for each in loaded}


@cache
def _take_seats(*, postgresql: bool) -> Executable:
    wanted = _SEATS.table(postgresql=postgresql)
    after = _COURSE.seats_taken + wanted.c.delta
    has_room = or_(_COURSE.capacity.is_(None), wanted.c.delta <= 0, after <= _COURSE.capacity)
    unchanged = (
        select(_COURSE.id, wanted.c.delta)
        .join(wanted, _COURSE.id == wanted.c.id)
        .where(_COURSE.revision == wanted.c.revision, has_room)
        .order_by(_COURSE.id)
        .with_for_update(of=_COURSES)
        .subquery("unchanged")
    )
    return (
        update(_COURSES)
        .where(_COURSE.id == unchanged.c.id)
        .values(seats_taken=_COURSE.seats_taken + unchanged.c.delta)
    )


def take_seats(session: Session, seats: Mapping[int, int], loaded: Mapping[int, int]) -> None:
    """Adds to the seats taken of each course (by row), in one statement.

    `loaded` has the revisions that were loaded. Raises Conflict if a course was changed or deleted
    since, or if a capacity set meanwhile would be exceeded: then the transaction must roll back.
    """
    if not seats:
        return
    rows = sorted(seats)
    parameters = _SEATS.parameters(
        session, rows, [seats[row] for row in rows], [loaded[row] for row in rows]
    )
    result = session.execute(_take_seats(postgresql=is_postgresql(session)), parameters)
    if result.rowcount != len(rows):  # type: ignore[attr-defined]
        message = f"of {len(rows)} courses some were changed since they were loaded"
        raise Conflict(message)


def _lock_in_row_order(session: Session, query: Select[int]) -> None:
    """Locks courses in the order of their rows; SQLite has a single writer anyway."""
    if is_postgresql(session):
        session.execute(query.order_by(_COURSE.id).with_for_update()).all()


def _upsert(session: Session, values: list[dict[str, Any]]) -> dict[str, int]:
    insert = insert_on(postgresql=is_postgresql(session))(_COURSES)
    replaced = {name: insert.excluded[name] for name in values[0] if name != "course_id"}
    statement = insert.on_conflict_do_update(
        index_elements=["course_id"], set_={**replaced, "revision": _COURSE.revision + 1}
    ).returning(_COURSE.course_id, _COURSE.id)
    return {row[0]: row[1] for row in session.execute(statement, values)}


def _values(course: Course) -> dict[str, Any]:
    values = {name: getattr(course, name) for name in _NAMES if name != "seats_taken"}
    return {**values, "cohorts": list(course.cohorts)}


def _mode_values(row_id: int, position: int, mode: Mode) -> dict[str, Any]:
    values = {name: getattr(mode, name) for name in _MODE_NAMES}
    return {"course_id": row_id, "position": position, **values}


@cache
def _select_courses(*, postgresql: bool) -> Select[*tuple[Any, ...]]:
    wanted = _IDS.table(postgresql=postgresql)
    return select(*_COLUMNS).join(wanted, _COURSE.course_id == wanted.c.course_id)


@cache
def _select_modes(*, postgresql: bool) -> Select[*tuple[Any, ...]]:
    wanted = _IDS.table(postgresql=postgresql)
    return _MODES_IN_ORDER.join(_COURSES, _COURSE.id == _MODE.course_id).join(
        wanted, _COURSE.course_id == wanted.c.course_id
    )


def _load(session: Session, course_ids: Collection[str]) -> list[LoadedCourse]:
    """Returns the courses that exist among the ids, with their modes, in two statements."""
    wanted, postgresql = _IDS.parameters(session, list(course_ids)), is_postgresql(session)
    rows = session.execute(_select_courses(postgresql=postgresql), wanted).all()
    return _with_modes(rows, session.execute(_select_modes(postgresql=postgresql), wanted))


_MODES_IN_ORDER = select(_MODE.course_id, *_MODE_COLUMNS).order_by(_MODE.course_id, _MODE.position)
_MODES_OF_ROWS = _MODES_IN_ORDER.where(_MODE.course_id.in_(bindparam("rows", expanding=True)))


def _with_modes(rows: Iterable[Any], mode_rows: Iterable[Any]) -> list[LoadedCourse]:
    modes: dict[int, list[Mode]] = {}
    for row in map(tuple, mode_rows):
        modes.setdefault(row[0], []).append(Mode(**dict(zip(_MODE_NAMES, row[1:], strict=True))))
    return [LoadedCourse(row[0], row[1], _course(row, modes.get(row[0], ()))) for row in rows]


def _course(row: Any, modes: Collection[Mode]) -> Course:
    facts = dict(zip(_NAMES, row[2:], strict=True))
    return Course(**{**facts, "cohorts": tuple(row.cohorts), "modes": tuple(modes)})
