"""`enroll outcomes`: what became of each row."""

from pathlib import Path
from uuid import UUID

import click

from api_gateway.cli.remote.client import Service, client_of_service


@click.command()
@click.argument("submission_id", type=click.UUID, metavar="ID")
@click.option(
    "--outcome",
    "chosen",
    multiple=True,
    help="Only these, such as `refused`; may be given several times.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="File to write: .csv or .ndjson  [default: CSV to stdout]",
)
@client_of_service
def outcomes(
    *, service: Service, submission_id: UUID, chosen: tuple[str, ...], output: Path | None
) -> None:
    """Give the outcomes of submission ID, in the order of its rows."""
    save(service, str(submission_id), output, outcome=",".join(chosen))


def save(service: Service, submission_id: str, output: Path | None, *, outcome: str) -> None:
    """Writes a submission's outcomes to a file that is whole or not there, or to stdout."""
    lines = output is not None and output.suffix.lower() in {".ndjson", ".jsonl"}
    accept = "application/x-ndjson" if lines else "text/csv"
    params = {"outcome": outcome} if outcome else {}
    path = f"/submissions/{submission_id}/outcomes"
    with (
        service.stream(path, accept=accept, **params) as pieces,
        click.open_file(str(output or "-"), "wb", atomic=output is not None) as target,
    ):
        for piece in pieces:
            target.write(piece)
