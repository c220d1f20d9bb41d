"""Turns the notices of Celery's signal handlers into records of the log.

Celery writes `worker: Warm shutdown (MainProcess)` as plain text to stdout, past every logger,
because a logger may hold a lock when a signal comes.
"""

import os
import sys
from typing import Any

from celery.apps import worker

from enrollment.runtime.logs import render_record

#: Untyped: the stubs of celery-types do not have the function.
_celery_worker: Any = worker


def log_notices() -> None:
    """Lets this worker's notices go to stderr: as JSON, or for people where that is a terminal."""
    _celery_worker.safe_say = _say


def _say(text: str, _stream: object = None) -> None:
    """Writes a notice in one call, without a lock; a signal handler calls it."""
    line = text.strip()
    if not sys.stderr.isatty():
        line = render_record(line, "worker")
    os.write(sys.stderr.fileno(), f"{line}\n".encode())
