"""``python -m worker [beat] [--lanes …]``: a worker, or the schedule."""

import argparse
import os
import sys
from typing import NoReturn

from enrollment.runtime import logs
from enrollment.runtime.broker import QueueName
from enrollment.runtime.settings import SettingsError, from_env
from worker.bootstrap import build_app


def main(arguments: list[str]) -> NoReturn:
    """Run until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m worker")
    parser.add_argument("what", nargs="?", choices=["worker", "beat"], default="worker")
    parser.add_argument("--lanes", type=_queues, default=list(QueueName), help="e.g. bulk,upkeep")
    parser.add_argument("--name", default=f"worker-{os.getpid()}")
    options = parser.parse_args(arguments)
    try:
        settings = from_env()
    except SettingsError as error:
        parser.error(str(error))
    logs.configure(settings.log_level, process=options.what)
    level = f"--loglevel={settings.log_level.upper()}"
    app = build_app(settings, process=options.what)
    command = ["beat"] if options.what == "beat" else _worker(options)
    app.start(["--quiet", *command, level])


def _queues(lanes: str) -> list[QueueName]:
    """The queues of a comma list of ``interactive``, ``upkeep``, ``bulk``."""
    try:
        return [QueueName[lane.strip().upper()] for lane in lanes.split(",")]
    except KeyError as error:
        known = ", ".join(queue.name.lower() for queue in QueueName)
        message = f"there is no lane {error.args[0].lower()!r}: name some of {known}"
        raise argparse.ArgumentTypeError(message) from error


def _worker(options: argparse.Namespace) -> list[str]:
    """One request after the other: a process a core, and as many processes as are wanted."""
    return [
        "worker",
        "--pool=prefork",
        "--concurrency=1",
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
        f"--queues={','.join(options.lanes)}",
        f"--hostname={options.name}@%h",
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
