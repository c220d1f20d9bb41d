"""The connections of a process to its database, as metrics."""

from collections.abc import Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.pool import QueuePool


class PoolUse(Collector):
    """Reads the pools whenever metrics are read, so that nothing is counted in between."""

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        """`engines` by the name of their pool."""
        self._engines = engines

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Returns the connections of each pool that are in use, and their limit."""
        used = GaugeMetricFamily(
            "enroll_database_connections_in_use",
            "Connections of this process that are in use.",
            labels=["pool"],
        )
        limit = GaugeMetricFamily(
            "enroll_database_connections_limit",
            "Most connections of this process.",
            labels=["pool"],
        )
        for name, engine in self._engines.items():
            pool = engine.pool
            if isinstance(pool, QueuePool):
                used.add_metric([name], pool.checkedout())
                limit.add_metric([name], pool.size())
        return used, limit
