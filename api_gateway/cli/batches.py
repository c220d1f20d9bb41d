"""`enroll batches`: lists and retries parked batches."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from api_gateway.cli.context import data_dir_option, open_sessions
from api_gateway.cli.exit_codes import CannotRun
from api_gateway.cli.output import examples, json_option, print_json

if TYPE_CHECKING:
    from enrollment.storage.queue.quarantine import ParkedBatch

#: Maximum number of parked batches that are listed.
MAX_PARKED_LISTED = 1_000


@click.group()
def batches() -> None:
    """List and retry batches that were parked after repeated failures."""


@batches.command("list", epilog=examples("enroll batches list"))
@data_dir_option
@json_option
def list_(data_dir: Path, *, as_json: bool) -> None:
    """List the parked batches, oldest first."""
    from enrollment.storage.queue import quarantine

    with open_sessions(data_dir) as sessions, sessions.read() as session:
        parked = quarantine.list_parked(session, limit=MAX_PARKED_LISTED)
    if as_json:
        print_json({"batches": [_to_json(batch) for batch in parked]})
        return
    for batch in parked:
        click.echo("\t".join(_cells(batch)))
    if not parked:
        click.echo("No batch is parked.", err=True)


def _to_json(batch: "ParkedBatch") -> dict[str, object]:
    return {
        "id": batch.id,
        "submission_id": batch.submission_id and str(batch.submission_id),
        "requests": batch.requests,
        "attempts": batch.attempts,
        "failing_requests": list(batch.poisonous),
        "parked_at": batch.parked_at.isoformat(),
    }


def _cells(batch: "ParkedBatch") -> list[str]:
    failing = ", ".join(map(str, batch.poisonous))
    return [
        str(batch.id),
        "singles" if batch.submission_id is None else f"submission {batch.submission_id}",
        f"{batch.requests} requests",
        f"{batch.attempts} attempts",
        f"fails at request {failing}" if failing else "fails as a whole",
        f"parked {batch.parked_at:%Y-%m-%d %H:%M}Z",
    ]


@batches.command(epilog=examples("enroll batches retry 17 18", "enroll batches retry --all"))
@click.argument("numbers", type=int, nargs=-1, metavar="[ID]...")
@click.option("--all", "retry_all", is_flag=True, help="Retry all parked batches.")
@data_dir_option
@json_option
def retry(*, numbers: tuple[int, ...], retry_all: bool, data_dir: Path, as_json: bool) -> None:
    """Free parked batches: workers process them again within seconds.

    The counts of failed attempts start again at zero.
    """
    from enrollment.storage.queue import quarantine

    if bool(numbers) == retry_all:
        message = "Give either ids of batches or --all (`enroll batches list` shows the ids)."
        raise click.UsageError(message)
    with open_sessions(data_dir) as sessions, sessions.begin() as session:
        freed = quarantine.retry(session, None if retry_all else numbers)
    if not_parked := sorted(set(numbers) - set(freed)):
        names = ", ".join(map(str, not_parked))
        message = f"Not parked: {names} (`enroll batches list` shows parked batches)."
        raise CannotRun(message)
    if as_json:
        print_json({"freed": list(freed)})
        return
    click.echo(f"Freed: {', '.join(map(str, freed)) or 'none'}.")
