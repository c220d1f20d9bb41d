"""Serves the metrics of a worker or of beat over HTTP, on an address of its own."""

import structlog
from prometheus_client import REGISTRY, start_http_server
from prometheus_client.registry import CollectorRegistry

from enrollment.runtime.setting_values import ListenAddress

log = structlog.get_logger()

#: Ports that are tried, so that several processes of one machine share a setting.
PORTS_TRIED = 16


def serve_metrics(address: ListenAddress, registry: CollectorRegistry = REGISTRY) -> int | None:
    """Serves metrics at the first free port from the given one on, in a thread; returns the port.

    If there is none it logs why, and returns None: the process works without.
    """
    last = min(address.port + PORTS_TRIED, 65_536) - 1
    for port in range(address.port, last + 1):
        try:
            start_http_server(port, address.host, registry)
        except OSError as error:
            if port == last:
                log.error("metrics.not_served", host=address.host, because=str(error))  # noqa: TRY400 (the reason is enough)
        else:
            log.info("metrics.served", host=address.host, port=port)
            return port
    return None
