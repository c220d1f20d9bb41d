"""The counters of the relay, as metrics."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from enrollment.runtime.counters.relay_counters import RelayCounters


class RelayMetrics(Collector):
    """Reads the counters of the relay. How far it is behind, the gateway says."""

    def __init__(self, counters: RelayCounters) -> None:
        self._counters = counters

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Returns the published events and the failures of each channel."""
        published = CounterMetricFamily(
            "enroll_relay_published_events",
            "Events that this process published, repetitions included.",
            labels=["channel"],
        )
        failures = CounterMetricFamily(
            "enroll_relay_failures", "Attempts to publish that failed.", labels=["channel"]
        )
        for channel, count in self._counters.by_channel().items():
            published.add_metric([channel], count.published)
            failures.add_metric([channel], count.failures)
        return published, failures
