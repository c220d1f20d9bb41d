"""Composition root of a worker process: database sessions, Celery app, tasks, signal handlers."""

import atexit
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from celery import Celery
from celery.signals import (
    beat_init,
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
)
from celery.utils.dispatch import Signal
from prometheus_client import REGISTRY
from prometheus_client.registry import Collector

from enrollment.domain.errors import NotDurable
from enrollment.runtime import failpoints, logs
from enrollment.runtime.completion_channel import CompletionPublisher
from enrollment.runtime.counters.relay_counters import RelayCounters
from enrollment.runtime.gc_tuning import relax_gc
from enrollment.runtime.metrics.instruments import describe_process
from enrollment.runtime.metrics.pool_use import PoolUse
from enrollment.runtime.metrics.relay_metrics import RelayMetrics
from enrollment.runtime.outbound.guarded_http import guarded_client
from enrollment.runtime.outbound.policy import outbound_policy
from enrollment.runtime.outbound.secret_encryption import secret_encryption
from enrollment.runtime.process_record import log_ready
from enrollment.runtime.settings import Settings
from enrollment.storage import migrate
from enrollment.storage.engine.durability import check_at_start, durable_sessions
from enrollment.storage.engine.engines import WORKER_CONNECTIONS
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.upkeep.heartbeats import ProcessKind, ProcessRecord
from worker.background.heartbeat import make_heartbeat
from worker.background.metrics_server import serve_metrics
from worker.background.repeating_thread import RepeatingThread, stop_together
from worker.celery_app import make_celery_app
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
from worker.inbound.service import LOOP_CONNECTIONS, make_calls, make_loops
from worker.inbound.submit_task import register_submit
from worker.maintenance import Maintenance
from worker.post_commit import PostCommitNotifier
from worker.processing.processor import Processor
from worker.processing.strategies import SiteRules
from worker.processing.transaction import BatchTransaction
from worker.purge import Purge
from worker.relay.threads import make_relay_threads
from worker.tasks import register

#: Connections of the relay: one for each of its threads.
RELAY_CONNECTIONS = 3
#: Exit status of commands that find the database unusable.
EXIT_DATABASE_UNUSABLE = 3


def build_app(settings: Settings, process: ProcessRecord) -> Celery:
    """Returns a worker's application with every task. Connects to nothing before the first task."""
    failpoints.arm(settings.failpoints)
    app = make_celery_app(settings.broker_url)
    sessions = durable_sessions(
        settings.database_url,
        pool_size=WORKER_CONNECTIONS,
        accepts_loss=settings.accept_data_loss,
    )
    notifier = PostCommitNotifier(app, CompletionPublisher(settings.redis_url))
    rules = SiteRules(settings.default_mode, settings.accepts_unknown_learners)
    processor = Processor(sessions=sessions, transaction=BatchTransaction(rules=rules))
    maintenance = Maintenance(
        sessions=sessions,
        dispatch=notifier.dispatch,
        queue_length=notifier.queue_length,
    )
    purge = Purge(sessions=sessions, retention=timedelta(days=settings.retention_days))
    register(app, processor, maintenance, purge, notifier)
    register_submit(app, make_calls(settings, sessions, notifier.dispatch))
    _connect_process_signals(processor)
    _connect_logging(settings.log_level, process.kind)
    if process.kind == ProcessKind.WORKER:
        pool = PoolUse({"worker": sessions.engine})
        _connect_metrics(settings, worker_process_init, process.kind, pool)
    else:
        _connect_inbound_loops(settings, app)
        _run_with_beat(
            _make_webhooks(settings), _make_destinations(settings), _make_reports(settings, app)
        )
    _connect_heartbeat(sessions, process)
    return app


def _connect_heartbeat(sessions: Sessions, process: ProcessRecord) -> None:
    """Makes the process say that it lives; of a worker its child does, which does the work."""
    running: list[RepeatingThread] = []

    def start(**_: Any) -> None:
        thread = make_heartbeat(sessions, process)
        running.append(thread)
        thread.start()

    def stop(**_: Any) -> None:
        stop_together(running)

    if process.kind == ProcessKind.WORKER:
        worker_process_init.connect(start, weak=False)
        worker_process_shutdown.connect(stop, weak=False)
    else:
        beat_init.connect(start, weak=False)
        atexit.register(stop)


def run_relay_with_beat(settings: Settings) -> None:
    """Makes the scheduler's process run the relay in threads beside the schedule."""
    sessions = durable_sessions(
        settings.database_url, pool_size=RELAY_CONNECTIONS, accepts_loss=settings.accept_data_loss
    )
    counters = RelayCounters()
    threads = make_relay_threads(settings, sessions, counters)

    def start(**_: Any) -> None:
        threads.start()
        atexit.register(threads.stop)

    beat_init.connect(start, weak=False)
    pool = PoolUse({"relay": sessions.engine})
    _connect_metrics(settings, beat_init, "beat", RelayMetrics(counters), pool)


def _connect_metrics(settings: Settings, starts: Signal, kind: str, *collectors: Collector) -> None:
    """Makes the process serve its metrics from that signal on, if the settings ask for it.

    A worker's are served by its child process, which does the work.
    """
    address = settings.metrics_port
    if address is None:
        return

    def start(**_: Any) -> None:
        describe_process(kind)
        for collector in collectors:
            REGISTRY.register(collector)
        serve_metrics(address)

    starts.connect(start, weak=False)


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


def _make_webhooks(settings: Settings) -> DeliveryLoop:
    """Makes the loop that sends webhooks. Connects to nothing."""
    sessions = durable_sessions(
        settings.database_url,
        pool_size=DELIVERY_CONNECTIONS,
        accepts_loss=settings.accept_data_loss,
    )
    http = guarded_client(outbound_policy(settings), max_connections=MAX_OUTBOUND_CONNECTIONS)
    sender = Sender(http=http)
    encryption = partial(secret_encryption, settings)
    delivery = EndpointDelivery(sessions=sessions, sender=sender, encryption=encryption)
    return DeliveryLoop(sessions, delivery)


def _make_destinations(settings: Settings) -> DestinationLoop:
    """Makes the loop that sends states to destinations. Connects to nothing."""
    sessions = durable_sessions(
        settings.database_url,
        pool_size=DESTINATION_CONNECTIONS,
        accepts_loss=settings.accept_data_loss,
    )
    policy = outbound_policy(settings)
    clients = DestinationClients(
        make_http=lambda number: guarded_client(policy, max_connections=number),
        encryption=partial(secret_encryption, settings),
    )
    return DestinationLoop(sessions, DestinationDelivery(sessions=sessions, clients=clients))


def _make_reports(settings: Settings, app: Celery) -> ReportLoop:
    """Makes the loop that does the jobs of destinations. Connects to nothing."""
    sessions = durable_sessions(
        settings.database_url, pool_size=REPORT_CONNECTIONS, accepts_loss=settings.accept_data_loss
    )
    notifier = PostCommitNotifier(app, CompletionPublisher(settings.redis_url))
    return make_report_loop(settings, sessions, notifier.dispatch)


def log_when_ready(settings: Settings, fields: Mapping[str, object]) -> None:
    """Makes the process log `process.ready` once it takes messages, or begins its schedule."""

    def report(**_: Any) -> None:
        log_ready(settings, **fields)

    worker_ready.connect(report, weak=False)
    beat_init.connect(report, weak=False)


def _connect_process_signals(processor: Processor) -> None:
    """Connects handlers to the start of the worker, and to start and end of its child process."""
    sessions = processor.sessions

    def check_database(**_: Any) -> None:
        """Refuses to start on a database that may lose commits, or on tables of a later release.

        Children connect for themselves.
        """
        try:
            check_at_start(sessions)
            migrate.check_at_start(sessions)
        except (NotDurable, migrate.LaterRelease) as refusal:
            raise SystemExit(EXIT_DATABASE_UNUSABLE) from refusal
        finally:
            sessions.dispose()

    def start_child(**_: Any) -> None:
        """Drops the parent's connections, which a forked child must not use, and tunes the GC."""
        sessions.engine.dispose(close=False)
        relax_gc()

    def stop_child(**_: Any) -> None:
        """Closes the temporary files of dry runs and of records."""
        processor.transaction.overlays.close()
        processor.transaction.records.close()

    worker_init.connect(check_database, weak=False)
    worker_process_init.connect(start_child, weak=False)
    worker_process_shutdown.connect(stop_child, weak=False)


def _connect_inbound_loops(settings: Settings, app: Celery) -> None:
    """Runs the loops of the way in beside the schedule, from its start to the end of the process.

    The schedule has no child processes, which must not be forked beside threads.
    """
    sessions = durable_sessions(
        settings.database_url, pool_size=LOOP_CONNECTIONS, accepts_loss=settings.accept_data_loss
    )
    notifier = PostCommitNotifier(app, CompletionPublisher(settings.redis_url))
    loops = make_loops(settings, sessions, notifier.dispatch)

    def start(**_: Any) -> None:
        loops.start()
        atexit.register(loops.stop)

    beat_init.connect(start, weak=False)


def _connect_logging(level: str, process: str) -> None:
    """Configures logging in place of Celery, which leaves it alone where this signal is handled."""

    def configure(**_: Any) -> None:
        logs.configure(level, process=process)

    setup_logging.connect(configure, weak=False)
