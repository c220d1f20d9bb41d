"""``python -m worker [beat] [--lanes …]``: a worker, or the schedule."""

import argparse
import os
import sys

from enrollment import logs
from enrollment.queue import QueueName
from enrollment.settings import SettingsError, from_env
from worker.main import build


def main(arguments: list[str]) -> int:
    """Run until told to stop; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m worker")
    parser.add_argument("what", nargs="?", choices=["worker", "beat"], default="worker")
    parser.add_argument("--lanes", default=",".join(QueueName), help="queues, in order")
    parser.add_argument("--name", default=f"worker-{os.getpid()}")
    options = parser.parse_args(arguments)
    try:
        settings = from_env()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logs.configure(settings.log_level, process=options.what)
    app = build(settings)
    level = settings.log_level.upper()
    app.start(
        ["beat", "--loglevel", level]
        if options.what == "beat"
        else [
            "worker",
            "--pool=prefork",
            "--concurrency=1",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            f"--queues={options.lanes}",
            f"--hostname={options.name}@%h",
            f"--loglevel={level}",
        ]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
