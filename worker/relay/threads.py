"""Runs relays and the catalog consumer in threads of a process."""

import os
import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple
from uuid import uuid4

import structlog

from enrollment.domain.errors import Conflict, DatabaseUnavailable
from enrollment.runtime.counters.relay_counters import RelayCounters
from enrollment.runtime.settings import Settings
from enrollment.storage.engine.sessions import Sessions
from worker.relay.catalog_consumer import BATCH_ENTRIES, CatalogConsumer
from worker.relay.channels import Channel, EventBusChannel, EventStreamChannel, Topics, stream_key
from worker.relay.relay import BATCH_EVENTS, Relay
from worker.relay.wake_listener import WakeListener

log = structlog.get_logger()

#: Seconds between two looks for new events, unless a completion event comes earlier.
RELAY_POLL_SECONDS = 1.0
#: Seconds until the next portion after one that was not full. Each portion stores a position: so
#: many small commits do not make as many more.
LINGER_SECONDS = 0.05
#: Seconds until the next attempt after an error that is no outage, such as missing migrations.
FAILURE_PAUSE_SECONDS = 5.0
#: Seconds that the threads may take to end.
THREAD_END_SECONDS = 5.0


class _Task(NamedTuple):
    name: str
    #: Does the next portion; returns its size, 0 if there is nothing to do now.
    work: Callable[[], int]
    #: The size of a portion behind which more is to be expected.
    full: int
    #: Called at the end of the process.
    release: Callable[[], None]


class RelayThreads:
    """One thread for each channel, one for the catalog, one that listens for wake-ups.

    A failure of one is logged and tried again; it stops no other.
    """

    def __init__(self, tasks: Sequence[_Task], redis_url: str) -> None:
        self._tasks = tasks
        self._stop = threading.Event()
        self._wakes = [threading.Event() for _ in tasks]
        self._listener = WakeListener(redis_url, self._wake)
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Starts the threads; without tasks none."""
        targets: list[tuple[str, Callable[[], None]]] = [
            (task.name, partial(self._repeat, task, wake))
            for task, wake in zip(self._tasks, self._wakes, strict=True)
        ]
        if targets:
            targets.append(("relay-wake", partial(self._listener.run, self._stop)))
        for name, target in targets:
            thread = threading.Thread(target=target, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Ends the threads and their leases; one that takes too long is left behind."""
        self._stop.set()
        self._wake()
        for thread in self._threads:
            thread.join(THREAD_END_SECONDS)

    def _wake(self) -> None:
        for wake in self._wakes:
            wake.set()

    def _repeat(self, task: _Task, wake: threading.Event) -> None:
        while not self._stop.is_set():
            wake.clear()
            number = self._try(task.name, task.work)
            if not number:
                wake.wait(RELAY_POLL_SECONDS)
            elif number < task.full:
                self._stop.wait(LINGER_SECONDS)
        self._try(task.name, task.release)

    def _try(self, name: str, work: Callable[[], int | None]) -> int:
        try:
            return work() or 0
        except (Conflict, DatabaseUnavailable) as error:
            log.warning("relay.postponed", task=name, because=str(error))
            self._stop.wait(RELAY_POLL_SECONDS)
        except Exception:  # the border of the thread: it goes on after any failure
            log.exception("relay.failed", task=name)
            self._stop.wait(FAILURE_PAUSE_SECONDS)
        return 0


def make_relay_threads(
    settings: Settings, sessions: Sessions, counters: RelayCounters
) -> RelayThreads:
    """Returns the threads of the channels that the settings enable. Connects to nothing."""
    holder = f"{socket.gethostname()[:20]}:{os.getpid()}:{uuid4().hex}"[:64]
    relays = [Relay(sessions, each, counters, holder=holder) for each in _channels(settings)]
    tasks = [
        _Task(each.channel.name, each.publish_next, BATCH_EVENTS, each.release) for each in relays
    ]
    if settings.event_bus_catalog:
        key = stream_key(settings.event_bus_prefix, settings.event_bus_catalog_topic)
        consumer = CatalogConsumer(sessions, _event_bus_url(settings), key, holder=holder)
        tasks.append(_Task("catalog", consumer.consume_next, BATCH_ENTRIES, consumer.release))
    return RelayThreads(tasks, settings.redis_url)


def _channels(settings: Settings) -> list[Channel]:
    channels: list[Channel] = []
    if settings.event_stream is not None:
        length = settings.event_stream_length
        channels.append(
            EventStreamChannel(settings.redis_url, settings.event_stream, length=length)
        )
    if settings.event_bus:
        topics = Topics(
            settings.event_bus_prefix,
            settings.event_bus_created_topic,
            settings.event_bus_changed_topic,
            settings.event_bus_unenrollment_topic,
        )
        channels.append(EventBusChannel(_event_bus_url(settings), topics))
    return channels


def _event_bus_url(settings: Settings) -> str:
    return settings.event_bus_url or settings.redis_url
