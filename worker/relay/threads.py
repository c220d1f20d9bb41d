"""Runs relays and the catalog consumer in threads of a process."""

import os
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple
from uuid import uuid4

from enrollment.runtime.counters.relay_counters import RelayCounters
from enrollment.runtime.settings import Settings
from enrollment.storage.engine.sessions import Sessions
from worker.background.pace import LONGEST_REST, Pace, file_pace
from worker.background.repeating_thread import (
    LoopEvents,
    Pauses,
    RepeatedStep,
    RepeatingThread,
    stop_together,
)
from worker.relay.catalog_consumer import BATCH_ENTRIES, CatalogConsumer
from worker.relay.channels import Channel, EventBusChannel, EventStreamChannel, Topics, stream_key
from worker.relay.relay import BATCH_EVENTS, Relay
from worker.relay.wake_listener import WakeListener

#: Seconds between two looks for new events, unless a completion event comes earlier. Longer than
#: the longest rest of the pace, which is not cut short.
RELAY_POLL_SECONDS = 1.0
#: Seconds until the next portion after one that was not full. Each portion stores a position: so
#: many small commits do not make as many more.
LINGER_SECONDS = 0.05
#: Seconds until the next attempt after an error that is no outage, such as missing migrations.
FAILURE_PAUSE_SECONDS = 5.0

_EVENTS = LoopEvents("relay.postponed", "relay.failed", "relay.resumed")
_WAKE_EVENTS = LoopEvents("relay.wake_lost", "relay.wake_failed", "relay.wake_resumed")


class RelayThreads(NamedTuple):
    """One thread for each channel, one for the catalog, one that listens for wake-ups.

    Without channels none. A failure of one stops no other.
    """

    threads: tuple[RepeatingThread, ...] = ()

    def start(self) -> None:
        """Starts the threads."""
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """Ends the threads and their leases."""
        stop_together(self.threads)


def make_relay_threads(
    settings: Settings, sessions: Sessions, counters: RelayCounters
) -> RelayThreads:
    """Returns the threads of the channels that the settings enable. Connects to nothing."""
    holder = f"{socket.gethostname()[:20]}:{os.getpid()}:{uuid4().hex}"[:64]
    relays = [Relay(sessions, each, counters, holder=holder) for each in _channels(settings)]
    threads = [
        _make_thread(each.channel.name, _relay_step(each, file_pace(sessions)), each.release)
        for each in relays
    ]
    if settings.event_bus_catalog:
        key = stream_key(settings.event_bus_prefix, settings.event_bus_catalog_topic)
        consumer = CatalogConsumer(sessions, _event_bus_url(settings), key, holder=holder)
        threads.append(
            _make_thread(
                "catalog",
                lambda: _rest_after(consumer.consume_next(), BATCH_ENTRIES),
                consumer.release,
            )
        )
    if threads:
        threads.append(_make_listener(settings.redis_url, tuple(threads)))
    return RelayThreads(tuple(threads))


def _relay_step(relay: Relay, pace: Pace) -> RepeatedStep:
    """Returns a step that publishes a portion; it rests longer while files are processed."""

    def step() -> float:
        with pace.step():
            number = relay.publish_next()
        rest = _rest_after(number, BATCH_EVENTS)
        return max(rest, pace.rest(relay.lag_seconds)) if number else rest

    return step


def _rest_after(number: int, full: int) -> float:
    """Returns the seconds until the next portion; behind a full one more is to be expected."""
    if number >= full:
        return 0.0
    return LINGER_SECONDS if number else RELAY_POLL_SECONDS


def _make_thread(name: str, step: RepeatedStep, release: Callable[[], None]) -> RepeatingThread:
    return RepeatingThread(
        name,
        step,
        _EVENTS,
        pauses=Pauses(outage=RELAY_POLL_SECONDS, failure=FAILURE_PAUSE_SECONDS),
        unwoken_rest=LONGEST_REST,
        at_end=release,
    )


def _make_listener(redis_url: str, woken: Sequence[RepeatingThread]) -> RepeatingThread:
    def wake() -> None:
        for thread in woken:
            thread.wake()

    listener = WakeListener(redis_url, wake)
    return RepeatingThread("relay-wake", listener.listen, _WAKE_EVENTS, at_end=listener.close)


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
