"""`enroll outcomes`: the outcome of each row."""

from pathlib import Path
from uuid import UUID

import click

from api_gateway.cli.output import examples
from api_gateway.cli.remote.client import Service
from api_gateway.cli.remote.connection import with_service
from api_gateway.cli.remote.files import CSV_TYPE, NDJSON_TYPE, output_option, save_stream

_ID = "01a207fe-2b6c-75b0-a3f0-907b3b3a8519"


@click.command(
    epilog=examples(
        f"enroll outcomes {_ID}",
        f"enroll outcomes {_ID} --outcome refused,invalid -o mend.csv",
    )
)
@click.argument("submission_id", type=click.UUID, metavar="ID")
@click.option(
    "--outcome",
    "codes",
    multiple=True,
    help="Only this outcome, such as `refused`; a comma list, may be repeated.",
)
@output_option("-o", "--output", help="File to write: .csv, or .ndjson  [default: CSV to stdout]")
@with_service
def outcomes(
    *,
    service: Service,
    submission_id: UUID,
    codes: tuple[str, ...],
    output: Path | None,
    as_json: bool,
) -> None:
    """Download the outcomes of submission ID, in the order of its rows.

    --json writes NDJSON, one outcome per line.
    """
    is_ndjson = as_json or (output is not None and output.suffix.lower() in {".ndjson", ".jsonl"})
    accept = NDJSON_TYPE if is_ndjson else CSV_TYPE
    save_outcomes(service, str(submission_id), output, outcome=",".join(codes), accept=accept)


def save_outcomes(
    service: Service,
    submission_id: str,
    output: Path | None,
    *,
    outcome: str,
    accept: str = CSV_TYPE,
    patience: float = 0.0,
) -> None:
    """Writes the outcomes to stdout, or atomically to a file."""
    params = {"outcome": outcome} if outcome else {}
    path = f"/submissions/{submission_id}/outcomes"
    with service.stream(path, accept=accept, params=params, patience=patience) as chunks:
        save_stream(chunks, output)
