"""`enroll outcomes`: the outcome of each row."""

from pathlib import Path
from uuid import UUID

import click

from api_gateway.cli.remote.client import Service, with_service
from schemas.files.source import without_bom


@click.command()
@click.argument("submission_id", type=click.UUID, metavar="ID")
@click.option(
    "--outcome",
    "codes",
    multiple=True,
    help="Only this outcome, such as `refused`; may be repeated.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="File to write: .csv or .ndjson  [default: CSV to stdout]",
)
@with_service
def outcomes(
    *, service: Service, submission_id: UUID, codes: tuple[str, ...], output: Path | None
) -> None:
    """Download the outcomes of submission ID, in the order of its rows."""
    save_outcomes(service, str(submission_id), output, outcome=",".join(codes))


def save_outcomes(
    service: Service, submission_id: str, output: Path | None, *, outcome: str
) -> None:
    """Writes the outcomes to stdout, or atomically to a file.

    A CSV file begins with a byte order mark for spreadsheets, which programs that read from stdout
    do not expect.
    """
    is_ndjson = output is not None and output.suffix.lower() in {".ndjson", ".jsonl"}
    accept = "application/x-ndjson" if is_ndjson else "text/csv"
    params = {"outcome": outcome} if outcome else {}
    path = f"/submissions/{submission_id}/outcomes"
    with (
        service.stream(path, accept=accept, **params) as chunks,
        click.open_file(str(output or "-"), "wb", atomic=output is not None) as target,
    ):
        for chunk in without_bom(chunks) if output is None else chunks:
            target.write(chunk)
