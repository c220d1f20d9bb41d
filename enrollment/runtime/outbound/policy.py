"""The policy for calls of other systems, as the settings have it."""

import re
from urllib.parse import unquote

from enrollment.runtime.outbound.addresses import SERVICE_PORTS, OutboundPolicy
from enrollment.runtime.settings import Settings

#: Ports in a URL, which may name several hosts, also in its query.
_PORTS = re.compile(r"[:,=]([0-9]{1,5})(?=[,;/?&#]|$)")


def outbound_policy(settings: Settings) -> OutboundPolicy:
    """Returns the policy; the ports of our own databases, Redis and queues are always refused."""
    own = (
        settings.database_url,
        settings.redis_url,
        settings.broker_url,
        settings.event_bus_url or "",
    )
    ports = {int(port) for url in own for port in _PORTS.findall(unquote(url))}
    return OutboundPolicy(settings.private_destinations, SERVICE_PORTS | ports)
