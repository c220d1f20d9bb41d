"""Sends states to one destination, several at once, and not faster than it wants."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

import structlog

from enrollment.domain.destinations.records import ApplyResult, Destination
from enrollment.runtime.tracing.span_values import SpanKind
from enrollment.runtime.tracing.spans import ACTIVE, describe_answer, open_span
from enrollment.storage.destinations.deliveries import DueState
from worker.destinations.protocol import DestinationKind

log = structlog.get_logger()

#: Seconds after which a slice begins no further attempt.
DESTINATION_SLICE_SECONDS = 5.0


class AttemptedState(NamedTuple):
    """A state that was sent, when the attempt ended (in seconds of the slice), and its result."""

    due: DueState
    after: float
    result: ApplyResult

    @property
    def must_rest(self) -> bool:
        """Whether the destination does not take requests at the moment."""
        return self.result.error is not None and not self.result.is_permanent


@dataclass(slots=True, kw_only=True)
class SendSlice:
    """One slice of deliveries to one destination."""

    destination: Destination
    client: DestinationKind
    due: deque[DueState]
    #: The contexts of the traces of some, by the position of the change.
    traceparents: Mapping[int, str] = field(default_factory=dict)
    #: Set when the process is to end.
    stopped: threading.Event
    monotonic: Callable[[], float] = time.monotonic
    attempted: list[AttemptedState] = field(default_factory=list)
    #: Waits for a number of seconds; by default until no further attempt is to begin.
    wait: Callable[[float], object] | None = None
    #: Seconds from the start of the slice until the rate allows the next attempt.
    next_slot: float = 0.0
    #: Set when no further attempt is to begin.
    _ended: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _pace: threading.Lock = field(default_factory=threading.Lock)
    _start: float = 0.0

    def run(self) -> Sequence[AttemptedState]:
        """Sends until one attempt fails for now, or the time is over; returns what was sent."""
        self._start = self.monotonic()
        number = min(self.destination.concurrency, len(self.due))
        threads = [threading.Thread(target=self._send_all, daemon=True) for _ in range(number - 1)]
        for thread in threads:
            thread.start()
        self._send_all()
        for thread in threads:
            thread.join()
        return sorted(self.attempted, key=lambda each: _key(each.due))

    @property
    def elapsed(self) -> float:
        """Seconds since the start of the slice."""
        return self.monotonic() - self._start

    def _send_all(self) -> None:
        while (due := self._take()) is not None:
            try:
                result = self._apply(due)
            except Exception:
                log.exception("destination.apply_failed", destination=self.destination.name)
                result = ApplyResult(error="internal_error")
            attempted = AttemptedState(due, self.elapsed, result)
            with self._lock:
                self.attempted.append(attempted)
            if attempted.must_rest:
                self._ended.set()

    def _apply(self, due: DueState) -> ApplyResult:
        """Sends a state, within the trace of the submission that changed it last."""
        if ACTIVE.recorder is None:
            return self.client.apply(due.state)
        attributes: dict[str, str | int] = {
            "server.address": urlsplit(self.destination.url).hostname or "",
            "enroll.destination": self.destination.name,
            "enroll.attempt": due.delivery.attempts + 1,
        }
        parent = self.traceparents.get(due.delivery.position)
        with open_span("send state", SpanKind.CLIENT, attributes, parent=parent) as span:
            result = self.client.apply(due.state)
            describe_answer(span, result.status, result.error)
            return result

    def _take(self) -> DueState | None:
        """Waits for the next slot of the rate; returns the state to send then, None at the end.

        One thread after the other: a slot begins no earlier than an interval after the last one,
        however late that was.
        """
        with self._pace:
            if not self.due or self.next_slot >= DESTINATION_SLICE_SECONDS:
                return None
            while (rest := self.next_slot - self.elapsed) > 0 and not self._has_ended:
                (self.wait or self._ended.wait)(rest)
            if self._has_ended or self.elapsed >= DESTINATION_SLICE_SECONDS:
                return None
            rate = self.destination.requests_per_second
            self.next_slot = 0.0 if rate is None else self.elapsed + 1 / rate
            return self.due.popleft()

    @property
    def _has_ended(self) -> bool:
        return self._ended.is_set() or self.stopped.is_set()


def _key(due: DueState) -> tuple[str, str]:
    return due.state.course_id, due.state.username
