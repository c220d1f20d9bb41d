"""What a worker process is made of: settings, records, app, tasks."""

from datetime import timedelta
from typing import Any

from celery import Celery
from celery.signals import (
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
)

from enrollment.domain.errors import NotDurable
from enrollment.runtime import failpoints, logs
from enrollment.runtime.completion_channel import CompletionPublisher
from enrollment.runtime.gc_tuning import relax_gc
from enrollment.runtime.settings import Settings
from enrollment.storage.engine.durability import check_at_start, durable_sessions
from worker.celery_app import make_app
from worker.maintenance import Maintenance
from worker.post_commit import PostCommitNotifier
from worker.processing.processor import Processor
from worker.processing.strategies import SiteRules
from worker.processing.transaction import BatchTransaction
from worker.tasks import register

#: The exit status of every command whose service cannot be used.
EXIT_DATABASE_UNUSABLE = 3


def build_app(settings: Settings, *, process: str) -> Celery:
    """A worker's application with every task. Connects to nothing before the first task."""
    failpoints.arm(settings.failpoints)
    app = make_app(settings.broker_url)
    sessions = durable_sessions(
        settings.database_url, pool_size=2, accepts_loss=settings.accept_data_loss
    )
    announcer = PostCommitNotifier(app, CompletionPublisher(settings.redis_url))
    processor = Processor(
        sessions=sessions,
        transaction=BatchTransaction(
            rules=SiteRules(settings.default_mode, settings.accepts_unknown_learners)
        ),
    )
    sweeper = Maintenance(
        sessions=sessions,
        announce=announcer.announce,
        retention=timedelta(days=settings.retention_days),
    )
    register(app, processor, sweeper, announcer)

    def look_at_records(**_: Any) -> None:
        """A worker does not start on what loses commits; its children connect anew."""
        try:
            check_at_start(sessions)
        except NotDurable as refusal:
            raise SystemExit(EXIT_DATABASE_UNUSABLE) from refusal
        finally:
            sessions.dispose()

    def begin_child(**_: Any) -> None:
        """A forked child never uses its parent's connections."""
        sessions.engine.dispose(close=False)
        relax_gc()

    def end_child(**_: Any) -> None:
        """Close what the child opened: the files of its dry runs."""
        processor.transaction.overlays.close()

    def keep_our_logs(**_: Any) -> None:
        """Celery leaves logging alone where this signal is heard."""
        logs.configure(settings.log_level, process=process)

    worker_init.connect(look_at_records, weak=False)
    worker_process_init.connect(begin_child, weak=False)
    worker_process_shutdown.connect(end_child, weak=False)
    setup_logging.connect(keep_our_logs, weak=False)
    return app
