"""`enroll submissions`, `status` and `cancel`: submissions of a running service."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import click

from api_gateway.cli.output import examples, print_json, print_table
from api_gateway.cli.remote.client import Service
from api_gateway.cli.remote.connection import with_service
from api_gateway.cli.remote.pages import pages
from api_gateway.cli.remote.waiting import (
    FAILED_OUTCOMES,
    exit_code,
    print_hint,
    print_submission,
    wait_until_finished,
)

_ID = "01a207fe-2b6c-75b0-a3f0-907b3b3a8519"


@click.group()
def submissions() -> None:
    """List your submissions."""


@submissions.command(
    "list", epilog=examples("enroll submissions list", "enroll submissions list --state running")
)
@click.option(
    "--state",
    type=click.Choice(["queued", "running", "done", "cancelled"]),
    help="Only submissions in this state.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Number of submissions.",
)
@with_service
def list_(*, service: Service, state: str | None, limit: int, as_json: bool) -> None:
    """List the submissions of the API key, newest first."""
    params = {"state": state} if state else {}
    found = pages(service, "/submissions", "submissions", limit=limit, **params)
    if as_json:
        print_json({"submissions": list(found)})
        return
    columns = ("submission_id", "received_at", "state", "result", "rows", "pending", "failed")
    print_table(columns, _rows(found))


def _rows(found: Iterator[dict[str, Any]]) -> Iterator[list[object]]:
    for submission in found:
        counts = submission["counts"]
        failed = sum(counts.get(name) or 0 for name in FAILED_OUTCOMES)
        members = [
            submission.get(name) for name in ("submission_id", "received_at", "state", "result")
        ]
        yield [*members, counts["total"], counts["pending"], failed]


@click.command(epilog=examples(f"enroll status {_ID}", f"enroll status {_ID} --watch"))
@click.argument("submission_id", type=click.UUID, metavar="ID")
@click.option("--watch", is_flag=True, help="Show progress until it is finished.")
@with_service
@click.pass_context
def status(
    ctx: click.Context, *, service: Service, submission_id: UUID, watch: bool, as_json: bool
) -> None:
    """Show the status of submission ID; the exit code is 1 if rows failed."""
    if watch:
        submission = wait_until_finished(service, str(submission_id))
    else:
        submission = service.get(f"/submissions/{submission_id}").json()
    if as_json:
        print_json(submission)
    else:
        print_submission(submission)
        print_hint(submission)
    ctx.exit(exit_code(submission))


@click.command(epilog=examples(f"enroll cancel {_ID}"))
@click.argument("submission_id", type=click.UUID, metavar="ID")
@with_service
def cancel(*, service: Service, submission_id: UUID, as_json: bool) -> None:
    """Cancel the pending requests of submission ID; processed ones stay."""
    response = service.call("POST", f"/submissions/{submission_id}/cancel").json()
    if as_json:
        print_json(response)
    else:
        state = response["state"]
        click.echo(f"Submission {submission_id} is {state}; pending requests are cancelled.")
