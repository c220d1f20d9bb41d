"""Threads that do pieces of work, one at a time for each key, beside the loop that starts them."""

import threading
from collections.abc import Callable, Hashable
from uuid import UUID

from worker.background.repeating_thread import join_together


class KeyedThreads:
    """Runs work in daemon threads, which must not hold up the end of the process."""

    def __init__(self, stopped: threading.Event, on_end: Callable[[], object]) -> None:
        """No work begins once `stopped` is set.

        `on_end` is called after work that returned something true.
        """
        self._stopped = stopped
        self._on_end = on_end
        #: Threads by key, and the group of each.
        self._running: dict[UUID, tuple[threading.Thread, Hashable]] = {}
        self._lock = threading.Lock()

    def start(
        self,
        key: UUID,
        work: Callable[[], object],
        *,
        most: int | None = None,
        group: Hashable = None,
    ) -> bool:
        """Starts work, unless the key has some, or its group has `most`; `work` raises nothing.

        Returns whether it was started.
        """
        with self._lock:
            busy = sum(each == group for _, each in self._running.values())
            is_full = most is not None and busy >= most
            if key in self._running or is_full or self._stopped.is_set():
                return False
            thread = threading.Thread(target=self._run, args=(key, work), daemon=True)
            thread.start()  # raises if the system has no thread left: then it is not running
            self._running[key] = thread, group
            return True

    def keys(self) -> set[UUID]:
        """Returns the keys that have work."""
        with self._lock:
            return set(self._running)

    def join(self) -> bool:
        """Waits for the end of the work for some seconds; returns whether all has ended."""
        with self._lock:
            running = [thread for thread, _ in self._running.values()]
        return join_together(running)

    def _run(self, key: UUID, work: Callable[[], object]) -> None:
        result = None
        try:
            result = work()
        finally:
            with self._lock:
                del self._running[key]
        if result:
            self._on_end()
