"""Builds the Celery application of the workers."""

from celery import Celery

from enrollment.runtime.broker import (
    PURGE_CHECK_INTERVAL,
    PURGE_QUEUE,
    REDISPATCH_INTERVAL,
    QueueName,
    TaskName,
    broker_settings,
)

#: Seconds that the clocks of two machines may differ. Celery drops a scheduled run that expired,
#: by the worker's clock, so the expiry is longer than any clock error that could go unnoticed.
MAX_CLOCK_DRIFT = 7 * 24 * 3600.0


def make_celery_app(broker_url: str, *, answers_remote: bool = False) -> Celery:
    """Returns an application with the queues, the schedule and the settings for durable work.

    `answers_remote`: workers answer `celery inspect` and send the events that Flower and
    celery-exporter read. A client that can write to the broker can then stop them.
    """
    app = Celery("enroll", set_as_current=False)
    app.conf.update(broker_settings(broker_url, client="enroll-worker"))
    options = app.conf.broker_transport_options
    if "queue_order_strategy" in options:  # of Redis; RabbitMQ has its own order
        options["queue_order_strategy"] = "worker.celery_overrides.queue_order:LaneOrder"
    app.conf.update(
        worker_consumer="worker.celery_overrides.consumer:ResilientConsumer",
        task_acks_late=True,
        # The database decides which batch is attempted again, and counts the attempts.
        task_reject_on_worker_lost=False,
        worker_prefetch_multiplier=1,
        worker_enable_prefetch_count_reduction=False,  # prefetch is 1 already
        worker_max_tasks_per_child=5_000,
        # A statement takes at most 10 s. A task must end before its message is delivered again.
        task_soft_time_limit=20,
        task_time_limit=30,
        worker_soft_shutdown_timeout=10.0,
        worker_enable_soft_shutdown_on_idle=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        beat_schedule=_schedule(),
        beat_scheduler="worker.celery_overrides.scheduler:ResilientScheduler",
        beat_max_loop_interval=REDISPATCH_INTERVAL,
        timezone="UTC",
        worker_enable_remote_control=answers_remote,
        worker_send_task_events=answers_remote,
    )
    return app


def _schedule() -> dict[str, dict[str, object]]:
    """Returns the periodic tasks. A run that was missed is skipped; the next one does its work."""
    return {
        "redispatch": _every(REDISPATCH_INTERVAL, TaskName.REDISPATCH, QueueName.UPKEEP),
        "purge": _every(PURGE_CHECK_INTERVAL, TaskName.PURGE, PURGE_QUEUE),
    }


def _every(seconds: float, task: TaskName, queue: QueueName) -> dict[str, object]:
    return {
        "task": task.value,
        "schedule": seconds,
        "options": {"queue": queue.value, "expires": seconds + MAX_CLOCK_DRIFT},
    }
