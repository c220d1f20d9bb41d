"""Leases of receivers: only one process sends to a receiver at a time."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, or_, update
from sqlalchemy.orm import Session

from enrollment.storage.tables import DestinationRow, WebhookRow

#: A table of receivers.
ReceiverRow = type[WebhookRow] | type[DestinationRow]


def is_free(row: ReceiverRow, now: datetime) -> ColumnElement[bool]:
    """SQL condition: a receiver does not rest, and no process sends to it."""
    return or_(row.not_before.is_(None), row.not_before <= now) & or_(
        row.leased_until.is_(None), row.leased_until <= now
    )


def lease(
    session: Session,
    row: ReceiverRow,
    receiver_id: UUID,
    condition: ColumnElement[bool],
    *,
    until: datetime,
) -> bool:
    """Leases a receiver until a time if it fulfils a condition; returns whether it did."""
    statement = update(row).where(row.id == receiver_id, condition).values(leased_until=until)
    return session.scalar(statement.returning(row.id)) is not None


def end_lease(
    session: Session,
    row: ReceiverRow,
    receiver_id: UUID,
    *,
    failures: int,
    not_before: datetime | None,
    until: datetime | None = None,
) -> bool:
    """Ends the lease, with the failures in a row and the time until which the receiver rests.

    With `until`, only the lease that was made until then: False if another process has it now.
    """
    statement = update(row).where(row.id == receiver_id)
    if until is not None:
        statement = statement.where(row.leased_until == until)
    values = {"leased_until": None, "failures": failures, "not_before": not_before}
    return session.scalar(statement.values(values).returning(row.id)) is not None
