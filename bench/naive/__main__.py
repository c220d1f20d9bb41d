"""Command line `python -m bench.naive web --fd N` and `… worker`: runs one process."""

import argparse
import gc
import os

from bench.naive import tasks, web

#: The garbage collector runs as rarely as in the service.
COLLECT_AFTER = 50_000


def main() -> None:
    """Runs the process until it is stopped."""
    parser = argparse.ArgumentParser(prog="python -m bench.naive")
    parser.add_argument("what", choices=("web", "worker"))
    parser.add_argument("--fd", type=int)
    options = parser.parse_args()
    gc.set_threshold(COLLECT_AFTER)
    made = tasks.make_tasks(os.environ["NAIVE_REDIS_URL"], os.environ["NAIVE_DATABASE_URL"])
    if options.what == "worker":
        tasks.work(made.app)
    else:
        web.Server(web.make_app(made), options.fd).run()


if __name__ == "__main__":
    main()
