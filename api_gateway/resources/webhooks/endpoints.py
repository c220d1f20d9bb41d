"""`/webhooks`: endpoints of other systems, to which messages are sent."""

import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from uuid import UUID

from falcon.asgi import Request, Response

from api_gateway.database import Database
from api_gateway.http.problems import Problem
from api_gateway.http.responses import write_json
from api_gateway.resources.common.bulk_body import read_object
from api_gateway.resources.common.secret_store import SecretStore
from enrollment.domain.webhooks.records import Webhook, WebhookMembers
from enrollment.runtime.ids import uuid7
from enrollment.runtime.outbound.addresses import OutboundPolicy, parse_target
from enrollment.storage.webhooks import endpoints
from schemas.webhooks.endpoints import WebhooksJson, dump_webhook, load_webhook

#: How long a secret that was replaced signs as well.
ROTATION = timedelta(hours=24)
#: Reason of an endpoint that was disabled by hand.
BY_OPERATOR = "operator"
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookParts:
    """The parts of the gateway that resources of webhooks share."""

    database: Database
    now: Callable[[], datetime]
    policy: OutboundPolicy
    secrets: SecretStore

    async def read_members(self, req: Request) -> WebhookMembers:
        """Reads the body of an endpoint. Raises Problem 400, 408, 413, 415."""
        check_url = partial(parse_target, policy=self.policy)
        return await read_object(req, self.database, partial(load_webhook, check_url=check_url))

    async def new_secret(self) -> tuple[str, str]:
        """Returns a new secret, and its encrypted form. Raises Problem 503 without a key."""
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
        return secret, await self.secrets.encrypt(secret)


@dataclass(frozen=True, slots=True)
class WebhooksResource:
    """All endpoints."""

    parts: WebhookParts

    async def on_get(self, req: Request, resp: Response) -> None:
        """Lists the endpoints."""
        found = await self.parts.database.read(endpoints.find_all)
        body: WebhooksJson = {"webhooks": list(map(dump_webhook, found))}
        write_json(resp, body)

    on_head = on_get

    async def on_post(self, req: Request, resp: Response) -> None:
        """Adds an endpoint; responds with its secret, which is never shown again."""
        members = await self.parts.read_members(req)
        secret, encrypted = await self.parts.new_secret()
        now = self.parts.now()
        added = await self.parts.database.write(
            endpoints.add, members, webhook_id=uuid7(now), secret=encrypted, now=now
        )
        write_json(resp, dump_webhook(added, secret=secret), HTTPStatus.CREATED)


@dataclass(frozen=True, slots=True)
class WebhookResource:
    """One endpoint."""

    parts: WebhookParts

    async def on_get(self, req: Request, resp: Response, webhook: str) -> None:
        """Responds with the endpoint, without its secret."""
        found = await self.parts.database.read(endpoints.find, parse_webhook_id(webhook))
        write_json(resp, dump_webhook(existing(found)))

    on_head = on_get

    async def on_put(self, req: Request, resp: Response, webhook: str) -> None:
        """Replaces URL, description and filters; the secret stays."""
        webhook_id = parse_webhook_id(webhook)
        members = await self.parts.read_members(req)
        replaced = await self.parts.database.write(endpoints.replace, webhook_id, members)
        write_json(resp, dump_webhook(existing(replaced)))

    async def on_delete(self, req: Request, resp: Response, webhook: str) -> None:
        """Deletes the endpoint with its deliveries."""
        if not await self.parts.database.write(endpoints.remove, parse_webhook_id(webhook)):
            raise webhook_not_found()
        resp.status = HTTPStatus.NO_CONTENT


@dataclass(frozen=True, slots=True)
class RotateResource:
    """Replaces the secret of an endpoint."""

    parts: WebhookParts

    async def on_post(self, req: Request, resp: Response, webhook: str) -> None:
        """Responds with the new secret; the one before signs as well for a day."""
        webhook_id = parse_webhook_id(webhook)
        secret, encrypted = await self.parts.new_secret()
        until = self.parts.now() + ROTATION
        rotated = await self.parts.database.write(
            endpoints.rotate, webhook_id, encrypted, previous_until=until
        )
        write_json(resp, dump_webhook(existing(rotated), secret=secret))


@dataclass(frozen=True, slots=True)
class EnableResource:
    """Enables an endpoint."""

    parts: WebhookParts

    async def on_post(self, req: Request, resp: Response, webhook: str) -> None:
        """Lets messages be sent again, at once."""
        enabled = await self.parts.database.write(endpoints.enable, parse_webhook_id(webhook))
        write_json(resp, dump_webhook(existing(enabled)))


@dataclass(frozen=True, slots=True)
class DisableResource:
    """Disables an endpoint."""

    parts: WebhookParts

    async def on_post(self, req: Request, resp: Response, webhook: str) -> None:
        """Lets no message be sent or queued."""
        disabled = await self.parts.database.write(
            endpoints.disable, parse_webhook_id(webhook), BY_OPERATOR, now=self.parts.now()
        )
        write_json(resp, dump_webhook(existing(disabled)))


def parse_webhook_id(text: str) -> UUID:
    """Parses the id of an endpoint. Raises Problem 404."""
    try:
        return UUID(text)
    except ValueError as error:
        raise webhook_not_found() from error


def existing(webhook: Webhook | None) -> Webhook:
    """Returns an endpoint. Raises Problem 404 if there is none."""
    if webhook is None:
        raise webhook_not_found()
    return webhook


def webhook_not_found() -> Problem:
    """Returns problem 404."""
    return Problem(HTTPStatus.NOT_FOUND, "not_found", "There is no such webhook or delivery.")
