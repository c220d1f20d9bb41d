"""Publishes the change feed to one channel, in order and at least once.

The position is stored after the events were published. A relay that dies in between is followed by
one that publishes them again, with the same ids: consumers drop an id that they know. Of several
relays the one that holds the lease of the channel publishes; another takes over when it ends.
"""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NamedTuple

import structlog
from redis.exceptions import RedisError
from sqlalchemy.orm import Session

from enrollment.domain.events import RecordedEvent
from enrollment.runtime.circuit_breaker import CircuitBreaker
from enrollment.runtime.counters.relay_counters import RelayCounters
from enrollment.runtime.failpoints import Point, fail_point
from enrollment.runtime.tracing.span_values import SpanKind
from enrollment.runtime.tracing.spans import ACTIVE, span_in_each
from enrollment.storage import events as event_store
from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.outbox import relay_positions
from enrollment.storage.views import trace_contexts
from worker.relay.channels import Channel
from worker.relay.streams import StreamEntry

log = structlog.get_logger()

#: Most events that are published at once.
BATCH_EVENTS = 1_000
#: Seconds after which another relay may take over the channel of one that stored nothing.
RELAY_LEASE_SECONDS = 10.0
#: The last part of these, in which nothing is published any more: a call of Redis may take 4.
_RESERVE_SECONDS = 4.5


class _Portion(NamedTuple):
    """The next events, rendered, and the position behind them."""

    entries: Sequence[StreamEntry]
    end: int
    events: int
    #: The contexts of the traces of their submissions.
    traceparents: Sequence[str] = ()


class Relay:
    """Publishes to one channel. Used by one thread; `holder` is unique among all relays."""

    def __init__(
        self,
        sessions: Sessions,
        channel: Channel,
        counters: RelayCounters,
        *,
        holder: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.channel = channel
        self._sessions = sessions
        self._counters = counters
        self._holder = holder
        self._monotonic = monotonic
        self._breaker = CircuitBreaker(channel.dependency, monotonic)
        self._lease = timedelta(seconds=RELAY_LEASE_SECONDS)
        #: Age in seconds of the oldest event that was not published before the last portion.
        self.lag_seconds = 0.0
        #: Until when, on the monotonic clock, events may be published, and from which position.
        self._held_until = monotonic()
        self._position = 0

    def publish_next(self) -> int:
        """Publishes the next events and stores the position; returns how many they were.

        0: there are none, another relay has the channel, or it cannot be reached. Raises
        DatabaseUnavailable, Conflict.
        """
        if not self._measure_lag() or not self._breaker.allow() or not self._hold_lease():
            return 0
        portion = self._read()
        fail_point(Point.RELAY_READ, self.channel.name)
        if not portion.events or self._monotonic() >= self._held_until:
            return 0
        if not self._publish(portion):
            return 0
        fail_point(Point.RELAY_PUBLISHED, self.channel.name)
        is_stored = self._store(portion)
        fail_point(Point.RELAY_STORED, self.channel.name)
        return portion.events if is_stored else 0

    def release(self) -> None:
        """Lets another relay take the channel at once, if this one has it."""
        if self._monotonic() < self._held_until:
            self._held_until = self._monotonic()
            with self._sessions.begin() as session:
                relay_positions.release(session, self.channel.name, self._holder)

    def _measure_lag(self) -> int:
        """Returns the number of events that are not published, and reports it with their age."""
        with self._sessions.read() as session:
            lag = relay_positions.load_lag(session, self.channel.name)
            age = database_now(session) - lag.since if lag.since else timedelta()
        self.lag_seconds = max(age.total_seconds(), 0.0)
        self._counters.set_lag(self.channel.name, events=lag.events, seconds=self.lag_seconds)
        return lag.events

    def _hold_lease(self) -> bool:
        """Takes the lease, or renews it if it ends soon; returns whether this relay has it."""
        started = self._monotonic()
        if started < self._held_until:
            return True
        with self._sessions.begin() as session:
            position = relay_positions.claim(
                session, self.channel.name, self._holder, lease=self._lease
            )
        if position is None:
            return False
        self._position = position
        self._held_until = started + RELAY_LEASE_SECONDS - _RESERVE_SECONDS
        return True

    def _read(self) -> _Portion:
        with self._sessions.read() as session:
            events = event_store.events_after(session, self._position, limit=BATCH_EVENTS)
            entries = self.channel.render(session, events)
            traceparents = _traceparents(session, events)
        end = events[-1].position if events else self._position
        return _Portion(entries, end, len(events), traceparents)

    def _publish(self, portion: _Portion) -> bool:
        """Returns whether the events are published; after False they may be, too."""
        try:
            if portion.entries:
                attributes = {"enroll.channel": self.channel.name.value}
                with span_in_each(
                    "publish events", SpanKind.PRODUCER, portion.traceparents, attributes
                ):
                    self.channel.publish(portion.entries)
        except (RedisError, OSError) as error:
            self._breaker.record_failure(error)
            self._counters.add_failure(self.channel.name)
            return False
        self._breaker.record_success()
        self._counters.add_published(self.channel.name, portion.events)
        return True

    def _store(self, portion: _Portion) -> bool:
        """Stores the position behind the events, and renews the lease."""
        started, start = self._monotonic(), self._position
        # Until it is known that it was stored, the lease and the position are not relied on.
        self._held_until = started
        with self._sessions.begin() as session:
            is_stored = relay_positions.advance(
                session,
                self.channel.name,
                self._holder,
                start=start,
                end=portion.end,
                lease=self._lease,
            )
        if is_stored:
            self._position = portion.end
            self._held_until = started + RELAY_LEASE_SECONDS - _RESERVE_SECONDS
        else:
            log.warning("relay.lease_lost", channel=self.channel.name, position=start)
        return is_stored


def _traceparents(session: Session, events: Sequence[RecordedEvent]) -> list[str]:
    """Returns the contexts of the submissions of events; none while traces are off."""
    if ACTIVE.recorder is None:
        return []
    found = trace_contexts.of_submissions(session, {each.submission_id for each in events})
    return list(found.values())
