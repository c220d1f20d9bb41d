"""Metrics of the whole service, which any gateway reads from the database."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.orm import Session

from api_gateway.status.health.destination_backlog import ReportedBacklog, report_backlogs
from api_gateway.status.health.process_states import ProcessStates, load_process_states
from api_gateway.status.health.relay_lag import ChannelLag, load_lags
from enrollment.domain.codes import Lane
from enrollment.storage.outbox.relay_positions import ChannelName
from enrollment.storage.queue.backlog import LaneBacklog, load_lane_backlogs
from enrollment.storage.upkeep import maintenance_turns
from enrollment.storage.webhooks import deliveries
from enrollment.storage.webhooks.deliveries import PendingDeliveries


class ServiceState(NamedTuple):
    """The queue and the outbox at one time."""

    now: datetime
    lanes: dict[Lane, LaneBacklog]
    lags: Sequence[ChannelLag]
    processes: ProcessStates
    deliveries: PendingDeliveries
    destinations: Sequence[ReportedBacklog]
    #: When last nothing was left to purge; None before the first migration.
    purged_at: datetime | None


def load_service_state(channels: tuple[ChannelName, ...], session: Session) -> ServiceState:
    """Reads the state; its cost is bounded."""
    processes = load_process_states(session)
    lags = load_lags(session, channels)
    pending = deliveries.load_pending(session)
    return ServiceState(
        processes.now,
        load_lane_backlogs(session),
        lags,
        processes,
        pending,
        report_backlogs(session),
        maintenance_turns.last_end(session),
    )


class ServiceMetrics(Collector):
    """The metrics of one state; None while the database cannot be read.

    `reached`: whether Redis and whether the broker responded; None if that is not known.
    """

    def __init__(
        self, state: ServiceState | None, reached: tuple[bool, bool] | None = None
    ) -> None:
        self._state = state
        self._reached = reached

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Returns the metrics; without a state only that there is none."""
        is_up = GaugeMetricFamily(
            "enroll_database_up", "Whether this gateway could read the database."
        )
        is_up.add_metric([], self._state is not None)
        yield is_up
        if self._reached is not None:
            yield from _server_metrics(self._reached)
        if self._state is not None:
            yield from _purge_metrics(self._state)
            yield from _queue_metrics(self._state)
            yield from _relay_metrics(self._state.lags)
            yield from _process_metrics(self._state.processes)
            yield from _webhook_metrics(self._state)
            yield from _destination_metrics(self._state.destinations)


def _server_metrics(reached: tuple[bool, bool]) -> Iterable[GaugeMetricFamily]:
    redis, broker = reached
    for name, text, is_up in (
        ("enroll_redis_up", "Whether Redis answers this gateway.", redis),
        ("enroll_queue_up", "Whether the broker answers this gateway.", broker),
    ):
        family = GaugeMetricFamily(name, text)
        family.add_metric([], is_up)
        yield family


def _purge_metrics(state: ServiceState) -> Iterable[GaugeMetricFamily]:
    age = GaugeMetricFamily("enroll_purge_age_seconds", "Seconds since nothing was left to purge.")
    if state.purged_at is not None:
        age.add_metric([], max((state.now - state.purged_at).total_seconds(), 0.0))
    yield age


def _queue_metrics(state: ServiceState) -> Iterable[GaugeMetricFamily]:
    waiting = GaugeMetricFamily(
        "enroll_queue_batches", "Batches that wait, counted to 10,000.", labels=["lane"]
    )
    age = GaugeMetricFamily(
        "enroll_queue_oldest_batch_age_seconds",
        "Seconds for which the oldest of them has waited.",
        labels=["lane"],
    )
    parked = GaugeMetricFamily("enroll_parked_batches", "Batches that an operator has to retry.")
    for lane, backlog in state.lanes.items():
        waiting.add_metric([lane.value], backlog.waiting)
        since = backlog.oldest
        oldest = timedelta() if since is None else state.now - since
        age.add_metric([lane.value], max(oldest.total_seconds(), 0.0))
    parked.add_metric([], sum(backlog.parked for backlog in state.lanes.values()))
    return waiting, age, parked


def _relay_metrics(lags: Sequence[ChannelLag]) -> Iterable[GaugeMetricFamily]:
    events = GaugeMetricFamily(
        "enroll_relay_lag_events", "Events that are not published.", labels=["channel"]
    )
    age = GaugeMetricFamily(
        "enroll_relay_lag_seconds", "Age of the oldest of them.", labels=["channel"]
    )
    for lag in lags:
        events.add_metric([lag.channel.value], lag.events)
        age.add_metric([lag.channel.value], lag.age.total_seconds())
    return events, age


def _process_metrics(processes: ProcessStates) -> Iterable[GaugeMetricFamily]:
    workers = GaugeMetricFamily("enroll_live_workers", "Workers that live, by their heartbeats.")
    workers.add_metric([], len(processes.live_workers))
    beat = GaugeMetricFamily("enroll_beat_up", "Whether beat lives, by its heartbeats.")
    beat.add_metric([], processes.is_beat_alive)
    dead = GaugeMetricFamily(
        "enroll_dead_processes", "Workers and beats that ended without notice lately."
    )
    dead.add_metric([], len(processes.dead))
    return workers, beat, dead


def _webhook_metrics(state: ServiceState) -> Iterable[GaugeMetricFamily]:
    number = GaugeMetricFamily(
        "enroll_webhook_pending_deliveries",
        "Messages to enabled endpoints that are pending, counted to 10,000.",
    )
    number.add_metric([], state.deliveries.number)
    age = GaugeMetricFamily(
        "enroll_webhook_oldest_pending_age_seconds", "Age of the oldest of them."
    )
    age.add_metric([], state.deliveries.age(state.now))
    return number, age


def _destination_metrics(destinations: Sequence[ReportedBacklog]) -> Iterable[GaugeMetricFamily]:
    pending = GaugeMetricFamily(
        "enroll_destination_pending_deliveries",
        "Enrollments whose state has not arrived in the destination, counted to 100,000.",
        labels=["destination"],
    )
    age = GaugeMetricFamily(
        "enroll_destination_oldest_pending_age_seconds",
        "Seconds for which the oldest of them has waited.",
        labels=["destination"],
    )
    failed = GaugeMetricFamily(
        "enroll_destination_failed_deliveries",
        "Enrollments whose state the destination refused, counted to 100,000.",
        labels=["destination"],
    )
    for backlog, now in destinations:
        oldest = timedelta() if backlog.oldest is None else now - backlog.oldest
        pending.add_metric([backlog.name], backlog.pending)
        age.add_metric([backlog.name], max(oldest.total_seconds(), 0.0))
        failed.add_metric([backlog.name], backlog.failed)
    return pending, age, failed
