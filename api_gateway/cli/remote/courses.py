"""`enroll courses`: the courses of a running service."""

import json
from pathlib import Path
from urllib.parse import quote

import click

from api_gateway.cli.remote.client import Service, UploadRequest, client_of_service, plain

MEDIA_TYPES = {
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
}


@click.group()
def courses() -> None:
    """Load and read courses."""


@courses.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@client_of_service
def load(*, service: Service, file: Path) -> None:
    """Make or change the courses in FILE (JSON or NDJSON): all of them, or none."""
    kind = MEDIA_TYPES.get(file.suffix.lower())
    if kind is None:
        message = f"the name of {file.name} must end in one of {', '.join(MEDIA_TYPES)}"
        raise click.BadParameter(message, param_hint="FILE")
    upload = UploadRequest(
        path=file, headers={"Content-Type": kind}, params={}, sent=lambda _: None
    )
    answer = service.send("/courses", upload).json()
    click.echo(f"{answer['saved']} courses saved.")


@courses.command()
@click.argument("course_id", metavar="ID")
@client_of_service
def show(*, service: Service, course_id: str) -> None:
    """Print course ID as JSON."""
    course = service.get(f"/courses/{quote(course_id, safe='')}").json()
    click.echo(json.dumps(course, indent=2, ensure_ascii=False))


@courses.command("list")
@client_of_service
def list_(*, service: Service) -> None:
    """List every course: id, seats taken and capacity, name."""
    cursor: dict[str, str] = {}
    while True:
        page = service.get("/courses", headers=None, **cursor).json()
        for course in page["courses"]:
            seats = f"{course['seats_taken']}/{_or(course['capacity'], '∞')}"
            click.echo(f"{course['course_id']}\t{seats}\t{plain(course['course_name'])}")
        if not page["next"]:
            return
        cursor = {"cursor": page["next"]}


def _or(value: object, otherwise: str) -> object:
    return otherwise if value is None else value
