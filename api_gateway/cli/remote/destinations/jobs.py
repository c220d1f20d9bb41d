"""Jobs at a destination: begun over HTTP, waited for, and shown."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from api_gateway.cli.exit_codes import CHECK_FAILED, Refused
from api_gateway.cli.output import examples, print_json
from api_gateway.cli.remote.client import Service
from api_gateway.cli.remote.connection import with_service
from api_gateway.cli.remote.destinations.failures import describe_job_failure
from api_gateway.cli.remote.files import CSV_TYPE, output_option, save_stream
from api_gateway.cli.remote.waiting import OUTAGE_PATIENCE_SECONDS

#: Seconds between two looks at a job.
_POLL_SECONDS = 0.5
_ENDED = frozenset({"done", "failed"})
#: Name of each kind of difference, as it is printed.
_DIFFERENCES = {
    "missing_there": "missing there",
    "extra_there": "extra there",
    "other_activity": "other activity",
    "other_mode": "other mode",
}
#: Members of the counts of an import that are no outcomes.
_NO_OUTCOMES = frozenset({"there", "submissions"})


@click.command(
    epilog=examples(
        "enroll destinations reconcile lms",
        "enroll destinations reconcile lms --apply",
        "enroll destinations reconcile lms -o differences.csv",
    )
)
@click.argument("name")
@click.option("--apply", "is_applied", is_flag=True, help="Send what is missing or differs there.")
@output_option("-o", "--output", help="File to write the differences to, as CSV.")
@with_service
def reconcile(
    *, service: Service, name: str, is_applied: bool, output: Path | None, as_json: bool
) -> None:
    """Compare the enrollments here with those of destination NAME.

    Exits with 6 if there are differences.
    """
    query = "?apply=true" if is_applied else ""
    report = run_job(service, f"/destinations/{name}/reconcile{query}", name)
    if output is not None:
        path = f"/destinations/{name}/reports/{report['id']}"
        with service.stream(path, accept=CSV_TYPE) as chunks:
            save_stream(chunks, output)
    counts = report["counts"]
    if as_json:
        print_json(report)
    else:
        _print_comparison(counts)
    if counts["differences"]:
        raise click.exceptions.Exit(CHECK_FAILED)


def _print_comparison(counts: dict[str, int]) -> None:
    number = counts["differences"]
    click.echo(f"{number:,} difference{'' if number == 1 else 's'}")
    for kind, words in _DIFFERENCES.items():
        if counts[kind]:
            click.echo(f"  {counts[kind]:,} {words}")
    if counts["in_transit"]:
        click.echo(f"{counts['in_transit']:,} changed meanwhile or wait to be sent")
    if counts["queued"]:
        click.echo(f"{counts['queued']:,} queued: compare again when they are sent")


@click.command(epilog=examples("enroll courses pull --from lms"))
@click.option("--from", "name", metavar="NAME", required=True, help="The destination.")
@with_service
def pull(*, service: Service, name: str, as_json: bool) -> None:
    """Keep title, windows, modes and invite-only of courses like those of a destination.

    Seats, cohorts and everything else that it does not know stay.
    """
    report = run_job(service, f"/destinations/{name}/pull", name)
    if as_json:
        print_json(report)
        return
    counts = report["counts"]
    changes = ", ".join(f"{counts[it]:,} {it}" for it in ("created", "changed", "unchanged"))
    click.echo(f"{counts['courses']:,} courses: {changes}")


@click.command("import", epilog=examples("enroll enrollments import --from lms"))
@click.option("--from", "name", metavar="NAME", required=True, help="The destination.")
@with_service
def import_(*, service: Service, name: str, as_json: bool) -> None:
    """Take over the enrollments that a destination has.

    Later changes that were made here stay. The same import once more changes nothing.
    """
    report = run_job(service, f"/destinations/{name}/import", name)
    if as_json:
        print_json(report)
        return
    counts = report["counts"]
    outcomes = ", ".join(
        f"{number:,} {code}" for code, number in counts.items() if code not in _NO_OUTCOMES
    )
    click.echo(f"{counts['there']:,} enrollments: {outcomes or 'nothing to do'}")


def run_job(
    service: Service, path: str, name: str, pause: Callable[[float], None] = time.sleep
) -> dict[str, Any]:
    """Begins a job and waits for its end; returns the report. Raises Refused if it failed."""
    report: dict[str, Any] = service.call("POST", path).json()
    link = f"/destinations/{name}/reports/{report['id']}"
    while report["state"] not in _ENDED:
        pause(_POLL_SECONDS)
        report = service.get(link, params={"limit": "1"}, patience=OUTAGE_PATIENCE_SECONDS).json()
    if report["state"] == "failed":
        raise Refused(describe_job_failure(name, report["error"] or "internal_error"))
    return report
