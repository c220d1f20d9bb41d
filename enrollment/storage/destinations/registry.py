"""Destinations as operators made them, and their leases."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from enrollment.domain.codes import DeliveryState
from enrollment.domain.destinations.deliveries import StoredDestination
from enrollment.domain.destinations.records import Destination
from enrollment.storage.events import last_position
from enrollment.storage.sending import leases
from enrollment.storage.tables import DestinationDeliveryRow, DestinationRow

#: The kind of a destination that was removed; no kind of systems has this name.
REMOVED_KIND = "removed"
#: SQL condition: a destination was not removed.
IS_THERE = DestinationRow.kind != REMOVED_KIND


def _stored(row: DestinationRow) -> StoredDestination:
    destination = Destination(
        row.name,
        row.kind,
        row.url,
        frozenset(row.courses),
        row.concurrency,
        row.requests_per_second,
        row.is_paused,
        row.pull_courses_every,
    )
    rest = row.auth, row.created, row.since, row.failures, row.not_before
    return StoredDestination(row.id, destination, *rest)


def _columns(destination: Destination) -> dict[str, object]:
    return {**destination._asdict(), "courses": sorted(destination.courses)}


def put(
    session: Session,
    destination: Destination,
    auth: str | None,
    *,
    destination_id: UUID,
    now: datetime,
) -> tuple[StoredDestination | None, bool]:
    """Adds or replaces a destination; returns it, and whether it was added.

    A new one receives what happens from now on. `auth` is encrypted; without it the stored one
    stays. None is returned where there is none, and where it is for another origin: it must not be
    sent to an address that it was not given for. One that rested is tried again at once.
    """
    row = session.scalar(
        select(DestinationRow).where(DestinationRow.name == destination.name).with_for_update()
    )
    if row is not None:
        if auth is None and _stored(row).destination.origin != destination.origin:
            return None, False
        changed = {"auth": auth} if auth is not None else {}
        values = {**_columns(destination), **changed, "not_before": None}
        session.execute(update(DestinationRow).where(DestinationRow.id == row.id).values(values))
        return find(session, destination.name), False
    if auth is None:
        return None, True
    added = DestinationRow(
        id=destination_id,
        auth=auth,
        created=now,
        since=last_position(session),
        failures=0,
        **_columns(destination),
    )
    session.add(added)
    session.flush()
    return _stored(added), True


def set_paused(session: Session, name: str, *, is_paused: bool) -> StoredDestination | None:
    """Pauses or resumes a destination; one that rested is tried again at once."""
    values = {"is_paused": is_paused, "not_before": None}
    session.execute(update(DestinationRow).where(DestinationRow.name == name).values(values))
    return find(session, name)


def find(session: Session, name: str) -> StoredDestination | None:
    """Returns a destination."""
    query = select(DestinationRow).where(DestinationRow.name == name, IS_THERE)
    row = session.scalar(query.execution_options(populate_existing=True))
    return None if row is None else _stored(row)


def find_all(session: Session) -> list[StoredDestination]:
    """Returns all destinations, by name."""
    query = select(DestinationRow).where(IS_THERE).order_by(DestinationRow.name)
    return [_stored(row) for row in session.scalars(query)]


def find_ids(session: Session) -> set[UUID]:
    """Returns the ids of all destinations."""
    return set(session.scalars(select(DestinationRow.id).where(IS_THERE)))


def _is_free(now: datetime) -> ColumnElement[bool]:
    return IS_THERE & ~DestinationRow.is_paused & leases.is_free(DestinationRow, now)


def find_due(session: Session, *, now: datetime) -> list[UUID]:
    """Returns the destinations to which something is to be sent.

    One look-up in an index for each destination.
    """
    row = DestinationDeliveryRow
    due = (
        select(row.id)
        .where(
            row.destination_id == DestinationRow.id,
            row.state == DeliveryState.PENDING.value,
            row.next_attempt_at <= now,
        )
        .exists()
    )
    return list(session.scalars(select(DestinationRow.id).where(_is_free(now), due)))


def lease(
    session: Session, destination_id: UUID, *, now: datetime, until: datetime
) -> StoredDestination | None:
    """Leases a destination to this process until a time; None if it is not free, or paused."""
    condition = _is_free(now)
    if not leases.lease(session, DestinationRow, destination_id, condition, until=until):
        return None
    query = select(DestinationRow).where(DestinationRow.id == destination_id)
    row = session.scalars(query.execution_options(populate_existing=True)).one()
    return _stored(row)


def end_lease(
    session: Session,
    destination_id: UUID,
    *,
    failures: int,
    not_before: datetime | None,
    until: datetime,
) -> bool:
    """Ends the lease that was made until a time; False if it is another process's now."""
    return leases.end_lease(
        session,
        DestinationRow,
        destination_id,
        failures=failures,
        not_before=not_before,
        until=until,
    )
