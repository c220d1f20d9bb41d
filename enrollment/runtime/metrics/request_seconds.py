"""The duration of requests by route, method and status, as a histogram.

The library's own histogram locks and loops for each observation, which a fast request pays for
with several percent of its time. This one belongs to one event loop, so it does neither.
"""

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

from prometheus_client import REGISTRY
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

#: Upper bounds of the buckets, in seconds.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_NAMES = [*map(floatToGoString, BOUNDS), "+Inf"]

#: Route, method and status.
SeriesKey = tuple[str, str, int]


class RequestSeconds(Collector):
    """Counts durations. Observed and collected in one event loop."""

    def __init__(self) -> None:
        #: For each key the count of each bucket, then the sum of the seconds.
        self._series: dict[SeriesKey, list[float]] = {}

    def observe(self, key: SeriesKey, seconds: float) -> None:
        """Counts a duration."""
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = [0.0] * (len(_NAMES) + 1)
        series[bisect_left(BOUNDS, seconds)] += 1
        series[-1] += seconds

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Returns the histogram."""
        family = HistogramMetricFamily(
            "enroll_http_request_duration_seconds",
            "Seconds from the arrival of a request to the beginning of its response.",
            labels=["route", "method", "status"],
        )
        for (route, method, status), series in list(self._series.items()):
            buckets = list(zip(_NAMES, accumulate(series[:-1]), strict=True))
            family.add_metric([route, method, str(status)], buckets, series[-1])
        return [family]


HTTP_REQUEST_SECONDS = RequestSeconds()
REGISTRY.register(HTTP_REQUEST_SECONDS)
