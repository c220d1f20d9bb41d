"""Two instances of this service, each with its own database and Redis: one and the LMS behind it."""

import json
import shutil
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from tests.fault_lab.destinations.run import (
    CODE,
    SENDING,
    TITLE,
    DestinationScale,
    run_destination,
)
from tests.fault_lab.destinations.samples import FailingSample
from tests.fault_lab.report_table import Row
from tests.fault_lab.stack.stack import NO_OVERRIDES, Stack, database_on
from tests.support.servers import create_database, redis_process
from tests.support.temporary_folders import working_folder

#: With the real file: each fault twice, and leases end by themselves.
WHOLE = DestinationScale(rounds=2, pause=10.0, away=40.0, lost_every=500, patience=1_800.0)
#: For the tests of every change.
FEW = DestinationScale(
    rounds=1, pause=0.5, away=2.0, lost_every=100, patience=60.0, ends_leases=True
)


@contextmanager
def two_instances(sort: str, *, workers: int = 1) -> Iterator[tuple[Stack, Stack]]:
    """Starts the one that sends on a kind of database, and the LMS on a PostgreSQL."""
    with ExitStack() as exits:
        stacks = []
        ours = exits.enter_context(database_on(sort))
        theirs = ours if ours.postgres else exits.enter_context(database_on("postgresql"))
        if ours.postgres:
            theirs = ours._replace(url=create_database(ours.url))
        for database, overrides in ((ours, SENDING), (theirs, NO_OVERRIDES)):
            stack = Stack(
                database,
                exits.enter_context(redis_process()),
                exits.enter_context(working_folder(on_disk=True)),
                gateways=1,
                workers=workers,
                overrides=overrides,
            )
            stacks.append(exits.enter_context(stack))
        yield stacks[0], stacks[1]


def run_on_two_instances(
    folder: Path, sort: str, sample: FailingSample, scale: DestinationScale, seed: int = 1
) -> Row:
    """Runs the faults on new instances; keeps their logs unless all is good."""
    place = folder / f"{CODE}-{sort}-{seed}".lower()
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    began = time.monotonic()
    with two_instances(sort) as (front, lms):
        try:
            row, figures = run_destination(front, lms, sample, scale, seed)
            (place / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
        except Exception as error:  # noqa: BLE001 (the row says so, the folder has it all)
            (place / "traceback.txt").write_text(traceback.format_exc())
            about = {"fault": CODE, "title": TITLE, "database": sort, "seed": seed}
            row = Row(**about, result="broken", doubts=[repr(error)])
        if not row.is_good:
            for name, stack in (("front", front), ("lms", lms)):
                (place / f"{name}.log").write_text(stack.logs())
    return replace(row, kept=str(place), seconds=round(time.monotonic() - began, 1))
