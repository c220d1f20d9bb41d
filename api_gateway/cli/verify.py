"""`enroll verify`: audits the stored data while the service runs."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api_gateway.cli.context import data_dir_option, open_sessions
from api_gateway.cli.exit_codes import ACCEPTED, CHECK_FAILED, CannotRun
from api_gateway.cli.output import examples
from api_gateway.cli.progress import ProgressCounter, progress, show_numbers

if TYPE_CHECKING:
    from api_gateway.audit.report import Report
    from api_gateway.audit.verify import StartProgress

#: Maximum number of violations shown.
MAX_VIOLATIONS_SHOWN = 20


@click.command(epilog=examples("enroll verify", "enroll verify --json"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for monitoring.")
@data_dir_option
@click.pass_context
def verify(ctx: click.Context, data_dir: Path, *, as_json: bool) -> None:
    """Audit the database: outcomes, enrollments, seats and feed.

    Reads one consistent snapshot and writes nothing. Exit codes: 0 no violation, 6 violations,
    2 the audit could not run, 3 the database does not answer.
    """
    from api_gateway.audit import verify
    from enrollment.runtime.gc_tuning import relax_gc
    from enrollment.storage.engine.consistent_snapshot import NoSpaceForSnapshot

    relax_gc()
    started = time.monotonic()
    try:
        with open_sessions(data_dir) as sessions, _progress(is_shown=not as_json) as start:
            report = verify.verify(sessions, start_progress=start)
    except verify.NotMigrated as error:
        raise CannotRun(str(error)) from error
    except NoSpaceForSnapshot as error:
        message = f"No space for the copy of the SQLite file that is audited: {error}"
        raise CannotRun(message) from error
    seconds = time.monotonic() - started
    if as_json:
        click.echo(json.dumps(_to_json(report, seconds)))
    else:
        _print_report(report, seconds)
    ctx.exit(ACCEPTED if report.is_sound else CHECK_FAILED)


@contextmanager
def _progress(*, is_shown: bool) -> Iterator["StartProgress | None"]:
    """Shows a progress bar on a terminal; elsewhere yields None, so rows are not estimated."""
    from rich.console import Console

    if not is_shown or not Console(stderr=True).is_terminal:
        yield None
        return
    with progress("rows verified") as display:
        yield lambda rows: ProgressCounter(rows, display).add


def _to_json(report: "Report", seconds: float) -> dict[str, Any]:
    return {
        "sound": report.is_sound,
        "seconds": round(seconds, 3),
        "checked": report.checked,
        "notes": report.notes,
        "number": report.counts.total(),
        "by_fault": report.counts,
        "violations": [
            {
                "fault": violation.kind,
                "says": violation.message,
                "about": {
                    name: value if isinstance(value, int) else str(value)
                    for name, value in violation.about._asdict().items()
                    if value is not None
                },
                "story": [
                    {"at": at and at.isoformat(), "what": description}
                    for at, description in violation.timeline
                ],
            }
            for violation in report.violations[:MAX_VIOLATIONS_SHOWN]
        ],
    }


def _print_report(report: "Report", seconds: float) -> None:
    show_numbers(report.checked.items(), header="checked")
    for note in report.notes:
        click.echo(f"note: {note}")
    if report.is_sound:
        click.echo(f"No violations ({seconds:.1f} s).")
        return
    click.echo(f"Violations: {report.counts.total():,} ({seconds:.1f} s).")
    for kind, number in sorted(report.counts.items()):
        click.echo(f"  {kind}\t{number:,}")
    for number, violation in enumerate(report.violations[:MAX_VIOLATIONS_SHOWN], 1):
        click.echo(f"\n{number}. {violation.kind}: {violation.message}")
        for at, description in violation.timeline:
            click.echo(f"     {_timestamp(at)}  {description}")


def _timestamp(at: datetime | None) -> str:
    return " " * 24 if at is None else f"{at:%Y-%m-%d %H:%M:%S}.{at:%f}"[:-3] + "Z"
