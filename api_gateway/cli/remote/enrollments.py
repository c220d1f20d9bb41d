"""`enroll enrollments`: single enrollments of a running service."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import click

from api_gateway.cli.exit_codes import ACCEPTED, SOME_REFUSED, Refused
from api_gateway.cli.output import examples, print_json, print_table, terminal_safe
from api_gateway.cli.remote.client import Service
from api_gateway.cli.remote.connection import with_service
from api_gateway.cli.remote.destinations.jobs import import_
from api_gateway.cli.remote.waiting import exit_code, wait_until_finished

_COURSE = "course-v1:DemoX+ALG101+2025"
_COLUMNS = ("user", "course_id", "mode", "is_active", "created")


@click.group()
def enrollments() -> None:
    """Show, list and change single enrollments."""


@enrollments.command(epilog=examples(f"enroll enrollments show ada {_COURSE}"))
@click.argument("user")
@click.argument("course_id")
@with_service
def show(*, service: Service, user: str, course_id: str, as_json: bool) -> None:
    """Print the enrollment of USER in COURSE_ID as JSON."""
    response = service.get(f"/enrollment/{quote(user, safe='')},{quote(course_id, safe='')}")
    if not response.content:
        message = f"{user} has no enrollment in {course_id}."
        raise Refused(message)
    print_json(response.json())


@enrollments.command(
    "list",
    epilog=examples(
        "enroll enrollments list --user ada",
        f"enroll enrollments list --course-id {_COURSE} --limit 1000",
    ),
)
@click.option("--user", help="Only enrollments of this learner.")
@click.option("--course-id", help="Only enrollments in this course.")
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="Number of enrollments."
)
@with_service
def list_(
    *, service: Service, user: str | None, course_id: str | None, limit: int, as_json: bool
) -> None:
    """List enrollments, including inactive ones, newest first."""
    filters = {"username": user, "course_id": course_id}
    params = {name: value for name, value in filters.items() if value}
    found = _pages(service, params, limit)
    if as_json:
        print_json({"enrollments": list(found)})
        return
    print_table(_COLUMNS, ([row.get(name) for name in _COLUMNS] for row in found))


def _pages(service: Service, params: Mapping[str, str], limit: int) -> Iterator[dict[str, Any]]:
    """Yields rows of `/enrollments`, whose `next` is the URL of the next page."""
    cursor: dict[str, str] = {}
    while limit > 0:
        page_size = str(min(limit, 1_000))
        query = {**params, **cursor, "page_size": page_size}
        page = service.get("/enrollments", params=query).json()
        yield from page["results"][:limit]
        limit -= len(page["results"])
        if not page["next"]:
            return
        cursor = {"cursor": parse_qs(urlsplit(page["next"]).query)["cursor"][0]}


@enrollments.command(
    epilog=examples(
        f"enroll enrollments enroll ada {_COURSE}",
        f"enroll enrollments enroll ada {_COURSE} --mode verified",
        f"enroll enrollments enroll ada@example.org {_COURSE} --by-email",
    )
)
@click.argument("user")
@click.argument("course_id")
@click.option("--mode", help="Course mode  [default: that of the course]")
@click.option("--by-email", is_flag=True, help="USER is an e-mail address.")
@click.option("--force", is_flag=True, help="Pass the enrollment window (scope admin).")
@with_service
@click.pass_context
def enroll(  # noqa: PLR0913 (each is an option)
    ctx: click.Context,
    *,
    service: Service,
    user: str,
    course_id: str,
    mode: str | None,
    by_email: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Enroll USER in COURSE_ID, and wait for the outcome."""
    request = _request(user, course_id, by_email=by_email, is_active=True)
    request |= {"mode": mode} if mode else {}
    request |= {"force_enrollment": True} if force else {}
    ctx.exit(_change(service, request, as_json=as_json))


@enrollments.command(epilog=examples(f"enroll enrollments unenroll ada {_COURSE}"))
@click.argument("user")
@click.argument("course_id")
@click.option("--by-email", is_flag=True, help="USER is an e-mail address.")
@with_service
@click.pass_context
def unenroll(
    ctx: click.Context,
    *,
    service: Service,
    user: str,
    course_id: str,
    by_email: bool,
    as_json: bool,
) -> None:
    """Deactivate the enrollment of USER in COURSE_ID, and wait for the outcome."""
    request = _request(user, course_id, by_email=by_email, is_active=False)
    ctx.exit(_change(service, request, as_json=as_json))


def _request(user: str, course_id: str, *, by_email: bool, is_active: bool) -> dict[str, object]:
    learner = {"email" if by_email else "user": user}
    return {**learner, "course_id": course_id, "is_active": is_active}


def _change(service: Service, request: Mapping[str, object], *, as_json: bool) -> int:
    """Sends one request, waits for its outcome and prints it; returns the exit code."""
    accepted = service.post_once("/enrollment", request, {"Prefer": "respond-async"}).json()
    finished = wait_until_finished(
        service, accepted["submission_id"], is_accepted=True, is_shown=False
    )
    outcome = finished.get("outcome") or {}
    if as_json:
        print_json(outcome)
    else:
        _print_outcome(request, outcome)
    return SOME_REFUSED if exit_code(finished) else ACCEPTED


def _print_outcome(request: Mapping[str, object], outcome: Mapping[str, Any]) -> None:
    learner = outcome.get("user") or request.get("user") or request.get("email")
    mode = f" ({outcome['mode']})" if outcome.get("mode") else ""
    reason = f" {outcome['reason']}." if outcome.get("reason") else ""
    message = f" {outcome['message']}" if outcome.get("message") else ""
    code = outcome.get("outcome") or "cancelled"
    text = f"{learner}, {request['course_id']}: {code}{mode}.{reason}{message}"
    click.echo(terminal_safe(text))


enrollments.add_command(import_)
