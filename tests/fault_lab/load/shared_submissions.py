"""What the clients of a load know of each other's submissions."""

import random
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from tests.fault_lab.load.client import SentRequest


class SharedSubmissions:
    """What the clients of a load know of each other's submissions."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unknown: deque[SentRequest] = deque()
        self._open: dict[str, SentRequest] = {}
        self._done: list[SentRequest] = []
        self._under_way = 0
        self.accepted_items = 0
        self.accepted = 0

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Somebody asks inside this block."""
        with self._lock:
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    def file_in(self, asked: SentRequest) -> None:
        """Put what was asked where it belongs by what is known of it."""
        with self._lock:
            if asked.is_done:
                self._open.pop(asked.id or "", None)
                self._done.append(asked)
            elif asked.id is not None:
                if asked.id not in self._open:
                    self.accepted += 1
                    self.accepted_items += len(asked.wishes)
                self._open[asked.id] = asked
            elif not asked.refused:
                self._unknown.append(asked)

    def unknown(self) -> SentRequest | None:
        """Something of which nobody knows what came, for who asks again."""
        with self._lock:
            return self._unknown.popleft() if self._unknown else None

    def waiting(self) -> list[SentRequest]:
        """What was taken in and was not seen to be done."""
        with self._lock:
            return list(self._open.values())

    def done(self) -> list[SentRequest]:
        """What was seen to be done."""
        with self._lock:
            return list(self._done)

    def any_accepted(self, chance: random.Random) -> SentRequest | None:
        """Something that was taken in."""
        with self._lock:
            known = self._done if self._done and chance.random() < 0.5 else [*self._open.values()]
            return chance.choice(known) if known else None

    @property
    def is_all_known(self) -> bool:
        """Whether nobody asks, and nothing is left to be asked again."""
        with self._lock:
            return not self._unknown and not self._under_way
