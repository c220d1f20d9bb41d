"""The queue's words: lanes, task names, and how both doors talk to the broker.

A message carries ids only and is a hint: the row is the truth.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from enrollment.domain.codes import Lane


class TaskName(StrEnum):
    """What workers can be asked to do."""

    PROCESS = "batch.process"
    SWEEP = "batch.sweep"
    TIDY = "records.tidy"


class QueueName(StrEnum):
    """Where messages wait. Workers look in the order of the names (kombu keeps no other)."""

    INTERACTIVE = "1-interactive"
    UPKEEP = "2-upkeep"
    BULK = "3-bulk"


#: The queue of each lane.
QUEUE_OF: Mapping[Lane, QueueName] = {
    Lane.INTERACTIVE: QueueName.INTERACTIVE,
    Lane.BULK: QueueName.BULK,
}


#: Seconds: what was announced so long ago and is not answered is announced again.
ANNOUNCED_AGAIN_AFTER = 5.0
SWEEP_EVERY = 2.0
#: Batches that one sweep announces at most.
SWEEP_AT_MOST = 100
TIDY_EVERY = 3600.0

#: Seconds until the broker delivers again what nobody acknowledged.
VISIBILITY_TIMEOUT = 120


def broker_settings(url: str, *, client: str) -> dict[str, Any]:
    """Celery's settings that both doors share. No result backend: answers are rows."""
    redis = not url.startswith(("amqp", "pyamqp"))
    return {
        "broker_url": url,
        "broker_transport_options": _redis_options(client) if redis else {"confirm_publish": True},
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        "broker_pool_limit": 2,
        "task_publish_retry": False,
        "task_ignore_result": True,
        "result_backend": None,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_default_delivery_mode": 2,
        "task_default_queue": QueueName.BULK.value,
        "task_create_missing_queues": True,
        "worker_send_task_events": False,
        "worker_enable_remote_control": False,
    }


def _redis_options(client: str) -> dict[str, Any]:
    return {
        "visibility_timeout": VISIBILITY_TIMEOUT,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
        "socket_timeout": 2,
        "socket_connect_timeout": 1,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "queue_order_strategy": "sorted",
        "global_keyprefix": "enroll:",
        "client_name": client,
        "max_retries": 0,
    }
