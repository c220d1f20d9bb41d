"""Removal of destinations: hidden at once, and deleted in portions by the purge.

One statement that deletes a million deliveries would not end within the time limit of statements.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from enrollment.storage.destinations import reports
from enrollment.storage.destinations.registry import IS_THERE, REMOVED_KIND
from enrollment.storage.tables import DestinationDeliveryRow, DestinationRow


def remove(session: Session, name: str, *, now: datetime) -> bool:
    """Removes a destination and its credentials, and ends its jobs; returns whether it existed.

    Another one may have its name at once: this gets one that no caller can give.
    """
    query = select(DestinationRow.id).where(DestinationRow.name == name, IS_THERE)
    removed = session.scalar(query.with_for_update())
    if removed is None:
        return False
    values = {"name": f":{removed.hex}", "kind": REMOVED_KIND, "auth": ""}
    session.execute(update(DestinationRow).where(DestinationRow.id == removed).values(values))
    reports.end_all(session, removed, now=now)
    return True


def purge(session: Session, *, limit: int) -> bool:
    """Deletes up to `limit` rows of what is not kept; returns if more may be left.

    Reports that are too old; deliveries and reports of removed destinations, and at last these.
    """
    removed = session.scalars(select(DestinationRow.id).where(~IS_THERE)).all()
    if reports.purge(session, removed, limit=limit):
        return True
    if removed:
        _purge_deliveries(session, removed[0], limit)
    return bool(removed)


def _purge_deliveries(session: Session, destination_id: UUID, limit: int) -> None:
    """Deletes deliveries of a destination, and it with the last of them."""
    row = DestinationDeliveryRow
    oldest = select(row.id).where(row.destination_id == destination_id).limit(limit)
    ids = session.scalars(oldest).all()
    session.execute(delete(row).where(row.id.in_(ids)))
    if len(ids) < limit:
        session.execute(delete(DestinationRow).where(DestinationRow.id == destination_id))
