"""`enroll learners`: the learners of a running service."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import click

from api_gateway.cli.output import examples, print_json
from api_gateway.cli.remote.client import Service, UploadRequest
from api_gateway.cli.remote.connection import with_service
from api_gateway.cli.remote.csv_tables import (
    Column,
    parse_flag,
    parse_optional,
    parse_text,
    to_ndjson,
)
from api_gateway.cli.remote.files import CSV_TYPE, NDJSON_TYPE, input_argument, open_input

#: Columns of a CSV file of learners.
LEARNER_COLUMNS: Mapping[str, Column] = {
    "username": Column("username", parse_text),
    "email": Column("email", parse_optional),
    "is_active": Column("is_active", parse_flag),
    "is_staff": Column("is_staff", parse_flag),
    "retiring": Column("retiring", parse_flag),
}


@click.group()
def learners() -> None:
    """Save and show learners."""


@learners.command(
    epilog=examples("enroll learners load learners.csv", "enroll learners load - < learners.json")
)
@input_argument
@with_service
def load(*, service: Service, file: Path, as_json: bool) -> None:
    """Create or replace the learners in FILE (JSON, NDJSON or CSV): all of them, or none.

    The members are username, email, is_active, is_staff and retiring; those that are not named get
    their defaults. `-` is standard input.
    """
    with open_input(file) as source:
        upload = UploadRequest(source.path, source.headers(), {})
        if source.media_type == CSV_TYPE:
            rows = to_ndjson(source.path.read_bytes(), LEARNER_COLUMNS)
            upload = UploadRequest(rows, {"Content-Type": NDJSON_TYPE}, {})
        saved = service.send("/learners", upload).json()
    if as_json:
        print_json(saved)
    else:
        noun = "learner" if saved["saved"] == 1 else "learners"
        click.echo(f"{saved['saved']:,} {noun} saved.")


@learners.command(epilog=examples("enroll learners show ada"))
@click.argument("username")
@with_service
def show(*, service: Service, username: str, as_json: bool) -> None:
    """Print learner USERNAME as JSON, which `load` accepts."""
    print_json(service.get(f"/learners/{quote(username, safe='')}").json())


@learners.command(epilog=examples("enroll learners delete ada"))
@click.argument("username")
@with_service
def delete(*, service: Service, username: str, as_json: bool) -> None:
    """Delete learner USERNAME, who was never enrolled."""
    service.call("DELETE", f"/learners/{quote(username, safe='')}")
    if as_json:
        print_json({"deleted": username})
    else:
        click.echo(f"{username} is deleted.")
