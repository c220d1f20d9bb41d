"""Runs what beat's process does beside the schedule: relay, way in, webhooks, destinations."""

import atexit
from functools import partial
from typing import Any, NamedTuple

from celery import Celery
from celery.signals import beat_init

from enrollment.runtime.completion_channel import CompletionPublisher
from enrollment.runtime.counters.relay_counters import RelayCounters
from enrollment.runtime.metrics.pool_use import PoolUse
from enrollment.runtime.metrics.relay_metrics import RelayMetrics
from enrollment.runtime.outbound.guarded_http import guarded_client
from enrollment.runtime.outbound.policy import outbound_policy
from enrollment.runtime.outbound.secret_encryption import secret_encryption
from enrollment.runtime.settings import Settings
from enrollment.storage.engine.durability import durable_sessions
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.upkeep.heartbeats import ProcessKind
from worker.deliveries.attempt import Sender
from worker.deliveries.delivery_loop import (
    DELIVERY_CONNECTIONS,
    MAX_OUTBOUND_CONNECTIONS,
    DeliveryLoop,
)
from worker.deliveries.endpoint_delivery import EndpointDelivery
from worker.destinations.clients import DestinationClients
from worker.destinations.destination_delivery import DestinationDelivery
from worker.destinations.destination_loop import DESTINATION_CONNECTIONS, DestinationLoop
from worker.destinations.reports.report_loop import REPORT_CONNECTIONS, ReportLoop
from worker.destinations.reports.service import make_report_loop
from worker.inbound.service import LOOP_CONNECTIONS, make_loops
from worker.post_commit import PostCommitNotifier
from worker.process_metrics import connect_metrics
from worker.relay.threads import make_relay_threads

#: Connections of the relay: one for each of its threads.
RELAY_CONNECTIONS = 3


class _Pools(NamedTuple):
    """The connections of each part, so that none waits for those of another."""

    relay: Sessions
    inbound: Sessions
    webhooks: Sessions
    destinations: Sessions
    reports: Sessions


_POOL_SIZES = (
    RELAY_CONNECTIONS,
    LOOP_CONNECTIONS,
    DELIVERY_CONNECTIONS,
    DESTINATION_CONNECTIONS,
    REPORT_CONNECTIONS,
)


def connect_beat(settings: Settings, app: Celery) -> None:
    """Makes the schedule's process do its other work. Connects to nothing.

    The schedule has no child processes, which must not be forked beside threads.
    """
    pools = _Pools(
        *(
            durable_sessions(
                settings.database_url, pool_size=size, accepts_loss=settings.accept_data_loss
            )
            for size in _POOL_SIZES
        )
    )
    counters = RelayCounters()
    notifier = PostCommitNotifier(app, CompletionPublisher(settings.redis_url))
    relay = make_relay_threads(settings, pools.relay, counters)
    inbound = make_loops(settings, pools.inbound, notifier.dispatch)
    _run_with_beat(
        _make_webhooks(settings, pools.webhooks),
        _make_destinations(settings, pools.destinations),
        make_report_loop(settings, pools.reports, notifier.dispatch),
    )

    def start(**_: Any) -> None:
        for loops in (relay, inbound):
            loops.start()
            atexit.register(loops.stop)

    beat_init.connect(start, weak=False)
    use = PoolUse({name: sessions.engine for name, sessions in pools._asdict().items()})
    connect_metrics(settings, beat_init, ProcessKind.BEAT, RelayMetrics(counters), use)


def _run_with_beat(*loops: DeliveryLoop | DestinationLoop | ReportLoop) -> None:
    """Runs loops in the schedule's process, too, from its start to its end.

    They stop together, so that their last attempts take no longer than one loop's. A
    loop that does not stop leaves its leases behind, and nothing is sent until these have ended.
    """

    def start(**_: Any) -> None:
        for loop in loops:
            loop.start()
        atexit.register(stop)

    def stop() -> None:
        for loop in loops:
            loop.request_stop()
        for loop in loops:
            loop.stop()

    beat_init.connect(start, weak=False)


def _make_webhooks(settings: Settings, sessions: Sessions) -> DeliveryLoop:
    http = guarded_client(outbound_policy(settings), max_connections=MAX_OUTBOUND_CONNECTIONS)
    delivery = EndpointDelivery(
        sessions=sessions,
        sender=Sender(http=http),
        encryption=partial(secret_encryption, settings),
    )
    return DeliveryLoop(sessions, delivery)


def _make_destinations(settings: Settings, sessions: Sessions) -> DestinationLoop:
    policy = outbound_policy(settings)
    clients = DestinationClients(
        make_http=lambda number: guarded_client(policy, max_connections=number),
        encryption=partial(secret_encryption, settings),
    )
    return DestinationLoop(sessions, DestinationDelivery(sessions=sessions, clients=clients))
