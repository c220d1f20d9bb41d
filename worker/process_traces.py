"""Records the traces of a worker's child process, or of beat's, from its start to its end."""

import atexit
from typing import Any

from celery.signals import beat_init, worker_process_init, worker_process_shutdown

from enrollment.runtime.tracing.process_traces import start_traces, stop_traces
from enrollment.runtime.tracing.variables import find_exporters
from enrollment.storage.upkeep.heartbeats import ProcessKind


def connect_traces(kind: str) -> None:
    """Makes the process record spans, if the variables `OTEL_…` ask for it.

    Of a worker its child does, which does the work: threads that send spans do not survive a fork.
    Modules are imported before, as a child that is not ready within seconds is replaced. Raises
    TraceSettingError.
    """
    for exporter in find_exporters():
        exporter.load()

    def start(**_: Any) -> None:
        start_traces(kind)

    def stop(**_: Any) -> None:
        stop_traces()

    if kind == ProcessKind.WORKER:
        worker_process_init.connect(start, weak=False)
        worker_process_shutdown.connect(stop, weak=False)
    else:
        beat_init.connect(start, weak=False)
        atexit.register(stop)
