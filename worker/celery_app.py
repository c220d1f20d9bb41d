"""The Celery application, made from settings; nothing happens at import."""

from celery import Celery

from enrollment.runtime.broker import (
    PURGE_INTERVAL,
    REDISPATCH_INTERVAL,
    QueueName,
    TaskName,
    broker_settings,
)

#: Seconds. A run that waited longer is dropped, and Celery compares the clocks of two machines:
#: so long that no clock which anybody would leave running is that wrong.
MAX_CLOCK_DRIFT = 7 * 24 * 3600.0


def make_app(broker_url: str) -> Celery:
    """An application with the queues and the settings that the promise rests on."""
    app = Celery("enroll", set_as_current=False)
    app.conf.update(broker_settings(broker_url, client="enroll-worker"))
    app.conf.update(
        worker_consumer="worker.celery_overrides.consumer:ResilientConsumer",
        task_acks_late=True,
        # The records decide what is tried again, and count how often.
        task_reject_on_worker_lost=False,
        worker_prefetch_multiplier=1,
        worker_enable_prefetch_count_reduction=False,  # one message is the least there is
        worker_max_tasks_per_child=5_000,
        # A statement takes 10 s at most; beyond the visibility time-out nobody would own it.
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
    )
    return app


def _schedule() -> dict[str, dict[str, object]]:
    """What happens by itself. A run that was missed is not made up for: the next one does."""
    return {
        "sweep": _every(REDISPATCH_INTERVAL, TaskName.REDISPATCH),
        "tidy": _every(PURGE_INTERVAL, TaskName.PURGE),
    }


def _every(seconds: float, task: TaskName) -> dict[str, object]:
    return {
        "task": task.value,
        "schedule": seconds,
        "options": {"queue": QueueName.UPKEEP.value, "expires": seconds + MAX_CLOCK_DRIFT},
    }
