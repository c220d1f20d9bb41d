"""`enroll submit`, `status` and `cancel`: submissions of a running service."""

import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from api_gateway.cli.exit_codes import ACCEPTED, SOME_REFUSED
from api_gateway.cli.progress import ProgressCounter, progress, show_counts
from api_gateway.cli.remote.client import Service, UploadRequest, client_of_service
from api_gateway.cli.remote.outcomes import save

MEDIA_TYPES: Mapping[str, str] = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
    ".txt": "text/plain",
    ".zip": "application/zip",
}
#: Outcomes of rows that did not get what they asked for.
FAILURES = ("refused", "invalid", "cancelled")
#: Seconds that one look at a submission may wait for news, and at least between two looks.
POLL_SECONDS = 10
POLL_INTERVAL = 0.25
#: Smaller files are sent before anybody would look.
SHOWN_BYTES = 1_000_000


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--format",
    "format_",
    default="auto",
    show_default=True,
    help="What FILE is (canvas, oneroster, …); auto finds it out.",
)
@click.option("--source", metavar="NAME", help="Whose ids FILE has: the crosswalk that is used.")
@click.option("--course-id", metavar="ID", help="Course of rows that have no place for one.")
@click.option("--default-mode", metavar="MODE", help="Mode of rows that name none.")
@click.option("--dry-run", is_flag=True, help="Judge everything, change nothing.")
@click.option(
    "--on-error",
    type=click.Choice(["continue", "abort"]),
    default="continue",
    show_default=True,
    help="abort: all rows or none.",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Until it is done.")
@click.option(
    "--failed-to",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write the rows that failed to this CSV file, to mend and send again.",
)
@client_of_service
@click.pass_context
def submit(  # noqa: PLR0913 (each is an option)
    ctx: click.Context,
    *,
    service: Service,
    file: Path,
    format_: str,
    source: str | None,
    course_id: str | None,
    default_mode: str | None,
    dry_run: bool,
    on_error: str,
    wait: bool,
    failed_to: Path | None,
) -> None:
    """Hand in FILE (CSV, NDJSON, JSON or ZIP, also .gz) and wait for its outcomes.

    CSV files of other systems are taken unchanged; docs/formats.md lists them.
    """
    if failed_to and not wait:
        message = "--failed-to needs the outcomes, and --no-wait does not wait for them"
        raise click.UsageError(message)
    given = {
        "format": format_,
        "source": source,
        "course_id": course_id,
        "on_error": on_error,
        "default_mode": default_mode,
    }
    usual = ("auto", "continue", None)
    params = {name: value for name, value in given.items() if value and value not in usual}
    if dry_run:
        params["dry_run"] = "true"
    submission = _upload(service, file, params)
    click.echo(f"Submission {submission['submission_id']}", err=wait)
    if not wait:
        return
    done = follow(service, submission["submission_id"])
    if failed_to:
        save(service, submission["submission_id"], failed_to, outcome=",".join(FAILURES))
    ctx.exit(report(done))


def _upload(service: Service, file: Path, params: Mapping[str, str]) -> dict[str, Any]:
    headers = media_headers(file)
    size = file.stat().st_size
    with progress("bytes sent", is_shown=size >= SHOWN_BYTES) as shown:
        rate = ProgressCounter(size, shown)
        upload = UploadRequest(path=file, headers=headers, params=params, sent=rate.add)
        taken: dict[str, Any] = service.send("/submissions", upload).json()
    return taken


def media_headers(file: Path) -> dict[str, str]:
    """What the name of a file says about what is in it."""
    is_packed = file.suffix.lower() == ".gz"
    headers = {"Content-Encoding": "gzip"} if is_packed else {}
    kind = MEDIA_TYPES.get(Path(file.stem if is_packed else file.name).suffix.lower())
    if kind is None:
        known = ", ".join(MEDIA_TYPES)
        message = f"what is in {file.name}? Its name must end in one of {known} (or those and .gz)"
        raise click.BadParameter(message, param_hint="FILE")
    return {**headers, "Content-Type": kind}


@click.command()
@click.argument("submission_id", type=click.UUID, metavar="ID")
@click.option("--watch", is_flag=True, help="Follow it until it is done.")
@client_of_service
@click.pass_context
def status(ctx: click.Context, *, service: Service, submission_id: UUID, watch: bool) -> None:
    """Say how far submission ID is."""
    if watch:
        ctx.exit(report(follow(service, str(submission_id))))
    ctx.exit(report(service.get(f"/submissions/{submission_id}").json()))


@click.command()
@click.argument("submission_id", type=click.UUID, metavar="ID")
@client_of_service
def cancel(*, service: Service, submission_id: UUID) -> None:
    """Cancel what is left of submission ID; what was done stays."""
    answer = service.post(f"/submissions/{submission_id}/cancel").json()
    click.echo(f"Submission {submission_id} is {answer['state']}; what is left gets cancelled.")


def follow(service: Service, submission_id: str) -> dict[str, Any]:
    """Shows how far a submission is until it is done; gives its last state."""
    headers: dict[str, str] = {}
    body: dict[str, Any] = {}
    with progress("rows") as shown:
        while body.get("state") not in {"done", "cancelled"}:
            if body:
                time.sleep(POLL_INTERVAL)
            answer = service.get(f"/submissions/{submission_id}", headers=headers)
            if answer.status_code == HTTPStatus.NOT_MODIFIED:
                continue
            body = answer.json()
            if etag := answer.headers.get("ETag"):  # news count from what was seen
                headers = {"Prefer": f"wait={POLL_SECONDS}", "If-None-Match": etag}
            counts = body["counts"]
            shown(
                counts["total"] - counts["pending"],
                counts["total"],
                body.get("rows_per_second") or 0,
                body.get("eta_seconds"),
            )
    return body


def report(submission: Mapping[str, Any]) -> int:
    """Prints a submission's state and counts; gives the exit code."""
    result = f", {submission['result']}" if submission.get("result") else ""
    is_trial = (submission.get("options") or {}).get("dry_run")
    tried = " (a dry run: nothing was changed)" if is_trial else ""
    click.echo(f"{submission['state']}{result}{tried}")
    show_counts(submission["counts"], submission.get("reasons") or {})
    failed = any(submission["counts"].get(outcome) for outcome in FAILURES)
    return SOME_REFUSED if failed else ACCEPTED
