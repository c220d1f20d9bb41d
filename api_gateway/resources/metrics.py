"""`/metrics`: the counters of this process, and the state of the queue, for Prometheus."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog
from falcon.asgi import Request, Response
from prometheus_client import REGISTRY
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import CollectorRegistry
from sqlalchemy.exc import SQLAlchemyError

from api_gateway.broker_probe import BrokerProbe
from api_gateway.database import Database
from api_gateway.status.health.inbound_backlog import InboundMetrics, InboundProbe
from api_gateway.status.health.reachable_servers import ping_servers
from api_gateway.status.health.service_metrics import (
    ServiceMetrics,
    ServiceState,
    load_service_state,
)
from enrollment.domain.errors import EnrollmentError
from enrollment.runtime.metrics.pool_use import PoolUse
from enrollment.storage.outbox.relay_positions import ChannelName

log = structlog.get_logger()

#: Seconds after which the database counts as unreachable: less than a scrape may take.
METRICS_TIMEOUT_SECONDS = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsResource:
    """The metrics of this gateway. One read of the database at a time."""

    database: Database
    ping_redis: Callable[[], bool]
    #: Probes the broker; None if Redis is the broker.
    broker: BrokerProbe | None = None
    #: The channels of the relay that are enabled.
    channels: tuple[ChannelName, ...] = ()
    #: Reads the request stream; None without one.
    inbound: InboundProbe | None = None

    async def on_get(self, req: Request, resp: Response) -> None:
        """Responds with all metrics; those from the database are left out while it is away."""
        registry = CollectorRegistry()
        registry.register(PoolUse({"gateway": self.database.sessions.engine}))
        state, reached = await asyncio.gather(self._load(), self._ping())
        registry.register(ServiceMetrics(state, reached))
        if self.inbound is not None:
            registry.register(InboundMetrics(await self.database.run(self.inbound.read)))
        resp.content_type = CONTENT_TYPE_LATEST
        resp.data = generate_latest(REGISTRY) + generate_latest(registry)

    on_head = on_get

    async def _ping(self) -> tuple[bool, bool] | None:
        """Returns whether Redis and the broker respond; None where no thread is free to ask."""
        try:
            async with asyncio.timeout(METRICS_TIMEOUT_SECONDS):
                return await ping_servers(self.database, self.ping_redis, self.broker)
        except (EnrollmentError, TimeoutError):
            return None

    async def _load(self) -> ServiceState | None:
        try:
            async with asyncio.timeout(METRICS_TIMEOUT_SECONDS):
                return await self.database.read(partial(load_service_state, self.channels))
        except (EnrollmentError, SQLAlchemyError, TimeoutError) as error:
            log.warning("metrics.without_database", because=str(error))
            return None
