"""`enroll invitations`: permission to enroll in closed and invite-only courses."""

from urllib.parse import quote

import click

from api_gateway.cli.output import examples, print_json
from api_gateway.cli.remote.client import Service
from api_gateway.cli.remote.connection import with_service


@click.group()
def invitations() -> None:
    """Add, show and remove invitations to closed and invite-only courses."""


@invitations.command(
    epilog=examples(
        "enroll invitations add course-v1:DemoX+ALG101+2025 ada@example.org",
        "enroll invitations add course-v1:DemoX+ALG101+2025 ada@example.org "
        "--expires-at 2026-12-01T00:00:00Z",
    )
)
@click.argument("course_id")
@click.argument("email")
@click.option("--expires-at", metavar="TIME", help="Such as 2026-12-01T00:00:00Z.")
@click.option("--auto-enroll", is_flag=True, help="Mark it as one that enrolls automatically.")
@with_service
def add(
    *,
    service: Service,
    course_id: str,
    email: str,
    expires_at: str | None,
    auto_enroll: bool,
    as_json: bool,
) -> None:
    """Invite EMAIL to COURSE_ID, or change the invitation."""
    body = {"expires_at": expires_at, "auto_enroll": auto_enroll}
    invitation = service.call("PUT", _path(course_id, email), body).json()
    if as_json:
        print_json(invitation)
    else:
        until = f" until {invitation['expires_at']}" if invitation["expires_at"] else ""
        click.echo(f"{email} is invited to {course_id}{until}.")


@invitations.command(
    epilog=examples("enroll invitations show course-v1:DemoX+ALG101+2025 ada@example.org")
)
@click.argument("course_id")
@click.argument("email")
@with_service
def show(*, service: Service, course_id: str, email: str, as_json: bool) -> None:
    """Print the invitation of EMAIL to COURSE_ID as JSON."""
    print_json(service.get(_path(course_id, email)).json())


@invitations.command(
    epilog=examples("enroll invitations remove course-v1:DemoX+ALG101+2025 ada@example.org")
)
@click.argument("course_id")
@click.argument("email")
@with_service
def remove(*, service: Service, course_id: str, email: str, as_json: bool) -> None:
    """Remove the invitation of EMAIL to COURSE_ID."""
    service.call("DELETE", _path(course_id, email))
    if as_json:
        print_json({"removed": email, "course_id": course_id})
    else:
        click.echo(f"{email} is no longer invited to {course_id}.")


def _path(course_id: str, email: str) -> str:
    return f"/invitations/{quote(course_id, safe='')}/{quote(email, safe='')}"
