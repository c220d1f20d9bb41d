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
from api_gateway.cli.remote.client import (
    Service,
    UploadRequest,
    terminal_safe,
    with_service,
)
from api_gateway.cli.remote.outcomes import save_outcomes

#: Media types by extension of the file.
UPLOAD_MEDIA_TYPES: Mapping[str, str] = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
    ".txt": "text/plain",
    ".zip": "application/zip",
}
#: Outcomes of failed rows.
FAILED_OUTCOMES = ("refused", "invalid", "cancelled")
#: Seconds that one status request waits for progress.
STATUS_WAIT_SECONDS = 10
#: Minimum seconds between two status requests.
STATUS_INTERVAL_SECONDS = 0.25
#: Minimum size of a file for a progress display of the upload.
MIN_PROGRESS_BYTES = 1_000_000


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--format",
    "format_",
    default="auto",
    show_default=True,
    help="Format of FILE (canvas, oneroster, …); auto detects it.",
)
@click.option("--source", metavar="NAME", help="Crosswalk that maps the ids in FILE.")
@click.option("--course-id", metavar="ID", help="Course, if the format has no column for it.")
@click.option("--default-mode", metavar="MODE", help="Mode of rows without one.")
@click.option("--ignore", metavar="NAMES", help="Columns that may look like others, as `a,b`.")
@click.option("--dry-run", is_flag=True, help="Process everything, change nothing.")
@click.option(
    "--on-error",
    type=click.Choice(["continue", "abort"]),
    default="continue",
    show_default=True,
    help="abort: all rows or none.",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the outcomes.")
@click.option(
    "--failed-to",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write failed rows to this CSV file, to be corrected and submitted again.",
)
@with_service
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
    ignore: str | None,
    dry_run: bool,
    on_error: str,
    wait: bool,
    failed_to: Path | None,
) -> None:
    """Submit FILE (CSV, NDJSON, JSON or ZIP, also .gz) and wait for its outcomes.

    CSV files of other systems are accepted unchanged; docs/formats.md lists them.
    """
    if failed_to and not wait:
        message = "--failed-to needs the outcomes, so it cannot be combined with --no-wait"
        raise click.UsageError(message)
    options = {
        "format": format_,
        "source": source,
        "course_id": course_id,
        "on_error": on_error,
        "default_mode": default_mode,
        "ignore": ignore,
    }
    defaults = ("auto", "continue", None)
    params = {name: value for name, value in options.items() if value and value not in defaults}
    if dry_run:
        params["dry_run"] = "true"
    submission = _upload(service, file, params)
    click.echo(f"Submission {submission['submission_id']}", err=wait)
    if not wait:
        return
    finished = wait_until_finished(service, submission["submission_id"])
    if failed_to:
        save_outcomes(
            service, submission["submission_id"], failed_to, outcome=",".join(FAILED_OUTCOMES)
        )
    ctx.exit(print_submission(finished))


def _upload(service: Service, file: Path, params: Mapping[str, str]) -> dict[str, Any]:
    headers = media_headers(file)
    size = file.stat().st_size
    with progress("bytes sent", is_shown=size >= MIN_PROGRESS_BYTES) as display:
        counter = ProgressCounter(size, display)
        upload = UploadRequest(path=file, headers=headers, params=params, on_chunk=counter.add)
        accepted: dict[str, Any] = service.send("/submissions", upload).json()
    return accepted


def media_headers(file: Path) -> dict[str, str]:
    """Returns Content-Type and Content-Encoding by the extension of the file."""
    is_gzip = file.suffix.lower() == ".gz"
    headers = {"Content-Encoding": "gzip"} if is_gzip else {}
    media_type = UPLOAD_MEDIA_TYPES.get(Path(file.stem if is_gzip else file.name).suffix.lower())
    if media_type is None:
        extensions = ", ".join(UPLOAD_MEDIA_TYPES)
        message = f"the name {file.name} must end in one of {extensions} (or those and .gz)"
        raise click.BadParameter(message, param_hint="FILE")
    return {**headers, "Content-Type": media_type}


@click.command()
@click.argument("submission_id", type=click.UUID, metavar="ID")
@click.option("--watch", is_flag=True, help="Show progress until it is finished.")
@with_service
@click.pass_context
def status(ctx: click.Context, *, service: Service, submission_id: UUID, watch: bool) -> None:
    """Show the status of submission ID."""
    if watch:
        ctx.exit(print_submission(wait_until_finished(service, str(submission_id))))
    ctx.exit(print_submission(service.get(f"/submissions/{submission_id}").json()))


@click.command()
@click.argument("submission_id", type=click.UUID, metavar="ID")
@with_service
def cancel(*, service: Service, submission_id: UUID) -> None:
    """Cancel the pending requests of submission ID; processed ones stay."""
    response = service.post(f"/submissions/{submission_id}/cancel").json()
    click.echo(
        f"Submission {submission_id} is {response['state']}; pending requests are cancelled."
    )


def wait_until_finished(service: Service, submission_id: str) -> dict[str, Any]:
    """Displays progress until the submission is finished; returns the final status."""
    headers: dict[str, str] = {}
    body: dict[str, Any] = {}
    with progress("rows") as display:
        while body.get("state") not in {"done", "cancelled"}:
            if body:
                time.sleep(STATUS_INTERVAL_SECONDS)
            response = service.get(f"/submissions/{submission_id}", headers=headers)
            if response.status_code == HTTPStatus.NOT_MODIFIED:
                continue
            body = response.json()
            if etag := response.headers.get("ETag"):  # wait for a change from here
                headers = {"Prefer": f"wait={STATUS_WAIT_SECONDS}", "If-None-Match": etag}
            counts = body["counts"]
            display(
                counts["total"] - counts["pending"],
                counts["total"],
                body.get("rows_per_second") or 0,
                body.get("eta_seconds"),
            )
    return body


def print_submission(submission: Mapping[str, Any]) -> int:
    """Prints state and counts of a submission; returns the exit code."""
    result = f", {submission['result']}" if submission.get("result") else ""
    is_dry_run = (submission.get("options") or {}).get("dry_run")
    note = " (a dry run: nothing was changed)" if is_dry_run else ""
    click.echo(f"{submission['state']}{result}{note}")
    show_counts(submission["counts"], submission.get("reasons") or {})
    if ignored := submission.get("ignored_columns"):
        click.echo(f"Columns that were not read: {terminal_safe(', '.join(ignored))}")
    failed = any(submission["counts"].get(outcome) for outcome in FAILED_OUTCOMES)
    return SOME_REFUSED if failed else ACCEPTED
