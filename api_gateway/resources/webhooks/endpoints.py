"""`/webhooks`: endpoints of other systems, to which messages are sent."""

import base64
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from urllib.parse import urlsplit
from uuid import UUID

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.database import Database
from api_gateway.http.problems import Problem
from api_gateway.http.responses import write_json
from api_gateway.resources.common.bulk_body import load_checked, read_object
from api_gateway.resources.common.secret_store import SecretStore
from enrollment.domain.webhooks.messages import DisabledReason
from enrollment.domain.webhooks.records import Webhook, WebhookMembers
from enrollment.runtime.ids import uuid7
from enrollment.runtime.outbound.addresses import OutboundPolicy, parse_target
from enrollment.storage.outbox.installation import installation_id
from enrollment.storage.webhooks import deliveries, endpoints
from schemas.events import event_source
from schemas.webhooks.endpoints import WebhooksJson, dump_webhook, load_webhook
from schemas.webhooks.messages import challenge_message

#: How long a secret that was replaced signs as well.
ROTATION = timedelta(hours=24)
#: Most endpoints at one host: no caller may let the service flood it.
MAX_WEBHOOKS_PER_HOST = 10
_CHALLENGE_BYTES = 24
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookParts:
    """The parts of the gateway that resources of webhooks share."""

    database: Database
    now: Callable[[], datetime]
    policy: OutboundPolicy
    secrets: SecretStore
    #: Whether a receiver must answer a challenge before it gets messages.
    is_challenging: bool
    max_webhooks: int

    async def read_members(self, req: Request) -> WebhookMembers:
        """Reads the body of an endpoint. Raises Problem 400, 408, 413, 415."""
        return await read_object(req, self.database, self._load)

    def load_members(self, data: object) -> WebhookMembers:
        """Parses an endpoint. Raises Problem 400."""
        return load_checked(self._load, data)

    def _load(self, data: object) -> WebhookMembers:
        return load_webhook(data, check_url=partial(parse_target, policy=self.policy))

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
        added, secret = await self.add(members, caller=req.context.caller.name)
        resp.set_header("Location", f"{req.path.rstrip('/')}/{added.id}")
        write_json(resp, dump_webhook(added, secret=secret), HTTPStatus.CREATED)

    async def add(self, members: WebhookMembers, *, caller: str) -> tuple[Webhook, str]:
        """Adds an endpoint; returns it with its secret. Raises Problem 409, 503."""
        secret, encrypted = await self.parts.new_secret()
        added = await self.parts.database.write(_add, self.parts, members, encrypted, caller)
        return added, secret


@dataclass(frozen=True, slots=True)
class WebhookResource:
    """One endpoint."""

    parts: WebhookParts

    async def on_get(self, req: Request, resp: Response, webhook: str) -> None:
        """Responds with the endpoint, without its secret."""
        write_json(resp, dump_webhook(await self.find(webhook)))

    on_head = on_get

    async def find(self, webhook: str) -> Webhook:
        """Returns the endpoint. Raises Problem 404."""
        return existing(await self.parts.database.read(endpoints.find, parse_webhook_id(webhook)))

    async def on_put(self, req: Request, resp: Response, webhook: str) -> None:
        """Replaces URL, description and filters; the secret stays."""
        webhook_id = parse_webhook_id(webhook)
        members = await self.parts.read_members(req)
        replaced = await self.parts.database.write(_replace, self.parts, webhook_id, members)
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
        rotated, secret = await self.rotate(webhook)
        write_json(resp, dump_webhook(rotated, secret=secret))

    async def rotate(
        self, webhook: str, *, check: Callable[[Webhook], None] = lambda _: None
    ) -> tuple[Webhook, str]:
        """Returns the endpoint and its new secret. Raises Problem 404, 503, and what `check` does.

        `check` is called with the endpoint as it is before, which is locked.
        """
        webhook_id = parse_webhook_id(webhook)
        secret, encrypted = await self.parts.new_secret()
        until = self.parts.now() + ROTATION

        def rotated(session: Session) -> Webhook | None:
            check(existing(endpoints.find(session, webhook_id, is_locked=True)))
            return endpoints.rotate(session, webhook_id, encrypted, previous_until=until)

        return existing(await self.parts.database.write(rotated)), secret


@dataclass(frozen=True, slots=True)
class EnableResource:
    """Enables an endpoint."""

    parts: WebhookParts

    async def on_post(self, req: Request, resp: Response, webhook: str) -> None:
        """Lets messages be sent again: at once, or when the receiver has answered a challenge."""
        write_json(resp, dump_webhook(await self.enable(webhook)))

    async def enable(self, webhook: str) -> Webhook:
        """Enables the endpoint, or sends it a challenge. Raises Problem 404."""
        webhook_id = parse_webhook_id(webhook)
        return existing(await self.parts.database.write(_enable, self.parts, webhook_id))


@dataclass(frozen=True, slots=True)
class DisableResource:
    """Disables an endpoint."""

    parts: WebhookParts

    async def on_post(self, req: Request, resp: Response, webhook: str) -> None:
        """Lets no message be sent or queued."""
        write_json(resp, dump_webhook(await self.disable(webhook)))

    async def disable(self, webhook: str) -> Webhook:
        """Disables the endpoint. Raises Problem 404."""
        disabled = await self.parts.database.write(
            endpoints.disable,
            parse_webhook_id(webhook),
            DisabledReason.OPERATOR,
            now=self.parts.now(),
        )
        return existing(disabled)


def _add(
    session: Session, parts: WebhookParts, members: WebhookMembers, secret: str, caller: str
) -> Webhook:
    """Adds an endpoint, with a challenge if receivers must answer one. Raises Problem 409."""
    now = parts.now()
    _check_share(_check_number(session, parts, members.url, but=None), parts, caller)
    reason = DisabledReason.UNVERIFIED if parts.is_challenging else None
    added = endpoints.add(
        session,
        members,
        webhook_id=uuid7(now),
        secret=secret,
        caller=caller,
        now=now,
        disabled_reason=reason,
    )
    return _challenge(session, parts, added) if parts.is_challenging else added


def _replace(
    session: Session, parts: WebhookParts, webhook_id: UUID, members: WebhookMembers
) -> Webhook | None:
    """Replaces an endpoint; another receiver must answer a challenge, too. Raises Problem 409."""
    before = endpoints.find(session, webhook_id)
    if before is None:
        return None
    is_same = before.url == members.url
    if not is_same:
        _check_number(session, parts, members.url, but=webhook_id)
    replaced = existing(endpoints.replace(session, webhook_id, members))
    is_disabled = before.disabled_reason in {DisabledReason.OPERATOR, DisabledReason.UNSUBSCRIBED}
    if is_same or is_disabled or not parts.is_challenging:
        return replaced
    return _challenge(session, parts, replaced)


def _enable(session: Session, parts: WebhookParts, webhook_id: UUID) -> Webhook | None:
    found = endpoints.find(session, webhook_id)
    if found is None or found.is_enabled or not parts.is_challenging:
        return endpoints.enable(session, webhook_id)
    return _challenge(session, parts, found)


def _challenge(session: Session, parts: WebhookParts, webhook: Webhook) -> Webhook:
    """Sends a new challenge, and nothing else until it is answered."""
    now = parts.now()
    message = challenge_message(
        webhook.id,
        uuid7(now),
        secrets.token_urlsafe(_CHALLENGE_BYTES),
        source=event_source(installation_id(session)),
        now=now,
    )
    deliveries.queue_challenge(session, webhook.id, message, now=now)
    return existing(endpoints.await_answer(session, webhook.id, now=now))


def _check_number(
    session: Session, parts: WebhookParts, url: str, *, but: UUID | None
) -> list[Webhook]:
    """Checks that one more endpoint may be added, or move to a host; returns the others.

    Raises Problem 409.
    """
    others = [webhook for webhook in endpoints.find_all(session) if webhook.id != but]
    if len(others) >= parts.max_webhooks:
        setting = "ENROLL_MAX_WEBHOOKS"
        raise _too_many(f"There are {len(others)} webhooks already ({setting}); remove one.")
    host = urlsplit(url).hostname
    if sum(urlsplit(each.url).hostname == host for each in others) >= MAX_WEBHOOKS_PER_HOST:
        raise _too_many(f"{host} has {MAX_WEBHOOKS_PER_HOST} webhooks already; remove one.")
    return others


def _check_share(others: Iterable[Webhook], parts: WebhookParts, caller: str) -> None:
    """Checks that a caller has less than half of the endpoints allowed. Raises Problem 409."""
    number = sum(each.caller == caller for each in others)
    if number >= (parts.max_webhooks + 1) // 2:
        detail = f"{caller} has added {number} webhooks already"
        raise _too_many(f"{detail}, half of what ENROLL_MAX_WEBHOOKS allows; remove one.")


def _too_many(detail: str) -> Problem:
    return Problem(HTTPStatus.CONFLICT, "too_many_webhooks", detail)


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
