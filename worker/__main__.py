"""Command line `python -m worker [beat] [--lanes …]`: runs a worker, or the Beat scheduler."""

import argparse
import os
import sys
from typing import NoReturn

from enrollment.runtime import logs
from enrollment.runtime.broker import QueueName
from enrollment.runtime.private_files import (
    OpenToOthers,
    make_private_folder,
    restrict_new_files,
)
from enrollment.runtime.settings import SettingsError, from_env, sqlite_url
from enrollment.runtime.tracing.variables import TraceSettingError, find_exporters
from enrollment.storage.upkeep.heartbeats import ProcessKind
from worker.background.heartbeat import describe_this_process
from worker.bootstrap import build_app, log_when_ready
from worker.celery_overrides.notices import log_notices


def main(arguments: list[str]) -> NoReturn:
    """Runs a worker or the scheduler until it is stopped."""
    parser = argparse.ArgumentParser(prog="python -m worker")
    parser.add_argument("what", nargs="?", choices=["worker", "beat"], default="worker")
    parser.add_argument("--lanes", type=_queues, default=list(QueueName), help="e.g. bulk,upkeep")
    parser.add_argument("--name", default=f"worker-{os.getpid()}")
    options = parser.parse_args(arguments)
    try:
        restrict_new_files()
        settings = from_env(requires_database=True)
        find_exporters()
        if settings.database_url == sqlite_url(settings.data_dir) and settings.data_dir.is_dir():
            make_private_folder(settings.data_dir)
    except (SettingsError, OpenToOthers, TraceSettingError) as error:
        parser.error(str(error))
    logs.configure(settings.log_level, process=options.what)
    log_notices()
    level = f"--loglevel={settings.log_level.upper()}"
    is_beat = options.what == "beat"
    lanes = [] if is_beat else [queue.name.lower() for queue in options.lanes]
    name = f"beat-{os.getpid()}" if is_beat else options.name
    app = build_app(settings, describe_this_process(ProcessKind(options.what), name, lanes))
    log_when_ready(settings, {} if is_beat else {"lanes": lanes})
    command = ["beat"] if is_beat else _worker(options, answers_remote=settings.celery_remote)
    app.start(["--quiet", *command, level])


def _queues(lanes: str) -> list[QueueName]:
    """Parses a comma-separated list of `interactive`, `upkeep` and `bulk`.

    Raises argparse.ArgumentTypeError for another name.
    """
    try:
        return [QueueName[lane.strip().upper()] for lane in lanes.split(",")]
    except KeyError as error:
        known = ", ".join(queue.name.lower() for queue in QueueName)
        message = f"unknown lane {error.args[0].lower()!r}, expected any of {known}"
        raise argparse.ArgumentTypeError(message) from error


def _worker(options: argparse.Namespace, *, answers_remote: bool) -> list[str]:
    """Returns the arguments of `celery worker`: one child process, since each core has a worker.

    Those who watch workers take one without heartbeats in its events for lost.
    """
    heartbeat = [] if answers_remote else ["--without-heartbeat"]
    return [
        "worker",
        "--pool=prefork",
        "--concurrency=1",
        "--without-gossip",
        "--without-mingle",
        *heartbeat,
        f"--queues={','.join(options.lanes)}",
        f"--hostname={options.name}@%h",
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
