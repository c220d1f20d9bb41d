"""Pages of the log of deliveries to one receiver."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from enrollment.domain.codes import DeliveryState
from enrollment.storage.tables import DestinationDeliveryRow, WebhookDeliveryRow

#: A table of deliveries.
DeliveryRow = type[WebhookDeliveryRow] | type[DestinationDeliveryRow]


def newest_first(
    session: Session,
    row: DeliveryRow,
    columns: Sequence[Any],
    receiver: ColumnElement[bool],
    *,
    state: DeliveryState | None,
    before: int | None,
    limit: int,
) -> list[tuple[Any, ...]]:
    """Returns deliveries of a receiver, newest first, those before an id; `columns` begin with it.

    One query for each state: an index has them in this order, however few are in one state.
    """
    found: list[tuple[Any, ...]] = []
    for each in DeliveryState if state is None else (state,):
        query = select(*columns).where(receiver, row.state == each.value)
        if before is not None:
            query = query.where(row.id < before)
        rows = session.execute(query.order_by(row.id.desc()).limit(limit))
        found += map(tuple, rows)
    return sorted(found, key=lambda cells: cells[0], reverse=True)[:limit]
