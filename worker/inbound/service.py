"""The loops of the way in: the consumer of the request stream, and the sender of replies."""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

from redis import Redis, RedisError

from enrollment.runtime.completion_channel import bounded_redis
from enrollment.runtime.settings import Settings
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.queue.batches import BatchRef
from worker.background.repeating_thread import LoopEvents, RepeatingThread, stop_together
from worker.inbound.intake import InboundIntake
from worker.inbound.key_holders import KeyHolders
from worker.inbound.messages import ReplyStreams
from worker.inbound.reply_sender import MAX_TOGETHER, ReplySender
from worker.inbound.stream_consumer import StreamConsumer, dead_letter_stream
from worker.inbound.submit_task import SubmitCalls

#: Seconds that a command of Redis may take: longer than a read waits for an entry.
REDIS_SECONDS = 3.0
#: Seconds between two searches for replies that are due.
REPLY_INTERVAL = 0.25
#: Connections of the loops: the transaction of each, and the lock of the sender.
LOOP_CONNECTIONS = 3

_EVENTS = LoopEvents("inbound.interrupted", "inbound.failed", "inbound.resumed")

#: Dispatches a batch.
Dispatch = Callable[[BatchRef], object]


def reply_streams(settings: Settings) -> ReplyStreams:
    """Returns the streams that may get replies; with a request stream there is a default."""
    stream = settings.request_stream
    prefix = settings.reply_prefix
    if stream is None:
        return ReplyStreams(prefix)
    reserved = frozenset({stream, dead_letter_stream(stream)})
    return ReplyStreams(f"{stream}:reply:" if prefix is None else prefix, reserved)


def make_intake(settings: Settings, sessions: Sessions, dispatch: Dispatch) -> InboundIntake:
    """Returns an intake for one thread."""
    return InboundIntake(
        sessions=sessions,
        holders=KeyHolders(sessions, settings.edx_api_key),
        dispatch=dispatch,
        max_pending_rows=settings.max_pending_rows_per_caller,
    )


def make_calls(settings: Settings, sessions: Sessions, dispatch: Dispatch) -> SubmitCalls:
    """Returns what handles calls of the task in a worker."""
    return SubmitCalls(
        intake=make_intake(settings, sessions, dispatch),
        replies=reply_streams(settings),
        redis=bounded_redis(settings.redis_url, timeout=REDIS_SECONDS),
    )


@dataclass(frozen=True, slots=True)
class InboundLoops:
    """The running loops; none where neither a request stream nor replies are set."""

    threads: tuple[RepeatingThread, ...] = ()
    consumer: StreamConsumer | None = None

    def start(self) -> None:
        """Starts the threads."""
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """Ends the threads, and leaves the consumer group if Redis is there."""
        stop_together(self.threads)
        if self.consumer is not None:
            with suppress(RedisError, OSError):  # the group forgets the consumer later
                self.consumer.close()


def make_loops(settings: Settings, sessions: Sessions, dispatch: Dispatch) -> InboundLoops:
    """Returns the loops that the settings ask for, with a connection to Redis for each."""
    replies = reply_streams(settings)
    if replies.prefix is None:
        return InboundLoops()
    sender = ReplySender(sessions=sessions, redis=_redis(settings))
    threads = [RepeatingThread("replies", lambda: _pause_after(sender.send_due()), _EVENTS)]
    consumer = None
    if settings.request_stream is not None:
        consumer = StreamConsumer(
            redis=_redis(settings),
            stream=settings.request_stream,
            name=f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}",
            intake=make_intake(settings, sessions, dispatch),
            replies=replies,
        )
        threads.append(RepeatingThread("requests", _consume_with(consumer), _EVENTS))
    return InboundLoops(tuple(threads), consumer)


def _redis(settings: Settings) -> Redis:
    return bounded_redis(settings.redis_url, timeout=REDIS_SECONDS)


def _consume_with(consumer: StreamConsumer) -> Callable[[], float]:
    """Returns a step that reads without a pause, since reading waits for entries."""

    def step() -> float:
        consumer.consume()
        return 0.0

    return step


def _pause_after(sent: int) -> float:
    return 0.0 if sent == MAX_TOGETHER else REPLY_INTERVAL
