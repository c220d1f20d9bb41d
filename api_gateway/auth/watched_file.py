"""A file that a process reads again when it has changed."""

import math
from collections.abc import Callable
from pathlib import Path

#: Seconds between two looks at a file. With the cache of tokens, a key that is taken out of its
#: file verifies nothing after `FILE_LOOK_SECONDS + TOKEN_CACHE_SECONDS`.
FILE_LOOK_SECONDS = 10.0

#: Times, size and inode, which change with the content; None for an unreadable file.
Stamp = tuple[int, int, int, int] | None


class WatchedFile:
    """Notices by `stat` that a file has changed since it was read."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self.path = path
        self._clock = clock
        self._stamp: Stamp = None
        self._looked_at = -math.inf

    def read(self) -> bytes:
        """Returns the content; `has_changed` compares with this moment. Raises OSError."""
        stamp = self._look()
        content = self.path.read_bytes()
        self._stamp = stamp
        return content

    def has_changed(self, *, at_once: bool = False) -> bool:
        """Whether the file differs from what was read last.

        Looks every `FILE_LOOK_SECONDS`, or `at_once`; between two looks it has not changed.
        """
        now = self._clock()
        if not at_once and abs(now - self._looked_at) < FILE_LOOK_SECONDS:
            return False
        self._looked_at = now
        return self._look() != self._stamp

    def forget(self) -> None:
        """Makes the next look report a change, for content that could not be used."""
        self._stamp = None

    def _look(self) -> Stamp:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
