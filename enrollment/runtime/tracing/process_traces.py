"""Begins and ends the traces of a process."""

import threading

from enrollment.runtime.tracing.spans import ACTIVE
from enrollment.runtime.tracing.variables import find_exporters

#: Seconds that the end of a process waits for its last spans: a collector may be away.
FLUSH_SECONDS = 5.0


def start_traces(process: str) -> None:
    """Begins to record spans, if the variables ask for it; `process` is gateway, worker or beat.

    Called in the process that does the work: threads that send spans do not survive a fork. Raises
    TraceSettingError.
    """
    if find_exporters():
        from enrollment.runtime.tracing.recorder import make_recorder  # noqa: PLC0415 (an extra)

        ACTIVE.recorder = make_recorder(process)


def stop_traces() -> None:
    """Records no further spans, and sends those that were recorded, in bounded time."""
    recorder, ACTIVE.recorder = ACTIVE.recorder, None
    if recorder is not None:
        closing = threading.Thread(target=recorder.close, daemon=True)
        closing.start()
        closing.join(FLUSH_SECONDS)
