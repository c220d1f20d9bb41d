"""Makes the parts that each process of a simulation of deliveries runs; they are the real ones."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

from redis import ConnectionPool

from enrollment.runtime.counters.relay_counters import RelayCounters
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.queue.batches import BatchRef
from tests.fault_lab.deliveries import entries
from tests.fault_lab.deliveries.simulated_calls import CallQueue, CallWorker
from tests.fault_lab.deliveries.unreliable_redis import Fails, UnreliableRedis
from tests.fault_lab.simulator.environment import patched
from tests.fault_lab.simulator.fault_rates import VirtualTime
from worker.inbound.intake import InboundIntake
from worker.inbound.key_holders import KeyHolders
from worker.inbound.messages import ReplyStreams
from worker.inbound.reply_sender import ReplySender
from worker.inbound.stream_consumer import StreamConsumer
from worker.inbound.submit_task import SubmitCalls
from worker.relay import streams
from worker.relay.channels import EventBusChannel, EventStreamChannel, Topics
from worker.relay.relay import Relay

#: Takes a step; returns how much was done.
Step = Callable[[], int]

_REPLIES = ReplyStreams(f"{entries.REQUESTS}:reply:")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Makes each part anew, as a process does that starts; nothing is shared but the servers."""

    connections: ConnectionPool
    #: Whether a call of Redis fails now.
    redis_fails: Fails
    sessions: Sessions
    dispatch: Callable[[BatchRef], object]
    time: VirtualTime
    #: The calls of the task that wait.
    queue: CallQueue
    #: Numbers for names that no process had before.
    lives: "count[int]"

    def consumer(self) -> Step:
        """Returns the step of a consumer of the request stream."""
        consumer = StreamConsumer(
            redis=self._redis(),
            stream=entries.REQUESTS,
            name=self._new_name(),
            intake=self._intake(),
            replies=_REPLIES,
            monotonic=self.time.monotonic,
        )
        return lambda: consumer.consume(1)

    def callee(self) -> Step:
        """Returns the step of a worker that takes calls of the task."""
        calls = SubmitCalls(intake=self._intake(), replies=_REPLIES, redis=self._redis())
        return CallWorker(self.queue, calls, sleep=self.time.advance).step

    def replier(self) -> Step:
        """Returns the step of a sender of replies."""
        return ReplySender(sessions=self.sessions, redis=self._redis()).send_due

    def stream_relay(self) -> Step:
        """Returns the step of a relay of the event stream."""
        with patched(streams, "bounded_redis", self._redis):
            channel = EventStreamChannel("", entries.EVENTS, length=10_000)
        return self._relay(channel)

    def bus_relay(self) -> Step:
        """Returns the step of a relay of the event bus."""
        enrolled, withdrawn = entries.TOPICS
        with patched(streams, "bounded_redis", self._redis):
            channel = EventBusChannel("", Topics("", enrolled, enrolled, withdrawn))
        return self._relay(channel)

    def _relay(self, channel: Any) -> Step:
        return Relay(
            self.sessions,
            channel,
            RelayCounters(),
            holder=self._new_name(),
            monotonic=self.time.monotonic,
        ).publish_next

    def _intake(self) -> InboundIntake:
        return InboundIntake(
            sessions=self.sessions,
            holders=KeyHolders(self.sessions, None, monotonic=self.time.monotonic),
            dispatch=self.dispatch,
            max_pending_rows=1_000_000,
            monotonic=self.time.monotonic,
            now=self.time.now,
        )

    def _redis(self, *_: object, **__: object) -> UnreliableRedis:
        return UnreliableRedis(fails=self.redis_fails, connection_pool=self.connections)

    def _new_name(self) -> str:
        return f"life {next(self.lives)}"
