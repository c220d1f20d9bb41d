"""A loop that queues for receivers what is in the change feed, and sends it, in threads."""

import threading
from abc import ABC, abstractmethod

from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.webhooks import positions
from worker.background.keyed_threads import KeyedThreads
from worker.background.pace import LONGEST_REST, file_pace
from worker.background.repeating_thread import LoopEvents, Pauses, RepeatingThread, stop_together

#: Seconds between two looks for work.
POLL_SECONDS = 0.5
_PAUSES = Pauses(outage=2.0, failure=2.0)


class SendingLoop(ABC):
    """Queues and sends until it is stopped, more slowly while files are processed.

    Each receiver has a thread of its own while something is due. Several processes may run the
    loop: the position in the feed is locked and receivers are leased in the database.
    """

    #: Names of both threads, and of the log events of the loop.
    names: tuple[str, str]
    events: LoopEvents
    #: Name of the position up to which the feed was read.
    source: str

    def __init__(self, sessions: Sessions, stopped: threading.Event) -> None:
        """`stopped` is set when no further attempt is to begin."""
        self._sessions = sessions
        self._stopped = stopped
        self._pace = file_pace(sessions)
        self._work = threading.Event()
        self._threads = KeyedThreads(stopped, self._work.set)
        self._loops = [
            RepeatingThread(name, step, self.events, pauses=_PAUSES)
            for name, step in zip(self.names, (self._queue_next, self._send_due), strict=True)
        ]

    @abstractmethod
    def read_slice(self) -> bool:
        """Queues what is in the next slice of the feed; returns whether more may be left."""

    @abstractmethod
    def start_due(self) -> bool:
        """Starts a slice for each receiver with due deliveries.

        Returns whether the next ones must wait, because files are processed.
        """

    def start(self) -> None:
        """Starts reading and sending, each in a thread of its own."""
        for loop in self._loops:
            loop.start()

    def request_stop(self) -> None:
        """Lets no further attempt begin. Does not wait for the end of those that are being made."""
        self._stopped.set()
        self._work.set()
        for loop in self._loops:
            loop.request_stop()

    def stop(self) -> bool:
        """Stops after the attempts that are being made; those that take too long are left behind.

        Their leases end by themselves, and what they sent is sent again. Returns whether all ended.
        """
        self.request_stop()
        stop_together(self._loops)
        return self._threads.join()

    def _queue_next(self) -> float:
        """Reads a slice of the feed; returns the seconds of rest until the next one."""
        with self._pace.step():
            is_more = self.read_slice()
        if not is_more:
            return POLL_SECONDS
        with self._sessions.read() as session:
            age = positions.unread_age(session, self.source)
        return self._pace.rest(age)

    def _send_due(self) -> float:
        """Starts what is due, and waits until a slice ends."""
        self._work.clear()
        if self.start_due():
            self._stopped.wait(LONGEST_REST)
        else:
            self._work.wait(POLL_SECONDS)
        return 0.0
