"""Checks of the ways out: the relay, and destinations."""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from sqlalchemy.orm import Session

from api_gateway.status.destination_backlog import report_backlogs
from api_gateway.status.relay_lag import load_lags
from enrollment.storage.outbox.relay_positions import ChannelName


class CheckResult(NamedTuple):
    """The result of one check, with advice if there is something to do."""

    mark: Literal["ok", "note", "wrong"]
    subject: str
    message: str
    advice: str = ""


def check_relay(session: Session, channels: Iterable[ChannelName]) -> Iterator[CheckResult]:
    """Checks that the channels of the relay that are enabled are not far behind."""
    for lag in load_lags(session, channels):
        if lag.finding:
            yield CheckResult("wrong", "relay", lag.finding)
        else:
            yield CheckResult("ok", "relay", f"{lag.channel} is {lag.events} events behind")


def check_destinations(session: Session) -> Iterator[CheckResult]:
    """Checks that what changed arrives in the destinations."""
    for reported in report_backlogs(session):
        if reported.finding:
            yield CheckResult("wrong", "destination", reported.finding)
        else:
            yield CheckResult("ok", "destination", reported.summary)
