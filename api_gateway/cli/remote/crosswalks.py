"""`enroll crosswalks`: maps from the ids of other systems to those of the service."""

from pathlib import Path
from urllib.parse import quote
from uuid import UUID

import click

from api_gateway.cli.output import examples, print_json
from api_gateway.cli.remote.client import Service, UploadRequest
from api_gateway.cli.remote.connection import with_service
from api_gateway.cli.remote.files import (
    CSV_TYPE,
    input_argument,
    open_input,
    output_option,
    save_stream,
)
from api_gateway.cli.remote.pages import pages


@click.group()
def crosswalks() -> None:
    """Map the ids of other systems to those of this service."""


@crosswalks.command(
    epilog=examples("enroll crosswalks show canvas", "enroll crosswalks show canvas -o ids.csv")
)
@click.argument("source")
@output_option("-o", "--output", help="File to write  [default: stdout]")
@with_service
def show(*, service: Service, source: str, output: Path | None, as_json: bool) -> None:
    """Print all entries of SOURCE as CSV, which `load` accepts."""
    if as_json:
        print_json({"entries": list(pages(service, _path(source), "entries"))})
        return
    with service.stream(_path(source), accept=CSV_TYPE) as chunks:
        save_stream(chunks, output)


@crosswalks.command(
    epilog=examples(
        "enroll crosswalks load canvas ids.csv",
        "enroll crosswalks load canvas ids.json --replace",
    )
)
@click.argument("source")
@input_argument
@click.option("--replace", is_flag=True, help="Delete all other entries of SOURCE.")
@with_service
def load(*, service: Service, source: str, file: Path, replace: bool, as_json: bool) -> None:
    """Add the entries in FILE (CSV, JSON or NDJSON) to SOURCE, or replace entries by them.

    The columns are kind (course or learner), theirs and ours. `-` is standard input.
    """
    with open_input(file) as opened:
        upload = UploadRequest(opened.path, opened.headers(), {})
        method = "PUT" if replace else "PATCH"
        saved = service.send(_path(source), upload, method=method).json()
    if as_json:
        print_json(saved)
    else:
        noun = "entry" if saved["saved"] == 1 else "entries"
        click.echo(f"{saved['saved']:,} {noun} saved.")


@crosswalks.command(
    epilog=examples(
        "enroll crosswalks missing canvas 01a207fe-2b6c-75b0-a3f0-907b3b3a8519 -o ids.csv"
    )
)
@click.argument("source")
@click.argument("submission_id", type=click.UUID)
@output_option("-o", "--output", help="File to write  [default: stdout]")
@with_service
def missing(
    *, service: Service, source: str, submission_id: UUID, output: Path | None, as_json: bool
) -> None:
    """Print the ids of SOURCE in a submission that are not mapped yet, as CSV.

    Fill in the column `ours`, and load the file.
    """
    params = {"submission": str(submission_id)}
    with service.stream(f"{_path(source)}/missing", accept=CSV_TYPE, params=params) as chunks:
        if as_json:
            rows = b"".join(chunks).decode().splitlines()[1:]
            print_json({"missing": [_entry(row) for row in rows]})
        else:
            save_stream(chunks, output)


def _entry(row: str) -> dict[str, str]:
    kind, _, rest = row.partition(",")
    return {"kind": kind, "theirs": rest.rpartition(",")[0]}


def _path(source: str) -> str:
    return f"/crosswalks/{quote(source, safe='')}"
