"""How far the channels of the relay are behind the change feed."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple, TypedDict

from sqlalchemy.orm import Session

from enrollment.runtime.settings import Settings
from enrollment.storage.engine.sessions import database_now
from enrollment.storage.outbox import relay_positions
from enrollment.storage.outbox.relay_positions import ChannelName
from schemas.encoding.json_types import Count, Doc

#: Age of an event from which a channel that has not published it is reported.
OLD_EVENT = timedelta(seconds=60)


class RelayLagJson(TypedDict):
    """How far a channel of the relay is behind the change feed."""

    channel: str
    lag_events: Annotated[Count, Doc("Events that are not published yet.")]
    lag_seconds: Annotated[Count, Doc("Age of the oldest of them.")]


class ChannelLag(NamedTuple):
    """A channel, the number of events that are not published, and since when the oldest waits."""

    channel: ChannelName
    events: int
    since: datetime | None
    age: timedelta

    @property
    def finding(self) -> str:
        """A sentence for operators if the channel is too far behind, else empty."""
        if self.since is None or self.age <= OLD_EVENT:
            return ""
        return (
            f"{self.channel} is {self.events} events behind, the oldest of "
            f"{self.since.isoformat()}: check that beat runs and reaches its Redis"
        )


def enabled_channels(settings: Settings) -> tuple[ChannelName, ...]:
    """Returns the channels that the settings enable."""
    stream = (ChannelName.EVENT_STREAM,) if settings.event_stream is not None else ()
    return (*stream, ChannelName.EVENT_BUS) if settings.event_bus else stream


def load_lags(session: Session, channels: Iterable[ChannelName]) -> list[ChannelLag]:
    """Returns how far each channel is behind."""
    found = []
    for channel in channels:
        lag = relay_positions.load_lag(session, channel)
        age = timedelta() if lag.since is None else database_now(session) - lag.since
        found.append(ChannelLag(channel, lag.events, lag.since, max(age, timedelta())))
    return found


def dump_lag(lag: ChannelLag) -> RelayLagJson:
    """Renders how far a channel is behind."""
    return {
        "channel": lag.channel,
        "lag_events": lag.events,
        "lag_seconds": int(lag.age.total_seconds()),
    }
