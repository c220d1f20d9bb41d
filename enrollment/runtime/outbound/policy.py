"""The policy for calls of other systems, as the settings have it."""

from enrollment.runtime.outbound.addresses import SERVICE_PORTS, OutboundPolicy
from enrollment.runtime.server_urls import ports
from enrollment.runtime.settings import Settings


def outbound_policy(settings: Settings) -> OutboundPolicy:
    """Returns the policy; the ports of our own databases, Redis and queues are always refused."""
    own = (
        settings.database_url,
        settings.redis_url,
        settings.broker_url,
        settings.event_bus_url or "",
    )
    return OutboundPolicy(settings.private_destinations, SERVICE_PORTS.union(*map(ports, own)))
