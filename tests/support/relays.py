"""Relays and their streams, as tests set them up."""

import json
from typing import Any

from redis import Redis

from enrollment.runtime.counters.relay_counters import RelayCounters
from enrollment.storage.engine.sessions import Sessions
from worker.relay.channels import Channel, EventBusChannel, EventStreamChannel, Topics
from worker.relay.relay import Relay

STREAM = "enroll:events"
TOPICS = Topics("dev", "created", "changed", "course-unenrollment-lifecycle")


def stream_relay(
    sessions: Sessions, url: str, holder: str = "one", length: int = 1_000_000, **options: Any
) -> Relay:
    """Returns a relay of the Redis stream."""
    channel = EventStreamChannel(url, STREAM, length=length)
    return relay_of(sessions, channel, holder, **options)


def bus_relay(sessions: Sessions, url: str, topics: Topics = TOPICS) -> Relay:
    """Returns a relay of the event bus."""
    return relay_of(sessions, EventBusChannel(url, topics), "one")


def relay_of(sessions: Sessions, channel: Channel, holder: str, **options: Any) -> Relay:
    """Returns a relay of any channel; `options` may have counters and a clock."""
    counters = options.pop("counters", None) or RelayCounters()
    return Relay(sessions, channel, counters, holder=holder, **options)


def publish_all(relay: Relay) -> int:
    """Publishes until there is nothing left; returns the number of events."""
    total = 0
    while number := relay.publish_next():
        total += number
    return total


def streamed(url: str, key: str = STREAM) -> list[dict[str, Any]]:
    """Returns the events on the stream, as a consumer reads them."""
    with Redis.from_url(url) as client:
        return [json.loads(fields[b"event"]) for _, fields in client.xrange(key)]


def positions(url: str) -> list[int]:
    """Returns the positions of the events on the stream."""
    return [event["data"]["position"] for event in streamed(url)]
