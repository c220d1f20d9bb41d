"""`/destinations/{name}/deliveries`: the log of a destination, and sending again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.database import ListReader
from api_gateway.http.pagination import encode_cursor, read_page_size
from api_gateway.http.responses import write_json
from api_gateway.resources.common.delivery_pages import (
    parse_delivery_id,
    read_before,
    read_delivery_state,
)
from api_gateway.resources.destinations.destinations import (
    DestinationParts,
    destination_not_found,
)
from enrollment.domain.codes import DeliveryState
from enrollment.domain.destinations.deliveries import StateDelivery
from enrollment.storage.destinations import deliveries, registry
from schemas.destinations.deliveries import StateDeliveriesJson, dump_state_delivery
from schemas.destinations.receivers import QueuedJson

#: Deliveries that are queued again by one transaction.
RETRIED_TOGETHER = 1_000


@dataclass(frozen=True, slots=True)
class StateDeliveriesResource:
    """The deliveries of one destination."""

    parts: DestinationParts
    lists: ListReader

    async def on_get(self, req: Request, resp: Response, destination: str) -> None:
        """Lists the deliveries, newest first."""
        found, cursor = await self.read_page(req, destination, limit=read_page_size(req))
        body: StateDeliveriesJson = {
            "deliveries": list(map(dump_state_delivery, found)),
            "next": cursor,
        }
        write_json(resp, body)

    on_head = on_get

    async def read_page(
        self, req: Request, destination: str, *, limit: int
    ) -> tuple[list[StateDelivery], str | None]:
        """Returns the deliveries that the parameters select, and the next cursor.

        Raises Problem 400, 404.
        """
        state, before = read_delivery_state(req), read_before(req)
        found = await self.lists.read(
            _read_page, destination, state=state, before=before, limit=limit
        )
        if found is None:
            raise destination_not_found()
        return found, encode_cursor(str(found[-1].id)) if len(found) == limit else None


@dataclass(frozen=True, slots=True)
class RetryResource:
    """Sends the state of one enrollment again."""

    parts: DestinationParts

    async def on_post(self, req: Request, resp: Response, destination: str, delivery: str) -> None:
        """Lets the state be sent at once, as it is then."""
        queued = await self.retry(destination, delivery)
        write_json(resp, dump_state_delivery(queued), HTTPStatus.ACCEPTED)

    async def retry(self, destination: str, delivery: str) -> StateDelivery:
        """Queues the state again. Raises Problem 404."""
        if (delivery_id := parse_delivery_id(delivery)) is None:
            raise destination_not_found()
        queued = await self.parts.database.write(
            deliveries.retry, destination, delivery_id, now=self.parts.now()
        )
        if queued is None:
            raise destination_not_found()
        return queued


@dataclass(frozen=True, slots=True)
class RetryAllResource:
    """Sends again every state that failed."""

    parts: DestinationParts

    async def on_post(self, req: Request, resp: Response, destination: str) -> None:
        """Lets the states be sent at once, as they are then."""
        body: QueuedJson = {"queued": await self.retry(destination)}
        write_json(resp, body, HTTPStatus.ACCEPTED)

    async def retry(self, destination: str) -> int:
        """Queues what failed; returns how many. Raises Problem 404."""
        queued, after, now = 0, 0, self.parts.now()
        while True:
            ids = await self.parts.database.write(_retry_failed, destination, after=after, now=now)
            if ids is None:
                raise destination_not_found()
            queued += len(ids)
            if len(ids) < RETRIED_TOGETHER:
                return queued
            after = ids[-1]


def _read_page(
    session: Session, name: str, *, state: DeliveryState | None, before: int | None, limit: int
) -> list[StateDelivery] | None:
    """Returns a page of deliveries; None without the destination."""
    stored = registry.find(session, name)
    if stored is None:
        return None
    return deliveries.page(session, stored.id, state=state, before=before, limit=limit)


def _retry_failed(
    session: Session, name: str, *, after: int, now: datetime
) -> Sequence[int] | None:
    """Queues some of what failed, after an id; returns the ids, None without the destination."""
    if (stored := registry.find(session, name)) is None:
        return None
    limit = RETRIED_TOGETHER
    return deliveries.retry_failed(session, stored.id, after=after, limit=limit, now=now)
