"""Endpoints: URLs to which messages are sent, with their filters and secrets."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select, tuple_, update
from sqlalchemy.orm import Session

from enrollment.domain.webhooks.messages import DisabledReason, WebhookFilter
from enrollment.domain.webhooks.records import Webhook, WebhookMembers
from enrollment.storage.events import last_position
from enrollment.storage.sending import leases
from enrollment.storage.tables import WebhookDeliveryRow, WebhookRow
from enrollment.storage.webhooks.deliveries import order_key

_IS_ENABLED = WebhookRow.disabled_reason.is_(None)
_IS_UNVERIFIED = WebhookRow.disabled_reason == DisabledReason.UNVERIFIED
_EXISTS = or_(_IS_ENABLED, WebhookRow.disabled_reason != DisabledReason.REMOVED)


def _webhook(row: WebhookRow) -> Webhook:
    filters = WebhookFilter(*map(frozenset, (row.types, row.courses, row.callers)))
    return Webhook(
        row.id,
        row.url,
        row.description,
        filters,
        row.secret,
        row.previous_secret,
        row.previous_until,
        row.created,
        row.disabled_reason,
        row.disabled_at,
        row.since,
        row.failures,
        row.caller,
    )


def _columns(members: WebhookMembers) -> dict[str, object]:
    lists = zip(("types", "courses", "callers"), members.filter, strict=True)
    return {
        "url": members.url,
        "description": members.description,
        **{name: sorted(values) for name, values in lists},
    }


def add(
    session: Session,
    members: WebhookMembers,
    *,
    webhook_id: UUID,
    secret: str,
    caller: str,
    now: datetime,
    disabled_reason: DisabledReason | None = None,
) -> Webhook:
    """Adds an endpoint of a caller, which receives what happens from now on; `secret` is encrypted.

    With a reason nothing is queued for it until it is enabled.
    """
    row = WebhookRow(
        id=webhook_id,
        secret=secret,
        caller=caller,
        created=now,
        since=last_position(session),
        failures=0,
        disabled_reason=disabled_reason,
        disabled_at=None if disabled_reason is None else now,
        **_columns(members),
    )
    session.add(row)
    session.flush()
    return _webhook(row)


def replace(session: Session, webhook_id: UUID, members: WebhookMembers) -> Webhook | None:
    """Replaces what the owner states, and lets an endpoint that rested be tried again."""
    return _update(session, webhook_id, not_before=None, **_columns(members))


def rotate(
    session: Session, webhook_id: UUID, secret: str, *, previous_until: datetime
) -> Webhook | None:
    """Sets a new encrypted secret; the one before signs as well until a time."""
    return _update(
        session,
        webhook_id,
        secret=secret,
        previous_secret=WebhookRow.secret,
        previous_until=previous_until,
    )


def enable(session: Session, webhook_id: UUID) -> Webhook | None:
    """Lets messages be sent to the endpoint, at once."""
    return _update(
        session, webhook_id, disabled_reason=None, disabled_at=None, failures=0, not_before=None
    )


def disable(
    session: Session, webhook_id: UUID, reason: DisabledReason, *, now: datetime
) -> Webhook | None:
    """Lets no message be sent to the endpoint, and none be queued for it."""
    return _update(session, webhook_id, disabled_reason=reason, disabled_at=now)


def await_answer(session: Session, webhook_id: UUID, *, now: datetime) -> Webhook | None:
    """Lets nothing but its challenge be sent to the endpoint, and that at once."""
    return _update(
        session,
        webhook_id,
        disabled_reason=DisabledReason.UNVERIFIED,
        disabled_at=now,
        failures=0,
        not_before=None,
    )


def verify(session: Session, webhook_id: UUID, url: str) -> bool:
    """Enables an endpoint whose receiver at a URL answered the challenge; returns if it was so.

    Not one that was disabled, or whose URL was replaced, meanwhile.
    """
    found = session.scalar(
        update(WebhookRow)
        .where(
            WebhookRow.id == webhook_id,
            WebhookRow.url == url,
            WebhookRow.disabled_reason == DisabledReason.UNVERIFIED,
        )
        .values(disabled_reason=None, disabled_at=None)
        .returning(WebhookRow.id)
    )
    return found is not None


def _update(session: Session, webhook_id: UUID, **values: object) -> Webhook | None:
    session.execute(update(WebhookRow).where(WebhookRow.id == webhook_id, _EXISTS).values(**values))
    return find(session, webhook_id)


def remove(session: Session, webhook_id: UUID) -> bool:
    """Removes an endpoint, and its secrets; returns whether it existed.

    Its row stays until a purge has deleted its deliveries, which may be millions.
    """
    found = session.scalar(
        update(WebhookRow)
        .where(WebhookRow.id == webhook_id, _EXISTS)
        .values(disabled_reason=DisabledReason.REMOVED, secret="", previous_secret=None)
        .returning(WebhookRow.id)
    )
    return found is not None


def find(session: Session, webhook_id: UUID, *, is_locked: bool = False) -> Webhook | None:
    """Returns an endpoint; with `is_locked` it is locked against changes (`FOR UPDATE`)."""
    query = select(WebhookRow).where(WebhookRow.id == webhook_id, _EXISTS)
    query = query.with_for_update() if is_locked else query
    row = session.scalar(query.execution_options(populate_existing=True))
    return None if row is None else _webhook(row)


def find_all(session: Session) -> list[Webhook]:
    """Returns all endpoints, oldest first."""
    query = select(WebhookRow).where(_EXISTS).order_by(WebhookRow.created, WebhookRow.id)
    return [_webhook(row) for row in session.scalars(query)]


def _is_free(now: datetime) -> ColumnElement[bool]:
    """Returns whether something may be sent to an endpoint, it does not rest, and is not leased."""
    return or_(_IS_ENABLED, _IS_UNVERIFIED) & leases.is_free(WebhookRow, now)


def find_due(session: Session, *, now: datetime) -> list[tuple[UUID, bool]]:
    """Returns the endpoints to which something is to be sent, and whether the last attempt failed.

    One look-up in an index for each endpoint. To one that is not verified it is its challenge.
    """
    waiting = session.scalars(select(WebhookRow.id).where(_IS_UNVERIFIED, _is_free(now))).all()
    challenges = [(each, order_key(str(each))) for each in waiting]
    is_challenge = tuple_(WebhookDeliveryRow.webhook_id, WebhookDeliveryRow.order_key)
    due = (
        select(WebhookDeliveryRow.id)
        .where(
            WebhookDeliveryRow.webhook_id == WebhookRow.id,
            WebhookDeliveryRow.state == "pending",
            WebhookDeliveryRow.next_attempt_at <= now,
        )
        .exists()
    )
    is_due: ColumnElement[bool] = _IS_ENABLED & due
    if challenges:
        of_challenges = select(WebhookDeliveryRow.webhook_id).where(
            is_challenge.in_(challenges),
            WebhookDeliveryRow.state == "pending",
            WebhookDeliveryRow.next_attempt_at <= now,
        )
        is_due = or_(is_due, WebhookRow.id.in_(of_challenges))
    query = select(WebhookRow.id, WebhookRow.failures).where(_is_free(now), is_due)
    return [(row[0], row[1] > 0) for row in session.execute(query)]


def lease(session: Session, webhook_id: UUID, *, now: datetime, until: datetime) -> Webhook | None:
    """Leases an endpoint to this process until a time; None if another one has it."""
    is_leased = leases.lease(session, WebhookRow, webhook_id, _is_free(now), until=until)
    return find(session, webhook_id) if is_leased else None


def end_lease(
    session: Session,
    webhook_id: UUID,
    until: datetime,
    *,
    failures: int,
    not_before: datetime | None,
) -> None:
    """Ends the lease until `until`, with the failures in a row and the time until which to rest.

    Changes nothing if that lease is over, and another process has the endpoint.
    """
    leases.end_lease(
        session, WebhookRow, webhook_id, failures=failures, not_before=not_before, until=until
    )
