"""Whether a gateway reaches the servers beside the database: Redis, and the broker."""

import asyncio
from collections.abc import Callable

from api_gateway.broker_probe import BrokerProbe
from api_gateway.database import Database


async def ping_servers(
    database: Database, ping_redis: Callable[[], bool], broker: BrokerProbe | None
) -> tuple[bool, bool]:
    """Returns whether Redis and whether the broker respond; without one of its own it is Redis.

    Redis is pinged in a thread of the database. Raises DatabaseUnavailable, Overloaded.
    """
    if broker is None:
        redis = await database.run(ping_redis)
        return redis, redis
    return await asyncio.gather(database.run(ping_redis), broker.is_reachable())
