"""The resources of webhooks by route name."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from api_gateway.database import Database, ListReader
from api_gateway.resources.common.secret_store import SecretStore
from api_gateway.resources.webhooks import deliveries, endpoints
from enrollment.runtime.outbound.policy import outbound_policy
from enrollment.runtime.outbound.secret_encryption import secret_encryption
from enrollment.runtime.settings import Settings


def make_webhook_resources(
    settings: Settings, database: Database, lists: ListReader, now: Callable[[], datetime]
) -> dict[str, object]:
    """Returns the resource of each route of webhooks."""
    shared = endpoints.WebhookParts(
        database=database,
        now=now,
        policy=outbound_policy(settings),
        secrets=SecretStore(database, partial(secret_encryption, settings, creates=True)),
        is_challenging=settings.webhook_challenge and not settings.private_destinations,
        max_webhooks=settings.max_webhooks,
    )
    return {
        "webhooks": endpoints.WebhooksResource(shared),
        "webhook": endpoints.WebhookResource(shared),
        "webhook_rotate": endpoints.RotateResource(shared),
        "webhook_enable": endpoints.EnableResource(shared),
        "webhook_disable": endpoints.DisableResource(shared),
        "webhook_redeliver": deliveries.RedeliverRangeResource(shared),
        "webhook_deliveries": deliveries.DeliveriesResource(shared, lists),
        "webhook_delivery_redeliver": deliveries.RedeliverResource(shared),
    }
