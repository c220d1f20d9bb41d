"""Queues messages for the endpoints that receive them: from the feed, and about submissions."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from enrollment.domain.events import RecordedEvent
from enrollment.domain.webhooks.messages import SUBMISSION_DONE, WebhookMessage
from enrollment.domain.webhooks.records import Webhook
from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.events import events_after, last_position
from enrollment.storage.outbox.installation import installation_id
from enrollment.storage.webhooks import deliveries, endpoints, positions
from schemas.events import event_source
from schemas.webhooks.messages import done_message, event_messages

#: Events that are read and queued by one transaction.
EVENTS_PER_SLICE = 500
#: About how many submissions of each kind are read at once.
SUBMISSIONS_PER_SLICE = 1_000
#: A submission becomes visible at its commit, later than the time it has: so much is read again.
VISIBLE_AFTER = timedelta(seconds=60)


def fan_out(session: Session, events: Sequence[RecordedEvent]) -> int:
    """Queues the messages of the next events of the feed, and stores that they were read.

    The caller holds the lock on the position. Returns the number of deliveries.
    """
    if not events:
        return 0
    webhooks = [webhook for webhook in endpoints.find_all(session) if webhook.is_enabled]
    queued = _queue(session, webhooks, event_messages(events))
    positions.advance(session, positions.FEED, position=events[-1].position)
    return queued


def _queue(
    session: Session, webhooks: Sequence[Webhook], messages: Sequence[WebhookMessage]
) -> int:
    now = database_now(session)
    return sum(
        deliveries.queue(session, [webhook], _since(webhook, messages), now=now)
        for webhook in webhooks
    )


def _since(webhook: Webhook, messages: Sequence[WebhookMessage]) -> list[WebhookMessage]:
    """Returns the messages about what happened after an endpoint was made."""
    return [
        message
        for message in messages
        if message.position is None or message.position > webhook.since
    ]


def read_feed(sessions: Sessions) -> int | None:
    """Queues messages about the next slice of the feed; returns the number of events, 0 at its end.

    None if another process reads it. Without endpoints it goes to the end of the feed at once.
    """
    with sessions.read() as session:
        read, end = positions.find_position(session, positions.FEED), last_position(session)
    if read >= end:
        return 0
    with sessions.begin() as session:
        locked = positions.lock(session, positions.FEED)
        if locked is None:
            return None
        if not any(webhook.is_enabled for webhook in endpoints.find_all(session)):
            # Not to the end as it is now: an endpoint may have been added before it.
            positions.advance(session, positions.FEED, position=max(end, locked.position))
            return 0
        events = events_after(session, locked.position, limit=EVENTS_PER_SLICE)
        fan_out(session, events)
        return len(events)


def read_submissions(sessions: Sessions) -> int:
    """Queues messages about submissions that were done since the last call; returns how many.

    Submissions that were done within `VISIBLE_AFTER` are read again each time, and queued once.
    """
    with sessions.read() as session:
        if not _receivers(session):
            return 0
    with sessions.begin() as session:
        locked = positions.lock(session, positions.SUBMISSIONS)
        if locked is None:
            return 0
        receivers = _receivers(session)
        now = database_now(session)
        since = min((webhook.created for webhook in receivers), default=now)
        after = max(locked.read_until or since, since)
        return _read_submissions(session, receivers, after, now)


def _receivers(session: Session) -> list[Webhook]:
    """Returns the enabled endpoints that receive messages about submissions."""
    return [
        webhook
        for webhook in endpoints.find_all(session)
        if webhook.is_enabled and (not (types := webhook.filter.types) or SUBMISSION_DONE in types)
    ]


def _read_submissions(
    session: Session, receivers: Sequence[Webhook], after: datetime, now: datetime
) -> int:
    limit = SUBMISSIONS_PER_SLICE
    done, until = positions.done_submissions(session, after=after, until=now, limit=limit)
    source = event_source(installation_id(session))
    queued = 0
    for webhook in receivers:
        later = [
            done_message(each, source=source)
            for each in done
            if each.finished_at >= webhook.created
        ]
        queued += deliveries.queue(session, [webhook], later, now=now)
    read_until = min(now - VISIBLE_AFTER, until)
    positions.advance(session, positions.SUBMISSIONS, read_until=max(after, read_until))
    return queued
