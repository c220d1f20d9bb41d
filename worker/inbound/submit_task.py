"""The task `enrollment.submit`, which other applications call by its name.

The message is the only copy of its requests, unlike those of batches. So it is acknowledged after
the commit, and put on the queue again where the commit is not possible now.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from celery import Celery, Task
from celery.exceptions import Reject, SoftTimeLimitExceeded
from redis import Redis, RedisError

from enrollment.domain.errors import EnrollmentError
from enrollment.runtime import logs
from enrollment.runtime.broker import READ_TIMEOUT_SECONDS, QueueName, TaskName
from enrollment.runtime.failpoints import Point, fail_point
from worker.inbound.intake import InboundIntake
from worker.inbound.messages import (
    MAX_SENT_ID,
    MessageRefusal,
    ReplyStreams,
    call_message,
    internal_error,
)
from worker.inbound.reply_entries import MAX_REPLIES, refusal_entry
from worker.inbound.verdicts import Accepted, Postponed, count_verdicts

log = structlog.get_logger()

#: Names of the arguments.
ARGUMENTS = frozenset({"key", "requests", "idempotency_key", "reply"})
#: Seconds that a worker waits before it puts a message on the queue again.
REPEAT_PAUSE = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitCalls:
    """Handles calls of the task. Belongs to one thread."""

    intake: InboundIntake
    replies: ReplyStreams
    redis: Redis

    def submit(
        self, arguments: dict[str, Any], task_id: str, sender_context: str | None = None
    ) -> list[str] | Postponed:
        """Stores the requests of a call; returns the ids of its submissions, none if refused.

        No error leaves it: Celery would drop the message, which is the only copy.
        """
        try:
            verdict = self._verdict(arguments, task_id, sender_context)
            count_verdicts([verdict])
            if isinstance(verdict, Accepted):
                return [str(verdict.submission_id)]
            if isinstance(verdict, MessageRefusal):
                self._refuse(arguments, task_id, verdict)
                return []
        except (EnrollmentError, RedisError, OSError, SoftTimeLimitExceeded) as error:
            return Postponed(str(error))
        except Exception as error:
            log.exception("inbound.failed", task_id=task_id)
            return Postponed(repr(error))
        return verdict

    def _verdict(
        self, arguments: dict[str, Any], task_id: str, sender_context: str | None
    ) -> Accepted | MessageRefusal | Postponed:
        if unknown := arguments.keys() - ARGUMENTS:
            known = ", ".join(sorted(ARGUMENTS))
            text = f"The argument {min(unknown)[:50]!r} is unknown: known are {known}."
            return MessageRefusal("invalid_message", text)
        try:
            message = call_message(arguments, task_id, self.replies, sender_context)
        except MessageRefusal as refusal:
            return refusal
        except Exception:
            log.exception("inbound.not_stored", task_id=task_id)
            return internal_error()
        (verdict,) = self.intake.accept([message])
        return verdict

    def _refuse(self, arguments: dict[str, Any], task_id: str, refusal: MessageRefusal) -> None:
        """Logs a refusal, and replies it if a reply is wanted. Raises RedisError."""
        log.warning("inbound.refused", task_id=task_id, code=refusal.code, because=refusal.message)
        reply_to = arguments.get("reply")
        if self.replies.allows(reply_to):
            own_id = arguments.get("idempotency_key")
            sent_id = own_id if isinstance(own_id, str) else task_id
            entry = refusal_entry(_encodable(sent_id)[:MAX_SENT_ID], refusal)
            self.redis.xadd(str(reply_to), entry, maxlen=MAX_REPLIES, approximate=True)


def register_submit(
    app: Celery, calls: SubmitCalls, *, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Declares the task on the app."""

    # A message is not acknowledged where its worker process died or was stopped for its time.
    @app.task(
        name=TaskName.SUBMIT.value,
        bind=True,
        shared=False,
        reject_on_worker_lost=True,
        acks_on_failure_or_timeout=False,
    )
    def submit(self: "Task[Any, Any]", /, *positional: object, **arguments: Any) -> list[str]:
        """Stores requests for the holder of an API key; returns the ids of the submissions."""
        logs.clear()
        task_id = str(self.request.id)
        if positional:
            arguments["(positional)"] = positional
        sender_context = _sender_context(self)
        try:
            result = calls.submit(arguments, task_id, sender_context)
            fail_point(Point.INBOUND_STORED)
            if not isinstance(result, Postponed):
                return result
            log.warning("task.postponed", because=result.because)
            sleep(REPEAT_PAUSE)
            _send_again(app, arguments, task_id, sender_context)
        except Exception as error:  # any other error than Reject would drop the message
            raise Reject(str(error), requeue=True) from error
        return []


def _sender_context(task: "Task[Any, Any]") -> str | None:
    """Returns the header `traceparent` of a message (W3C); None without one."""
    value = task.request.get("traceparent")
    return value if isinstance(value, str) else None


def _send_again(
    app: Celery, arguments: dict[str, Any], task_id: str, sender_context: str | None
) -> None:
    """Puts a call on the queue again, behind the others.

    A rejected message would be at the head of the queue, and RabbitMQ 4 drops it the 20th time.
    """
    app.send_task(
        TaskName.SUBMIT.value,
        kwargs=arguments,
        task_id=task_id,
        headers=None if sender_context is None else {"traceparent": sender_context},
        queue=QueueName.SUBMIT.value,
        confirm_timeout=READ_TIMEOUT_SECONDS,
        retry=False,
    )


def _encodable(text: str) -> str:
    """Returns the text without what UTF-8 cannot express."""
    return text.encode("utf-8", "replace").decode()
