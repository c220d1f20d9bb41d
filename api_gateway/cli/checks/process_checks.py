"""Checks of what runs beside the gateway: workers, beat, the relay, webhooks, destinations."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from sqlalchemy.orm import Session

from api_gateway.cli.checks.check_result import CheckResult
from api_gateway.status.health.destination_backlog import report_backlogs
from api_gateway.status.health.inbound_backlog import InboundProbe
from api_gateway.status.health.process_states import ProcessStates, load_process_states
from api_gateway.status.health.relay_lag import enabled_channels, load_lags
from api_gateway.status.health.stored_secrets import REMEDY, find_undecryptable
from enrollment.runtime.outbound.secret_encryption import SecretEncryption, secret_encryption
from enrollment.runtime.settings import Settings
from enrollment.storage.engine.sessions import database_now
from enrollment.storage.outbox.relay_positions import ChannelName
from enrollment.storage.webhooks import deliveries


def check_beside(session: Session, settings: Settings) -> Iterator[CheckResult]:
    """Checks what runs beside the gateway, by what the database has of it."""
    yield from check_relay(session, enabled_channels(settings))
    yield from check_processes(load_process_states(session))
    yield from check_webhooks(session)
    yield from check_destinations(session)
    yield from check_stored_secrets(session, partial(secret_encryption, settings))


def check_relay(session: Session, channels: Iterable[ChannelName]) -> Iterator[CheckResult]:
    """Checks that the channels of the relay that are enabled are not far behind."""
    for lag in load_lags(session, channels):
        if lag.finding:
            yield CheckResult("wrong", "relay", lag.finding)
        else:
            yield CheckResult("ok", "relay", f"{lag.channel} is {lag.events} events behind")


def check_inbound(probe: InboundProbe | None) -> Iterator[CheckResult]:
    """Checks that no entry of the request stream waits for long; Redis is checked elsewhere."""
    backlog = None if probe is None else probe.read()
    if backlog is None:
        return
    if backlog.finding:
        yield CheckResult("wrong", "requests", backlog.finding)
    else:
        yield CheckResult("ok", "requests", f"{backlog.number} entries of the stream wait")


def check_processes(states: ProcessStates) -> Iterator[CheckResult]:
    """Checks that workers and beat live, unless all of them were stopped."""
    if not states.seen:
        advice = "`enroll up`, or `enroll worker` and `enroll beat`, starts them"
        yield CheckResult("note", "workers", "no worker and no beat runs", advice)
        return
    findings = states.findings()
    for finding in findings:
        yield CheckResult("wrong", "workers", finding, "see the log of the process; start it again")
    if not findings:
        number = len(states.live_workers)
        yield CheckResult("ok", "workers", f"{number} live, and so does beat")


def check_webhooks(session: Session) -> Iterator[CheckResult]:
    """Reports messages to webhooks that are pending: an endpoint may refuse them, for days."""
    if (pending := deliveries.load_pending(session)).number:
        age = round(pending.age(database_now(session)))
        message = f"{pending.number} deliveries are pending, the oldest for {age} s"
        yield CheckResult("note", "webhooks", message, "`enroll webhooks deliveries` says why")


def check_destinations(session: Session) -> Iterator[CheckResult]:
    """Checks that what changed arrives in the destinations."""
    for reported in report_backlogs(session):
        if reported.finding:
            yield CheckResult("wrong", "destination", reported.finding)
        else:
            yield CheckResult("ok", "destination", reported.summary)


def check_stored_secrets(
    session: Session, encryption: Callable[[], SecretEncryption]
) -> Iterator[CheckResult]:
    """Checks that the secrets of webhooks and destinations can be decrypted with the keys here."""
    if finding := find_undecryptable(session, encryption):
        yield CheckResult("wrong", "secrets", finding, REMEDY)
