"""The shutdown of a process as its parts see it: after SIGTERM no request waits."""

from collections.abc import Callable


class Draining:
    """Whether the process is shutting down. One per process; used on its event loop only."""

    def __init__(self) -> None:
        self.is_draining = False
        self._callbacks: list[Callable[[], None]] = []

    def on_begin(self, callback: Callable[[], None]) -> None:
        """Registers a function that is called once, when the process begins to drain."""
        self._callbacks.append(callback)

    def begin(self) -> None:
        """Marks the process as draining; later calls do nothing."""
        if self.is_draining:
            return
        self.is_draining = True
        for callback in self._callbacks:
            callback()
