"""Whether states have arrived in destinations, and the backlog of each destination."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from enrollment.domain.codes import DeliveryState
from enrollment.domain.destinations.deliveries import Arrival, DestinationBacklog
from enrollment.storage.destinations.registry import IS_THERE
from enrollment.storage.tables import DestinationDeliveryRow, DestinationRow

_ROW = DestinationDeliveryRow
#: Deliveries that are counted at most: more are as many.
MAX_COUNTED_DELIVERIES = 100_000
_ANY_DESTINATION = select(DestinationRow.id).where(IS_THERE).limit(1)


def find_arrivals(session: Session, keys: Iterable[tuple[str, str]]) -> list[Arrival]:
    """Returns the deliveries of enrollments, by (course_id, username), in one statement.

    Without destinations another one finds that there are none, and nothing is looked up.
    """
    wanted = set(keys)
    if not wanted or session.scalar(_ANY_DESTINATION) is None:
        return []
    query = (
        select(
            _ROW.course_id,
            _ROW.username,
            DestinationRow.name,
            _ROW.position,
            _ROW.state,
            _ROW.attempted_at,
        )
        .join(DestinationRow, DestinationRow.id == _ROW.destination_id)
        .where(
            IS_THERE,
            _ROW.username.in_({username for _, username in wanted}),
            _ROW.course_id.in_({course_id for course_id, _ in wanted}),
        )
        .order_by(DestinationRow.name)
    )
    found = (Arrival._make(row) for row in session.execute(query))
    return [
        each._replace(state=DeliveryState(each.state))
        for each in found
        if (each.course_id, each.username) in wanted
    ]


def load_backlogs(session: Session) -> list[DestinationBacklog]:
    """Returns what waits for each destination, by name."""
    query = select(DestinationRow).where(IS_THERE).order_by(DestinationRow.name)
    return [_backlog(session, row) for row in session.scalars(query).all()]


def _backlog(session: Session, destination: DestinationRow) -> DestinationBacklog:
    pending, failed = (
        session.scalar(
            select(func.count()).select_from(
                select(_ROW.id)
                .where(_ROW.destination_id == destination.id, _ROW.state == state.value)
                .limit(MAX_COUNTED_DELIVERIES)
                .subquery()
            )
        )
        for state in (DeliveryState.PENDING, DeliveryState.FAILED)
    )
    oldest = _oldest(session, destination) if pending else None
    return DestinationBacklog(
        destination.name, destination.is_paused, pending or 0, oldest, failed or 0
    )


def _oldest(session: Session, destination: DestinationRow) -> datetime | None:
    return session.scalar(
        select(func.min(_ROW.created)).where(
            _ROW.destination_id == destination.id, _ROW.state == DeliveryState.PENDING.value
        )
    )
