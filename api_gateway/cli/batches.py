"""``enroll batches``: what could not be judged and waits for somebody to look."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from api_gateway.cli.context import data_dir_option, sessions_of

if TYPE_CHECKING:
    from enrollment.storage.queue.quarantine import ParkedBatch

#: Parked batches that are listed at most.
LISTED = 1_000


@click.group()
def batches() -> None:
    """List and retry batches that are parked because judging them failed again and again."""


@batches.command("list")
@data_dir_option
def list_(data_dir: Path) -> None:
    """List the batches that are parked, oldest first."""
    from enrollment.storage.queue import quarantine

    with sessions_of(data_dir) as sessions, sessions.read() as session:
        parked = quarantine.list_parked(session, limit=LISTED)
    for batch in parked:
        click.echo("\t".join(_cells(batch)))
    if not parked:
        click.echo("No batch is parked.", err=True)


def _cells(batch: "ParkedBatch") -> list[str]:
    blamed = ", ".join(map(str, batch.poisonous))
    return [
        str(batch.id),
        "singles" if batch.submission_id is None else f"submission {batch.submission_id}",
        f"{batch.requests} requests",
        f"{batch.attempts} attempts",
        f"fails at request {blamed}" if blamed else "fails as a whole",
        f"parked {batch.parked_at:%Y-%m-%d %H:%M}Z",
    ]


@batches.command()
@click.argument("numbers", type=int, nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="Set every parked batch free.")
@data_dir_option
def retry(*, numbers: tuple[int, ...], every: bool, data_dir: Path) -> None:
    """Set parked batches free; workers try them again within seconds, as if for the first time."""
    from enrollment.storage.queue import quarantine

    if bool(numbers) == every:
        message = "Name the batches, or give --all (`enroll batches list` shows them)."
        raise click.UsageError(message)
    with sessions_of(data_dir) as sessions, sessions.begin() as session:
        freed = quarantine.retry(session, None if every else numbers)
    if missing := sorted(set(numbers) - set(freed)):
        names = ", ".join(map(str, missing))
        message = f"Not parked: {names} (`enroll batches list` shows what is)."
        raise click.UsageError(message)
    click.echo(f"Set free: {', '.join(map(str, freed)) or 'none'}.")
