"""`enroll courses`: the courses of a running service."""

import json
from pathlib import Path
from urllib.parse import quote

import click

from api_gateway.cli.remote.client import Service, UploadRequest, terminal_safe, with_service

#: Media types by extension of the file.
COURSE_MEDIA_TYPES = {
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
}


@click.group()
def courses() -> None:
    """Save and show courses."""


@courses.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@with_service
def load(*, service: Service, file: Path) -> None:
    """Create or replace the courses in FILE (JSON or NDJSON): all of them, or none."""
    media_type = COURSE_MEDIA_TYPES.get(file.suffix.lower())
    if media_type is None:
        message = f"the name {file.name} must end in one of {', '.join(COURSE_MEDIA_TYPES)}"
        raise click.BadParameter(message, param_hint="FILE")
    upload = UploadRequest(
        path=file, headers={"Content-Type": media_type}, params={}, on_chunk=lambda _: None
    )
    response = service.send("/courses", upload).json()
    click.echo(f"{response['saved']} courses saved.")


@courses.command()
@click.argument("course_id", metavar="ID")
@with_service
def show(*, service: Service, course_id: str) -> None:
    """Print course ID as JSON."""
    course = service.get(f"/courses/{quote(course_id, safe='')}").json()
    click.echo(json.dumps(course, indent=2, ensure_ascii=False))


@courses.command("list")
@with_service
def list_(*, service: Service) -> None:
    """List all courses: id, seats taken and capacity, name."""
    cursor: dict[str, str] = {}
    while True:
        page = service.get("/courses", headers=None, **cursor).json()
        for course in page["courses"]:
            seats = f"{course['seats_taken']}/{_or_default(course['capacity'], '∞')}"
            click.echo(f"{course['course_id']}\t{seats}\t{terminal_safe(course['course_name'])}")
        if not page["next"]:
            return
        cursor = {"cursor": page["next"]}


def _or_default(value: object, default: str) -> object:
    return default if value is None else value
