"""The submissions of a load, shared between its clients."""

import random
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from tests.fault_lab.load.client import SentRequest


class SharedSubmissions:
    """The submissions of a load by state, shared between its clients; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unknown: deque[SentRequest] = deque()
        self._open: dict[str, SentRequest] = {}
        self._done: list[SentRequest] = []
        self._in_flight = 0
        self.accepted_items = 0
        self.accepted = 0

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Counts a request in flight inside this block."""
        with self._lock:
            self._in_flight += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1

    def add(self, sent: SentRequest) -> None:
        """Files a request under unknown, open or done."""
        with self._lock:
            if sent.is_done:
                self._open.pop(sent.id or "", None)
                self._done.append(sent)
            elif sent.id is not None:
                if sent.id not in self._open:
                    self.accepted += 1
                    self.accepted_items += len(sent.changes)
                self._open[sent.id] = sent
            elif not sent.refused:
                self._unknown.append(sent)

    def unknown(self) -> SentRequest | None:
        """Removes and returns a request with an unknown result."""
        with self._lock:
            return self._unknown.popleft() if self._unknown else None

    def waiting(self) -> list[SentRequest]:
        """Returns the accepted submissions that are not known to be done."""
        with self._lock:
            return list(self._open.values())

    def done(self) -> list[SentRequest]:
        """Returns the submissions that are done."""
        with self._lock:
            return list(self._done)

    def any_accepted(self, chance: random.Random) -> SentRequest | None:
        """Returns a random accepted submission."""
        with self._lock:
            known = self._done if self._done and chance.random() < 0.5 else [*self._open.values()]
            return chance.choice(known) if known else None

    @property
    def is_all_known(self) -> bool:
        """Returns whether no request is in flight and no result is unknown."""
        with self._lock:
            return not self._unknown and not self._in_flight
