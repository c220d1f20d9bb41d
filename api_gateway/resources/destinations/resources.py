"""The resources of destinations by route name."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from api_gateway.database import Database, ListReader
from api_gateway.resources.common.secret_store import SecretStore
from api_gateway.resources.destinations import destinations, state_deliveries
from enrollment.runtime.outbound.policy import outbound_policy
from enrollment.runtime.outbound.secret_encryption import secret_encryption
from enrollment.runtime.settings import Settings


def make_destination_resources(
    settings: Settings, database: Database, lists: ListReader, now: Callable[[], datetime]
) -> dict[str, object]:
    """Returns the resource of each route of destinations."""
    shared = destinations.DestinationParts(
        database=database,
        now=now,
        policy=outbound_policy(settings),
        secrets=SecretStore(database, partial(secret_encryption, settings, creates=True)),
    )
    return {
        "destinations": destinations.DestinationsResource(shared),
        "destination": destinations.DestinationResource(shared),
        "destination_pause": destinations.PauseResource(shared, is_paused=True),
        "destination_resume": destinations.PauseResource(shared, is_paused=False),
        "destination_retry": state_deliveries.RetryAllResource(shared),
        "destination_deliveries": state_deliveries.StateDeliveriesResource(shared, lists),
        "destination_delivery_retry": state_deliveries.RetryResource(shared),
    }
