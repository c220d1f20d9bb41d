"""`/webhooks/{id}/deliveries`: the log of an endpoint, and sending again."""

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from uuid import UUID

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.database import ListReader
from api_gateway.http.pagination import encode_cursor, read_page_size
from api_gateway.http.responses import write_json
from api_gateway.resources.common.bulk_body import read_object
from api_gateway.resources.common.delivery_pages import (
    parse_delivery_id,
    read_before,
    read_delivery_state,
)
from api_gateway.resources.webhooks.endpoints import (
    WebhookParts,
    parse_webhook_id,
    webhook_not_found,
)
from enrollment.domain.codes import DeliveryState
from enrollment.domain.webhooks.records import Delivery
from enrollment.storage.events import events_after
from enrollment.storage.webhooks import deliveries, endpoints
from schemas.destinations.receivers import QueuedJson
from schemas.webhooks.endpoints import DeliveriesJson, dump_delivery, load_range
from schemas.webhooks.messages import event_messages


@dataclass(frozen=True, slots=True)
class DeliveriesResource:
    """The deliveries of one endpoint."""

    parts: WebhookParts
    lists: ListReader

    async def on_get(self, req: Request, resp: Response, webhook: str) -> None:
        """Lists the deliveries, newest first."""
        found, cursor = await self.read_page(req, webhook, limit=read_page_size(req))
        body: DeliveriesJson = {"deliveries": list(map(dump_delivery, found)), "next": cursor}
        write_json(resp, body)

    on_head = on_get

    async def read_page(
        self, req: Request, webhook: str, *, limit: int
    ) -> tuple[list[Delivery], str | None]:
        """Returns the deliveries that the parameters select, and the next cursor.

        Raises Problem 400, 404.
        """
        webhook_id, state, before = (
            parse_webhook_id(webhook),
            read_delivery_state(req),
            read_before(req),
        )
        found = await self.lists.read(
            _read_page, webhook_id, state=state, before=before, limit=limit
        )
        if found is None:
            raise webhook_not_found()
        return found, encode_cursor(str(found[-1].id)) if len(found) == limit else None


@dataclass(frozen=True, slots=True)
class RedeliverResource:
    """Sends one message again."""

    parts: WebhookParts

    async def on_post(self, req: Request, resp: Response, webhook: str, delivery: str) -> None:
        """Lets the message be sent at once, with the same id."""
        sent = await self.send_again(webhook, delivery)
        write_json(resp, dump_delivery(sent), HTTPStatus.ACCEPTED)

    async def send_again(self, webhook: str, delivery: str) -> Delivery:
        """Queues the message of a delivery again. Raises Problem 404."""
        webhook_id = parse_webhook_id(webhook)
        if (delivery_id := parse_delivery_id(delivery)) is None:
            raise webhook_not_found()
        sent = await self.parts.database.write(
            _send_again, webhook_id, delivery_id, now=self.parts.now()
        )
        if sent is None:
            raise webhook_not_found()
        return sent


@dataclass(frozen=True, slots=True)
class RedeliverRangeResource:
    """Sends the messages about a range of the feed again."""

    parts: WebhookParts

    async def on_post(self, req: Request, resp: Response, webhook: str) -> None:
        """Queues what matches the filters of the endpoint, whether it was sent before or not."""
        parse_webhook_id(webhook)
        first, last = await read_object(req, self.parts.database, load_range)
        body: QueuedJson = {"queued": await self.queue(webhook, first, last)}
        write_json(resp, body, HTTPStatus.ACCEPTED)

    async def queue(self, webhook: str, first: int, last: int) -> int:
        """Queues the messages about positions; returns how many. Raises Problem 404."""
        queued = await self.parts.database.write(
            _queue_range, parse_webhook_id(webhook), first, last, now=self.parts.now()
        )
        if queued is None:
            raise webhook_not_found()
        return queued


def _read_page(
    session: Session,
    webhook_id: UUID,
    *,
    state: DeliveryState | None,
    before: int | None,
    limit: int,
) -> list[Delivery] | None:
    """Returns a page of deliveries; None without the endpoint."""
    if endpoints.find(session, webhook_id) is None:
        return None
    return deliveries.page(session, webhook_id, state=state, before=before, limit=limit)


def _send_again(
    session: Session, webhook_id: UUID, delivery_id: int, *, now: datetime
) -> Delivery | None:
    """Lets a message be sent again; None without the endpoint or the delivery."""
    if endpoints.find(session, webhook_id) is None:
        return None
    return deliveries.send_again(session, webhook_id, delivery_id, now=now)


def _queue_range(
    session: Session, webhook_id: UUID, first: int, last: int, *, now: datetime
) -> int | None:
    """Queues messages about events; returns how many, None without the endpoint."""
    webhook = endpoints.find(session, webhook_id)
    if webhook is None:
        return None
    events = events_after(session, first - 1, limit=last - first + 1)
    return deliveries.queue(session, [webhook], event_messages(events), now=now, again=True)
