"""Serves the metrics of a worker's or of beat's process."""

from typing import Any

from celery.utils.dispatch import Signal
from prometheus_client import REGISTRY
from prometheus_client.registry import Collector

from enrollment.runtime.metrics.instruments import describe_process
from enrollment.runtime.settings import Settings
from worker.background.metrics_server import serve_metrics


def connect_metrics(settings: Settings, starts: Signal, kind: str, *collectors: Collector) -> None:
    """Makes the process serve its metrics from that signal on, if the settings ask for it.

    A worker's are served by its child process, which does the work.
    """
    address = settings.metrics_port
    if address is None:
        return

    def start(**_: Any) -> None:
        describe_process(kind)
        for collector in collectors:
            REGISTRY.register(collector)
        serve_metrics(address)

    starts.connect(start, weak=False)
