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

from enrollment.domain.errors import NotDurable
from enrollment.runtime import failpoints, logs
from enrollment.runtime.completion_channel import CompletionPublisher
from enrollment.runtime.counters.relay_counters import RelayCounters
from enrollment.runtime.gc_tuning import relax_gc
from enrollment.runtime.outbound.guarded_http import guarded_client
from enrollment.runtime.outbound.policy import outbound_policy
from enrollment.runtime.outbound.secret_encryption import secret_encryption
from enrollment.runtime.process_record import log_ready
from enrollment.runtime.settings import Settings
from enrollment.storage import migrate
from enrollment.storage.engine.durability import check_at_start, durable_sessions
from enrollment.storage.engine.engines import WORKER_CONNECTIONS
from worker.celery_app import make_celery_app
from worker.deliveries.attempt import Sender
from worker.deliveries.delivery_loop import (
    DELIVERY_CONNECTIONS,
    MAX_OUTBOUND_CONNECTIONS,
    DeliveryLoop,
)
from worker.deliveries.endpoint_delivery import EndpointDelivery
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


def build_app(settings: Settings, *, process: str) -> Celery:
    """Returns a worker's application with every task. Connects to nothing before the first task."""
    failpoints.arm(settings.failpoints)
    app = make_celery_app(settings.broker_url)
    sessions = durable_sessions(
        settings.database_url,
        pool_size=WORKER_CONNECTIONS,
        accepts_loss=settings.accept_data_loss,
    )
    notifier = PostCommitNotifier(app, CompletionPublisher(settings.redis_url))
    processor = Processor(
        sessions=sessions,
        transaction=BatchTransaction(
            rules=SiteRules(settings.default_mode, settings.accepts_unknown_learners)
        ),
    )
    maintenance = Maintenance(
        sessions=sessions,
        dispatch=notifier.dispatch,
        queue_length=notifier.queue_length,
    )
    purge = Purge(sessions=sessions, retention=timedelta(days=settings.retention_days))
    register(app, processor, maintenance, purge, notifier)
    register_submit(app, make_calls(settings, sessions, notifier.dispatch))
    if process == "beat":
        _connect_inbound_loops(settings, app)
    _connect_process_signals(processor)
    _connect_logging(settings.log_level, process)
    if process == "beat":
        _connect_webhooks(settings)
    return app


def run_relay_with_beat(settings: Settings) -> None:
    """Makes the scheduler's process run the relay in threads beside the schedule."""
    sessions = durable_sessions(
        settings.database_url, pool_size=RELAY_CONNECTIONS, accepts_loss=settings.accept_data_loss
    )
    threads = make_relay_threads(settings, sessions, RelayCounters())

    def start(**_: Any) -> None:
        threads.start()
        atexit.register(threads.stop)

    beat_init.connect(start, weak=False)


def _connect_webhooks(settings: Settings) -> None:
    """Makes the schedule's process send webhooks, too, from its start."""
    sessions = durable_sessions(
        settings.database_url,
        pool_size=DELIVERY_CONNECTIONS,
        accepts_loss=settings.accept_data_loss,
    )
    http = guarded_client(outbound_policy(settings), max_connections=MAX_OUTBOUND_CONNECTIONS)
    sender = Sender(http=http)
    encryption = partial(secret_encryption, settings)
    delivery = EndpointDelivery(sessions=sessions, sender=sender, encryption=encryption)
    loop = DeliveryLoop(sessions, delivery)

    def start(**_: Any) -> None:
        loop.start()

    beat_init.connect(start, weak=False)


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
