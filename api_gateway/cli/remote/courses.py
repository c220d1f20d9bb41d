"""`enroll courses`: the courses of a running service."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from api_gateway.cli.output import examples, print_json, print_table, show_value
from api_gateway.cli.remote.client import Service, UploadRequest
from api_gateway.cli.remote.connection import with_service
from api_gateway.cli.remote.csv_tables import (
    Column,
    parse_count,
    parse_flag,
    parse_list,
    parse_modes,
    parse_optional,
    parse_text,
    to_ndjson,
)
from api_gateway.cli.remote.destinations.jobs import pull
from api_gateway.cli.remote.files import CSV_TYPE, NDJSON_TYPE, input_argument, open_input
from api_gateway.cli.remote.pages import pages

#: Columns of a CSV file of courses; `modes` is short for `course_modes`.
COURSE_CSV_COLUMNS: Mapping[str, Column] = {
    "course_id": Column("course_id", parse_text),
    "course_name": Column("course_name", parse_text),
    "enrollment_start": Column("enrollment_start", parse_optional),
    "enrollment_end": Column("enrollment_end", parse_optional),
    "course_start": Column("course_start", parse_optional),
    "course_end": Column("course_end", parse_optional),
    "invite_only": Column("invite_only", parse_flag),
    "modes": Column("course_modes", parse_modes),
    "pacing_type": Column("pacing_type", parse_text),
    "capacity": Column("capacity", parse_count),
    "cohorts": Column("cohorts", parse_list),
}
#: Columns that are computed by the service.
IGNORED_COURSE_COLUMNS = frozenset({"seats_taken"})
#: Maximum number of new courses, and of changed ones, that are printed.
MAX_CHANGES_SHOWN = 50


@click.group()
def courses() -> None:
    """Save and show courses."""


@courses.command(
    epilog=examples(
        "enroll courses load courses.json",
        "enroll courses load courses.csv --replace",
        "enroll courses list --json | enroll courses load -",
        """echo '{"course_id": "course-v1:A+B+C", "capacity": 30}' | enroll courses load -""",
    )
)
@input_argument
@click.option("--replace", is_flag=True, help="Set members that are not named to their defaults.")
@with_service
def load(*, service: Service, file: Path, replace: bool, as_json: bool) -> None:
    """Create and change the courses in FILE: all of them, or none.

    Members that FILE does not name stay as they are. FILE has one course, a list, or what `show`,
    `list` and GET /courses print, as JSON, NDJSON or CSV; docs/courses.md describes it. `-` is
    standard input.
    """
    with open_input(file) as source:
        upload = UploadRequest(source.path, source.headers(), {})
        if source.media_type == CSV_TYPE:
            rows = to_ndjson(
                source.path.read_bytes(), COURSE_CSV_COLUMNS, ignored=IGNORED_COURSE_COLUMNS
            )
            upload = UploadRequest(rows, {"Content-Type": NDJSON_TYPE}, {})
        method = "POST" if replace else "PATCH"
        saved = service.send("/courses", upload, method=method).json()
    if as_json:
        print_json(saved)
    elif "changed" in saved:
        _print_changes(saved)
    else:
        click.echo(f"{_count(saved['saved'])} saved.")


def _print_changes(saved: Mapping[str, Any]) -> None:
    """Prints the numbers of new, changed and unchanged courses, then the changes."""
    created, changed = saved["created"], saved["changed"]
    numbers = {"new": len(created), "changed": len(changed), "unchanged": saved["unchanged"]}
    parts = [f"{number} {name}" for name, number in numbers.items() if number]
    click.echo(f"{_count(saved['saved'])}: {', '.join(parts) or 'nothing to do'}.")
    lines = [f"{course_id}: new" for course_id in created[:MAX_CHANGES_SHOWN]]
    lines += [_describe_change(change) for change in changed[:MAX_CHANGES_SHOWN]]
    for line in lines:
        click.echo(f"  {line}")
    if left := len(created) + len(changed) - len(lines):
        click.echo(f"  … and {left} more (--json prints all)")


def _describe_change(change: Mapping[str, Any]) -> str:
    before, after = change["before"], change["after"]
    parts = [f"{name} {_show_change(before[name], after[name])}" for name in before]
    return f"{change['course_id']}: {', '.join(parts)}"


def _show_change(before: object, after: object) -> str:
    """Returns both values; two lists that look alike differ in members that are not printed."""
    shown = show_value(before), show_value(after)
    return "changed" if shown[0] == shown[1] else f"{shown[0] or '(empty)'} → {shown[1]}"


def _count(number: int) -> str:
    return f"{number:,} course" if number == 1 else f"{number:,} courses"


@courses.command(epilog=examples("enroll courses show course-v1:DemoX+ALG101+2025"))
@click.argument("course_id", metavar="ID")
@with_service
def show(*, service: Service, course_id: str, as_json: bool) -> None:
    """Print course ID as JSON, which `load` accepts."""
    print_json(service.get(f"/courses/{quote(course_id, safe='')}").json())


@courses.command("list", epilog=examples("enroll courses list", "enroll courses list --json"))
@with_service
def list_(*, service: Service, as_json: bool) -> None:
    """List all courses: id, seats taken, capacity, name; --json has all members.

    `load` accepts the output of both.
    """
    found: Iterator[dict[str, Any]] = pages(service, "/courses", "courses")
    if as_json:
        print_json({"courses": list(found)})
        return
    columns = ("course_id", "seats_taken", "capacity", "course_name")
    print_table(columns, ([course[name] for name in columns] for course in found))


@courses.command(epilog=examples("enroll courses delete course-v1:DemoX+ALG101+2025"))
@click.argument("course_id", metavar="ID")
@with_service
def delete(*, service: Service, course_id: str, as_json: bool) -> None:
    """Delete course ID, in which no learner was ever enrolled."""
    service.call("DELETE", f"/courses/{quote(course_id, safe='')}")
    if as_json:
        print_json({"deleted": course_id})
    else:
        click.echo(f"{course_id} is deleted.")


courses.add_command(pull)
