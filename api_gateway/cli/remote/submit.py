"""`enroll submit`: sends a file of requests and waits for its outcomes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from api_gateway.cli.exit_codes import Interrupted
from api_gateway.cli.output import examples, print_json
from api_gateway.cli.progress import ProgressCounter, progress
from api_gateway.cli.remote.client import Service, UploadRequest
from api_gateway.cli.remote.connection import with_service
from api_gateway.cli.remote.files import InputFile, input_argument, open_input, output_option
from api_gateway.cli.remote.outcomes import save_outcomes
from api_gateway.cli.remote.waiting import (
    FAILED_OUTCOMES,
    OUTAGE_PATIENCE_SECONDS,
    exit_code,
    print_hint,
    print_submission,
    wait_until_finished,
)

#: Minimum size of a file for a progress display of the upload.
MIN_PROGRESS_BYTES = 1_000_000
#: Formats that `--format` accepts, for its help.
FORMAT_CHOICES = (
    *("auto", "native", "openedx_bulk_change", "oneroster", "sds", "sds_v1", "canvas"),
    *(
        "registrar",
        "d2l",
        "blackboard",
        "moodle_users",
        "clever",
        "moodle_flat",
        "openedx_dashboard",
    ),
)


@click.command(
    epilog=examples(
        "enroll submit term.csv",
        "enroll submit term.csv --dry-run",
        "enroll submit term.csv --failed-to mend.csv",
        "enroll submit enrollments.csv --format canvas --source canvas",
        "zcat term.csv.gz | enroll submit - --json",
    )
)
@input_argument
@click.option(
    "--format",
    "format_",
    default="auto",
    show_default=True,
    metavar="FORMAT",
    help=f"Format of FILE: {', '.join(FORMAT_CHOICES)}; auto detects it.",
)
@click.option("--source", metavar="NAME", help="Crosswalk that maps the ids in FILE.")
@click.option("--course-id", metavar="ID", help="Course, if the format has no column for it.")
@click.option("--default-mode", metavar="MODE", help="Mode of rows without one.")
@click.option(
    "--ignore",
    multiple=True,
    metavar="COLUMN",
    help="Column that is not read although its name looks like one of ours; a comma list, "
    "may be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Process everything, change nothing.")
@click.option(
    "--on-error",
    type=click.Choice(["continue", "abort"]),
    default="continue",
    show_default=True,
    help="abort: all rows or none.",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the outcomes.")
@output_option(
    "--failed-to", help="Write failed rows to this CSV file, to be corrected and submitted again."
)
@with_service
@click.pass_context
def submit(
    ctx: click.Context,
    /,
    *,
    service: Service,
    file: Path,
    wait: bool,
    failed_to: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Submit FILE (CSV, NDJSON, JSON or ZIP, also with gzip) and wait for its outcomes.

    The format is detected by the content; `-` is standard input. CSV files of other systems are
    accepted unchanged; docs/formats.md lists them.
    """
    if failed_to:
        _check_failed_to(failed_to, file, wait=wait)
    with open_input(file) as source, _interruptible():
        submission = _upload(service, source, upload_params(**options))
    id_ = submission["submission_id"]
    if not wait:
        print_json(submission) if as_json else click.echo(f"Submission {id_}")
        return
    click.echo(f"Submission {id_}", err=True)
    finished = wait_until_finished(service, id_, is_accepted=True)
    if as_json:
        print_json(finished)
    else:
        print_submission(finished)
    if failed_to:
        failed, patience = ",".join(FAILED_OUTCOMES), OUTAGE_PATIENCE_SECONDS
        save_outcomes(service, id_, failed_to, outcome=failed, patience=patience)
    else:
        print_hint(finished)
    ctx.exit(exit_code(finished))


def _check_failed_to(failed_to: Path, file: Path, *, wait: bool) -> None:
    """Raises UsageError if the failed rows cannot be written, or would replace FILE."""
    if not wait:
        message = "--failed-to needs the outcomes, so it cannot be combined with --no-wait"
        raise click.UsageError(message)
    if failed_to.is_file() and file.is_file() and failed_to.samefile(file):
        message = f"--failed-to would replace {file}, which is submitted: name another file"
        raise click.UsageError(message)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Turns Ctrl-C during the upload into an advice. Raises Interrupted."""
    try:
        yield
    except KeyboardInterrupt as error:
        message = (
            "Interrupted while the file was sent. If all of it arrived, it is processed: "
            "`enroll submissions list` shows it."
        )
        raise Interrupted(message) from error


def upload_params(
    *, format_: str, ignore: tuple[str, ...], dry_run: bool, **options: str | None
) -> dict[str, str]:
    """Returns the query parameters; options with their default are left out."""
    params = {"format": format_.lower(), **options, "ignore": ",".join(ignore)}
    params |= {"dry_run": "true" if dry_run else ""}
    return {
        name: value for name, value in params.items() if value and value not in {"auto", "continue"}
    }


def _upload(service: Service, source: InputFile, params: Mapping[str, str]) -> dict[str, Any]:
    size = source.path.stat().st_size
    with progress("sent", is_shown=size >= MIN_PROGRESS_BYTES, in_bytes=True) as display:
        counter = ProgressCounter(size, display)
        upload = UploadRequest(source.path, source.headers(), params, counter.add)
        accepted: dict[str, Any] = service.send("/submissions", upload).json()
    return accepted
