"""Deliveries: enrollments whose state is to arrive in a destination, one row for each."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Boolean, ColumnElement, and_, bindparam, case, func, or_, select, update
from sqlalchemy.orm import Session

from enrollment.domain.codes import DeliveryState
from enrollment.domain.destinations.deliveries import (
    SETTLE_SECONDS,
    QueuedState,
    SentState,
    StateDelivery,
)
from enrollment.domain.destinations.records import WantedState
from enrollment.domain.model import Enrollment
from enrollment.storage.bulk.array_params import insert_on
from enrollment.storage.destinations.registry import IS_THERE
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.enrollments import STATE_COLUMNS, decode_enrollment
from enrollment.storage.sending.delivery_log import newest_first
from enrollment.storage.tables import (
    CourseRow,
    DestinationDeliveryRow,
    DestinationRow,
    EnrollmentRow,
    LearnerRow,
)

_ROW = DestinationDeliveryRow
_PENDING, _FAILED = DeliveryState.PENDING.value, DeliveryState.FAILED.value
_COLUMNS = tuple(getattr(_ROW, name) for name in StateDelivery._fields)
_FIELDS = len(_COLUMNS)


class DueState(NamedTuple):
    """A delivery that is due, with the state to send."""

    delivery: StateDelivery
    state: WantedState


def _delivery(row: Any) -> StateDelivery:
    delivery = StateDelivery._make(row)
    return delivery._replace(state=DeliveryState(delivery.state))


def queue(
    session: Session, destination_id: UUID, states: Iterable[QueuedState], *, now: datetime
) -> int:
    """Queues the current states of enrollments, each of which stands once in `states`.

    An enrollment that waits already waits once, for the last change. Returns how many are queued.
    """
    rows = [
        {
            **state._asdict(),
            "destination_id": destination_id,
            "state": _PENDING,
            "created": now,
            "next_attempt_at": now,
        }
        for state in states
    ]
    if rows:
        statement = insert_on(postgresql=is_postgresql(session))(_ROW)
        key = ["destination_id", "course_id", "username"]
        changed = _coalesced(statement.excluded, now)
        session.execute(statement.on_conflict_do_update(index_elements=key, set_=changed), rows)
    return len(rows)


def _coalesced(new: Any, now: datetime) -> dict[str, Any]:
    """Returns the columns of a row whose enrollment was changed again.

    After a failure it waits on, for a while at least: a request that was given up here could else
    be applied there after the one about the change.
    """
    is_waiting = _ROW.state == _PENDING
    has_arrived = _ROW.state == DeliveryState.DELIVERED.value
    settled = now + timedelta(seconds=SETTLE_SECONDS)
    return {
        "position": case((_ROW.position > new.position, _ROW.position), else_=new.position),
        "version": _ROW.version + 1,
        "is_forced": or_(new.is_forced, and_(~has_arrived, _ROW.is_forced)),
        "state": _PENDING,
        "attempts": 0,
        "created": case((is_waiting, _ROW.created), else_=new.created),
        "next_attempt_at": case(
            (is_waiting & (_ROW.next_attempt_at > settled), settled),
            (is_waiting & (_ROW.next_attempt_at > new.next_attempt_at), _ROW.next_attempt_at),
            else_=new.next_attempt_at,
        ),
    }


def find_due(
    session: Session, destination_id: UUID, *, now: datetime, limit: int
) -> list[DueState]:
    """Returns deliveries of a destination that are due, oldest first, with the states to send.

    A state is that of the enrollment in this transaction, never an older one.
    """
    query = (
        select(*_COLUMNS, LearnerRow.email, *STATE_COLUMNS)
        .join(LearnerRow, LearnerRow.username == _ROW.username)
        .join(CourseRow, CourseRow.course_id == _ROW.course_id)
        .join(
            EnrollmentRow,
            and_(
                EnrollmentRow.learner_id == LearnerRow.id, EnrollmentRow.course_id == CourseRow.id
            ),
        )
        .where(_is_of(destination_id), _ROW.state == _PENDING, _ROW.next_attempt_at <= now)
        .order_by(_ROW.next_attempt_at, _ROW.id)
        .limit(limit)
    )
    return [_due(tuple(row)) for row in session.execute(query)]


def longest_overdue(session: Session, destination_ids: Collection[UUID], *, now: datetime) -> float:
    """Returns the seconds since the first of the pending deliveries of destinations became due."""
    is_pending = _ROW.destination_id.in_(destination_ids) & (_ROW.state == _PENDING)
    first = session.scalar(select(func.min(_ROW.next_attempt_at)).where(is_pending))
    return 0.0 if first is None else max((now - first).total_seconds(), 0.0)


def _due(cells: Sequence[Any]) -> DueState:
    delivery = _delivery(cells[:_FIELDS])
    enrollment = decode_enrollment(cells[_FIELDS + 1 :])
    return DueState(delivery, _wanted(delivery, cells[_FIELDS], enrollment))


def _wanted(delivery: StateDelivery, email: str | None, enrollment: Enrollment) -> WantedState:
    return WantedState(
        delivery.course_id,
        delivery.username,
        email,
        enrollment.mode,
        enrollment.is_active,
        delivery.is_forced,
        enrollment.attributes,
    )


def _is_of(destination_id: UUID) -> ColumnElement[bool]:
    return _ROW.destination_id == destination_id


def record(session: Session, results: Iterable[SentState]) -> None:
    """Stores the results of attempts, in two statements.

    A delivery that was queued again since then keeps waiting, for the later change.
    """
    rows = [_parameters(result) for result in results]
    if rows:
        session.connection().execute(_RECORD_OLDER, rows)
        session.connection().execute(_RECORD, rows)


def _parameters(result: SentState) -> dict[str, object]:
    has_arrived = result.state is DeliveryState.DELIVERED
    return {
        "sent_id": result.delivery_id,
        "sent_version": result.version,
        "new_state": result.state.value,
        "new_attempted_at": result.attempted_at,
        "new_next_attempt_at": result.next_attempt_at,
        "new_status": result.status,
        "new_answer": result.answer,
        "new_error": result.error,
        "arrived": result.position if has_arrived else None,
        "stays_forced": not has_arrived,
    }


_TABLE = _ROW.metadata.tables[_ROW.__tablename__]
_CELLS = _TABLE.c
#: The last attempt, in any case.
_ATTEMPT: dict[str, Any] = {
    "attempted_at": bindparam("new_attempted_at", type_=_CELLS.attempted_at.type),
    "status": bindparam("new_status", type_=_CELLS.status.type),
    "answer": bindparam("new_answer", type_=_CELLS.answer.type),
    "error": bindparam("new_error", type_=_CELLS.error.type),
    "arrived_position": func.coalesce(
        bindparam("arrived", type_=_CELLS.arrived_position.type), _CELLS.arrived_position
    ),
}
_NEXT = bindparam("new_next_attempt_at", type_=_CELLS.next_attempt_at.type)
_IS_SENT = _CELLS.id == bindparam("sent_id")
_RECORD = (
    update(_TABLE)
    .where(_IS_SENT, _CELLS.version == bindparam("sent_version"))
    .values(
        **_ATTEMPT,
        state=bindparam("new_state"),
        attempts=_CELLS.attempts + 1,
        next_attempt_at=_NEXT,
        is_forced=and_(_CELLS.is_forced, bindparam("stays_forced", type_=Boolean())),
    )
)
#: An attempt of a state that was changed since does not end the delivery.
_RECORD_OLDER = (
    update(_TABLE)
    .where(_IS_SENT, _CELLS.version != bindparam("sent_version"), _CELLS.state == _PENDING)
    .values(**_ATTEMPT, next_attempt_at=func.coalesce(_NEXT, _CELLS.next_attempt_at))
)


def send_again(session: Session, delivery_ids: Iterable[int], *, at: datetime) -> None:
    """Queues deliveries once more, because an attempt may have ended after a later one."""
    session.execute(update(_ROW).where(_ROW.id.in_(list(delivery_ids))).values(_anew(at)))


def _anew(now: datetime) -> dict[str, Any]:
    return {
        "state": _PENDING,
        "attempts": 0,
        "version": _ROW.version + 1,
        "created": case((_ROW.state == _PENDING, _ROW.created), else_=now),
        "next_attempt_at": now,
    }


def page(
    session: Session,
    destination_id: UUID,
    *,
    state: DeliveryState | None,
    before: int | None,
    limit: int,
) -> list[StateDelivery]:
    """Returns deliveries of a destination, newest first, those before an id."""
    owner = _is_of(destination_id)
    found = newest_first(session, _ROW, _COLUMNS, owner, state=state, before=before, limit=limit)
    return list(map(_delivery, found))


def _in(name: str) -> ColumnElement[bool]:
    owner = select(DestinationRow.id).where(DestinationRow.name == name, IS_THERE).scalar_subquery()
    return _ROW.destination_id == owner


def retry(session: Session, name: str, delivery_id: int, *, now: datetime) -> StateDelivery | None:
    """Lets the state of an enrollment be sent at once; None if there is no such delivery."""
    key = and_(_in(name), _ROW.id == delivery_id)
    session.execute(update(_ROW).where(key).values(_anew(now)))
    found = session.execute(select(*_COLUMNS).where(key)).one_or_none()
    return None if found is None else _delivery(found)


def retry_failed(
    session: Session, destination_id: UUID, *, after: int, limit: int, now: datetime
) -> Sequence[int]:
    """Lets states that failed be sent at once; returns their ids, `limit` at most, after an id."""
    is_failed = and_(_is_of(destination_id), _ROW.state == _FAILED)
    query = select(_ROW.id).where(is_failed, _ROW.id > after).order_by(_ROW.id).limit(limit)
    ids = session.scalars(query).all()
    session.execute(update(_ROW).where(_ROW.id.in_(ids), is_failed).values(_anew(now)))
    return ids
