"""Composition root of a worker process: database sessions, Celery app, tasks, signal handlers."""

import atexit
from collections.abc import Mapping
from datetime import timedelta
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
from enrollment.runtime.gc_tuning import relax_gc
from enrollment.runtime.metrics.pool_use import PoolUse
from enrollment.runtime.process_record import log_ready
from enrollment.runtime.settings import Settings
from enrollment.storage import migrate
from enrollment.storage.engine.durability import check_at_start, durable_sessions
from enrollment.storage.engine.engines import WORKER_CONNECTIONS
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.upkeep.heartbeats import ProcessKind, ProcessRecord
from worker.background.heartbeat import make_heartbeat
from worker.background.repeating_thread import RepeatingThread, stop_together
from worker.beat_process import connect_beat
from worker.celery_app import make_celery_app
from worker.inbound.service import make_calls
from worker.inbound.submit_task import register_submit
from worker.maintenance import Maintenance
from worker.post_commit import PostCommitNotifier
from worker.process_metrics import connect_metrics
from worker.process_traces import connect_traces
from worker.processing.processor import Processor
from worker.processing.strategies import SiteRules
from worker.processing.transaction import BatchTransaction
from worker.purge import Purge
from worker.tasks import register

#: Exit status of commands that find the database unusable.
EXIT_DATABASE_UNUSABLE = 3


def build_app(settings: Settings, process: ProcessRecord) -> Celery:
    """Returns a worker's application with every task. Connects to nothing before the first task."""
    failpoints.arm(settings.failpoints)
    app = make_celery_app(settings.broker_url, answers_remote=settings.celery_remote)
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
    connect_traces(process.kind)
    _connect_start_check(sessions)
    _connect_process_signals(processor)
    _connect_logging(settings.log_level, process.kind)
    if process.kind == ProcessKind.WORKER:
        pool = PoolUse({"worker": sessions.engine})
        connect_metrics(settings, worker_process_init, process.kind, pool)
    else:
        connect_beat(settings, app)
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


def log_when_ready(settings: Settings, fields: Mapping[str, object]) -> None:
    """Makes the process log `process.ready` once it takes messages, or begins its schedule."""

    def report(**_: Any) -> None:
        log_ready(settings, **fields)

    worker_ready.connect(report, weak=False)
    beat_init.connect(report, weak=False)


def _connect_start_check(sessions: Sessions) -> None:
    """Makes worker and beat look at the database before they do anything."""

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

    worker_init.connect(check_database, weak=False)
    beat_init.connect(check_database, weak=False)


def _connect_process_signals(processor: Processor) -> None:
    """Connects handlers to start and end of the worker's child process."""

    def start_child(**_: Any) -> None:
        """Drops the parent's connections, which a forked child must not use, and tunes the GC."""
        processor.sessions.engine.dispose(close=False)
        relax_gc()

    def stop_child(**_: Any) -> None:
        """Closes the temporary files of dry runs and of records."""
        processor.transaction.overlays.close()
        processor.transaction.records.close()

    worker_process_init.connect(start_child, weak=False)
    worker_process_shutdown.connect(stop_child, weak=False)


def _connect_logging(level: str, process: str) -> None:
    """Configures logging in place of Celery, which leaves it alone where this signal is handled."""

    def configure(**_: Any) -> None:
        logs.configure(level, process=process)

    setup_logging.connect(configure, weak=False)
