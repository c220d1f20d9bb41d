"""Deliveries: messages that are to be sent to endpoints, and what became of them."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, and_, bindparam, delete, func, select, update
from sqlalchemy.orm import Session, aliased

from enrollment.domain.codes import DeliveryState
from enrollment.domain.webhooks.messages import DisabledReason, WebhookMessage
from enrollment.domain.webhooks.records import AttemptResult, Delivery, Webhook
from enrollment.storage.bulk.array_params import insert_on
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.sending.delivery_log import newest_first
from enrollment.storage.tables import WebhookDeliveryRow, WebhookRow

#: Pending deliveries that are counted at most.
MAX_PENDING_COUNTED = 10_000
_PENDING = DeliveryState.PENDING.value


_COLUMNS = tuple(getattr(WebhookDeliveryRow, name) for name in Delivery._fields)
#: Takes the members of results; that of the id has a name that no column has.
_RECORD = (
    update(WebhookDeliveryRow)
    .where(WebhookDeliveryRow.id == bindparam("delivery_id"), WebhookDeliveryRow.state == _PENDING)
    .values(
        {name: bindparam(name) for name in AttemptResult._fields[1:]}
        | {"attempts": WebhookDeliveryRow.attempts + 1}
    )
)


def _delivery(row: Any) -> Delivery:
    delivery = Delivery._make(row)
    return delivery._replace(state=DeliveryState(delivery.state))


def order_key(subject: str) -> int:
    """Returns the number by which messages of a subject are kept in order."""
    return int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8], signed=True)


def queue(
    session: Session,
    webhooks: Iterable[Webhook],
    messages: Sequence[WebhookMessage],
    *,
    now: datetime,
    again: bool = False,
) -> int:
    """Queues messages for the endpoints whose filters they match; returns how many deliveries.

    A message that was queued for an endpoint before stays as it is; with `again` it is sent again.
    """
    rows = [
        {
            "webhook_id": webhook.id,
            "message_id": message.id,
            "type": message.type,
            "position": message.position,
            "body": message.body,
            "order_key": order_key(message.subject),
            "state": _PENDING,
            "created": now,
            "next_attempt_at": now,
        }
        for message in messages
        for webhook in webhooks
        if webhook.filter.matches(message)
    ]
    if rows:
        statement = insert_on(postgresql=is_postgresql(session))(WebhookDeliveryRow)
        key = ["webhook_id", "message_id"]
        anew = {"state": _PENDING, "next_attempt_at": now, "attempts": 0}
        session.execute(
            statement.on_conflict_do_update(index_elements=key, set_=anew)
            if again
            else statement.on_conflict_do_nothing(index_elements=key),
            rows,
        )
    return len(rows)


def queue_challenge(
    session: Session, webhook_id: UUID, challenge: WebhookMessage, *, now: datetime
) -> None:
    """Queues a challenge for an endpoint; those before it end, as their answer means nothing."""
    row = WebhookDeliveryRow
    session.execute(
        update(row)
        .where(row.webhook_id == webhook_id, _is_challenge(webhook_id), row.state == _PENDING)
        .values(state=DeliveryState.FAILED.value, next_attempt_at=None)
    )
    session.add(
        row(
            webhook_id=webhook_id,
            message_id=challenge.id,
            type=challenge.type,
            position=None,
            body=challenge.body,
            order_key=order_key(challenge.subject),
            state=_PENDING,
            created=now,
            next_attempt_at=now,
        )
    )
    session.flush()


def _is_challenge(webhook_id: UUID) -> ColumnElement[bool]:
    """Returns whether a delivery is a challenge: the endpoint is its subject."""
    return WebhookDeliveryRow.order_key == order_key(str(webhook_id))


def find_due_challenge(session: Session, webhook_id: UUID, *, now: datetime) -> list[Delivery]:
    """Returns the challenge of an endpoint if it is due."""
    return _due(session, webhook_id, _is_challenge(webhook_id), now=now, limit=1)


def find_due(session: Session, webhook_id: UUID, *, now: datetime, limit: int) -> list[Delivery]:
    """Returns deliveries of an endpoint that are due, in the order in which they became so.

    Of each subject only the oldest one that is pending: so they may be sent at the same time.
    """
    row, earlier = WebhookDeliveryRow, aliased(WebhookDeliveryRow)
    is_blocked = (
        select(earlier.id)
        .where(
            earlier.webhook_id == row.webhook_id,
            earlier.order_key == row.order_key,
            earlier.state == _PENDING,
            earlier.id < row.id,
        )
        .exists()
    )
    return _due(session, webhook_id, ~is_blocked, now=now, limit=limit)


def _due(
    session: Session, webhook_id: UUID, which: ColumnElement[bool], *, now: datetime, limit: int
) -> list[Delivery]:
    row = WebhookDeliveryRow
    query = (
        select(*_COLUMNS)
        .where(
            row.webhook_id == webhook_id,
            row.state == _PENDING,
            row.next_attempt_at <= now,
            which,
        )
        .order_by(row.next_attempt_at, row.id)
        .limit(limit)
    )
    return [_delivery(each) for each in session.execute(query)]


def record(session: Session, results: Iterable[AttemptResult]) -> None:
    """Stores the results of attempts of deliveries that are still pending, in one round trip."""
    rows = [result._asdict() for result in results]
    if rows:
        session.connection().execute(_RECORD, rows)


class PendingDeliveries(NamedTuple):
    """The number of deliveries to enabled endpoints that are pending, and the oldest one's time."""

    number: int = 0
    oldest: datetime | None = None

    def age(self, now: datetime) -> float:
        """Returns the age of the oldest one in seconds; 0 without one."""
        return 0.0 if self.oldest is None else max((now - self.oldest).total_seconds(), 0.0)


def load_pending(session: Session) -> PendingDeliveries:
    """Counts pending deliveries, up to `MAX_PENDING_COUNTED` of them."""
    row = WebhookDeliveryRow
    counted = (
        select(row.created)
        .join(WebhookRow, WebhookRow.id == row.webhook_id)
        .where(row.state == _PENDING, WebhookRow.disabled_at.is_(None))
        .limit(MAX_PENDING_COUNTED)
        .subquery()
    )
    number, oldest = session.execute(select(func.count(), func.min(counted.c.created))).one()
    return PendingDeliveries(number, oldest)


class MessageState(NamedTuple):
    """Whether a message has arrived at an endpoint."""

    message_id: UUID
    webhook_id: UUID
    url: str
    state: DeliveryState


def find_states(session: Session, message_ids: Collection[UUID]) -> list[MessageState]:
    """Returns the deliveries of messages to all endpoints, those to the oldest endpoint first.

    Endpoints are named in the statement, since the index of messages begins with them: SQLite would
    read all deliveries.
    """
    endpoints = select(WebhookRow.id, WebhookRow.url).order_by(WebhookRow.created, WebhookRow.id)
    urls = {row.id: row.url for row in session.execute(endpoints)}
    if not message_ids or not urls:
        return []
    row = WebhookDeliveryRow
    query = select(row.message_id, row.webhook_id, row.state).where(
        row.webhook_id.in_(urls), row.message_id.in_(message_ids)
    )
    found = [
        MessageState(message_id, webhook_id, urls[webhook_id], DeliveryState(state))
        for message_id, webhook_id, state in session.execute(query)
    ]
    order = {webhook_id: number for number, webhook_id in enumerate(urls)}
    return sorted(found, key=lambda one: order[one.webhook_id])


def page(
    session: Session,
    webhook_id: UUID,
    *,
    state: DeliveryState | None,
    before: int | None,
    limit: int,
) -> list[Delivery]:
    """Returns deliveries of an endpoint, newest first, those before an id."""
    row = WebhookDeliveryRow
    owner = row.webhook_id == webhook_id
    found = newest_first(session, row, _COLUMNS, owner, state=state, before=before, limit=limit)
    return list(map(_delivery, found))


def send_again(
    session: Session, webhook_id: UUID, delivery_id: int, *, now: datetime
) -> Delivery | None:
    """Lets a message be sent once more, with the same id; None if there is no such delivery."""
    row = WebhookDeliveryRow
    key = and_(row.webhook_id == webhook_id, row.id == delivery_id)
    session.execute(update(row).where(key).values(state=_PENDING, next_attempt_at=now, attempts=0))
    found = session.execute(select(*_COLUMNS).where(key)).one_or_none()
    return None if found is None else _delivery(found)


def purge(session: Session, *, before: datetime, limit: int) -> bool:
    """Deletes up to `limit` ended deliveries queued before a time; returns if more may be left.

    And those of endpoints that were removed, and at last these.
    """
    row, ids = WebhookDeliveryRow, _of_removed(session, limit)
    for webhook_id in session.scalars(select(WebhookRow.id)).all():
        for state in (DeliveryState.DELIVERED, DeliveryState.FAILED):
            # The oldest by id are the oldest by time: an index ends the search.
            of_state = row.webhook_id == webhook_id, row.state == state.value
            oldest = select(row.id, row.created).where(*of_state).order_by(row.id)
            found = session.execute(oldest.limit(limit - len(ids))).all()
            ids += [each[0] for each in found if each[1] < before]
    session.execute(delete(row).where(row.id.in_(ids)))
    return len(ids) == limit


def _of_removed(session: Session, limit: int) -> list[int]:
    """Returns up to `limit` deliveries of removed endpoints; deletes an endpoint without any."""
    row, ids = WebhookDeliveryRow, list[int]()
    is_removed = WebhookRow.disabled_reason == DisabledReason.REMOVED
    for webhook_id in session.scalars(select(WebhookRow.id).where(is_removed)).all():
        of_webhook = select(row.id).where(row.webhook_id == webhook_id)
        found = session.scalars(of_webhook.limit(limit - len(ids))).all()
        ids += found
        if not found and len(ids) < limit:
            session.execute(delete(WebhookRow).where(WebhookRow.id == webhook_id))
    return ids
