"""Waits until a submission is finished, and prints its result."""

import math
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import click

from api_gateway.cli.exit_codes import ACCEPTED, SOME_REFUSED, Interrupted
from api_gateway.cli.output import command_to_copy, terminal_safe
from api_gateway.cli.progress import progress, show_counts
from api_gateway.cli.remote.client import Service

#: Outcomes of failed rows.
FAILED_OUTCOMES = ("refused", "invalid", "cancelled")
#: Seconds that one status request waits for progress.
STATUS_WAIT_SECONDS = 10
#: Minimum seconds between two status requests.
STATUS_INTERVAL_SECONDS = 0.25
#: Seconds for which an outage of the service is waited out.
OUTAGE_PATIENCE_SECONDS = 600.0
#: Seconds without an outcome after which it is said that no worker has begun.
NOT_TAKEN_SECONDS = 10.0
_FINISHED = frozenset({"done", "cancelled"})
_NOT_TAKEN = "No worker has taken it yet: `enroll workers` lists those that run."


def wait_until_finished(
    service: Service, submission_id: str, *, is_accepted: bool = False, is_shown: bool = True
) -> dict[str, Any]:
    """Displays progress until the submission is finished; returns the final status.

    An outage is waited out if the service is known to have the submission: it was accepted by
    this command, or its status was read once. Raises Interrupted on Ctrl-C.
    """
    try:
        return _wait(service, submission_id, is_accepted=is_accepted, is_shown=is_shown)
    except KeyboardInterrupt as error:
        message = (
            f"Submission {submission_id} goes on.\n"
            f"Follow it: {command_to_copy(f'status {submission_id} --watch')}\n"
            f"Stop it: {command_to_copy(f'cancel {submission_id}')}"
        )
        raise Interrupted(message) from error


def _wait(
    service: Service, submission_id: str, *, is_accepted: bool, is_shown: bool
) -> dict[str, Any]:
    headers: dict[str, str] = {}
    body: dict[str, Any] = {}
    patience = OUTAGE_PATIENCE_SECONDS if is_accepted else 0.0
    said_at = time.monotonic() + NOT_TAKEN_SECONDS
    with progress("rows", is_shown=is_shown) as display:
        while body.get("state") not in _FINISHED:
            if body:
                if time.monotonic() >= said_at and _is_untouched(body):
                    click.echo(_NOT_TAKEN, err=True)
                    said_at = math.inf
                time.sleep(STATUS_INTERVAL_SECONDS)
            path = f"/submissions/{submission_id}"
            response = service.get(path, headers=headers, patience=patience)
            patience = OUTAGE_PATIENCE_SECONDS
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


def _is_untouched(submission: Mapping[str, Any]) -> bool:
    """Returns whether no row has an outcome."""
    counts = submission["counts"]
    return bool(counts["pending"] == counts["total"])


def print_submission(submission: Mapping[str, Any]) -> None:
    """Prints state and counts of a submission; hints go to stderr."""
    result = f", {submission['result']}" if submission.get("result") else ""
    is_dry_run = (submission.get("options") or {}).get("dry_run")
    note = " (a dry run: nothing was changed)" if is_dry_run else ""
    click.echo(f"{submission['state']}{result}{note}")
    show_counts(submission["counts"], submission.get("reasons") or {})
    if created := submission.get("learners_created"):
        click.echo(f"New learners registered: {created:,}.", err=True)
    if ignored := submission.get("ignored_columns"):
        names = ", ".join(map(terminal_safe, ignored))
        what = "a column" if len(ignored) == 1 else "columns"
        click.echo(f"Not read: {names} ({what} of the file without a meaning here).", err=True)


def print_hint(submission: Mapping[str, Any]) -> None:
    """Prints how to see the failed rows, if there are any."""
    if submission["state"] in _FINISHED and exit_code(submission) == SOME_REFUSED:
        failed = ",".join(FAILED_OUTCOMES)
        words = f"outcomes {submission['submission_id']} --outcome {failed} -o failed.csv"
        click.echo(f"The rows that failed: {command_to_copy(words)}", err=True)


def exit_code(submission: Mapping[str, Any]) -> int:
    """Returns the exit code for the outcomes of a submission."""
    counts = submission["counts"]
    return SOME_REFUSED if any(map(counts.get, FAILED_OUTCOMES)) else ACCEPTED
