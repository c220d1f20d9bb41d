"""The command `enroll`: runs and administers the service, and calls a running one."""

import errno
import os
import signal
import traceback
from typing import Any

import click

from api_gateway.cli.batches import batches
from api_gateway.cli.credentials.clients import clients
from api_gateway.cli.credentials.keys import keys
from api_gateway.cli.credentials.tokens import tokens
from api_gateway.cli.db import db
from api_gateway.cli.doctor import doctor
from api_gateway.cli.exit_codes import Bug, CannotRun, Interrupted, Unreachable
from api_gateway.cli.relay import relay
from api_gateway.cli.remote.courses import courses
from api_gateway.cli.remote.crosswalks import crosswalks
from api_gateway.cli.remote.destinations.commands import destinations
from api_gateway.cli.remote.enrollments import enrollments
from api_gateway.cli.remote.invitations import invitations
from api_gateway.cli.remote.learners import learners
from api_gateway.cli.remote.outcomes import outcomes
from api_gateway.cli.remote.submissions import cancel, status, submissions
from api_gateway.cli.remote.submit import submit
from api_gateway.cli.remote.webhooks.commands import webhooks
from api_gateway.cli.run import beat, gateway, worker
from api_gateway.cli.up import up
from api_gateway.cli.verify import verify
from api_gateway.cli.workers import workers

__all__ = ["main"]

_EPILOG = """\b
Exit codes:
  0    success; all rows were accepted or skipped
  1    some rows were refused or invalid
  2    wrong usage, or something that the command needs is missing
  3    the service or the database does not answer
  4    the API key is missing or invalid, or lacks a scope
  5    the file was refused as a whole
  6    a check failed (doctor, verify, db check)
  70   an error in this program
  130  interrupted (Ctrl-C); a submission goes on

\b
Shell completion (bash):
  eval "$(_ENROLL_COMPLETE=bash_source enroll)"
"""


class _EnrollGroup(click.Group):
    """Turns exceptions into messages of a few lines, each with its exit code."""

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        """Parses the arguments, which prints the help if they ask for it."""
        try:
            return super().make_context(*args, **more)
        except BrokenPipeError:
            _end_by_closed_pipe()
            raise

    def invoke(self, ctx: click.Context) -> Any:
        from enrollment.domain.errors import DatabaseUnavailable
        from enrollment.runtime.settings import SettingsError

        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except SettingsError as error:
            raise CannotRun(str(error)) from error
        except DatabaseUnavailable as error:
            message = f"The database does not answer (`enroll doctor` checks it): {error}"
            raise Unreachable(message) from error
        except (KeyboardInterrupt, click.Abort) as error:
            message = "Interrupted."
            raise Interrupted(message) from error
        except OSError as error:
            if error.errno == errno.EPIPE:
                _end_by_closed_pipe()
            raise CannotRun(_os_error_message(error)) from error
        except Exception as error:  # the border of the process
            raise _bug(error) from error


def _end_by_closed_pipe() -> None:
    """Ends the process by SIGPIPE, as other programs end whose output is no longer read.

    Python ignores the signal; its own way out would be exit code 1, which means refused rows.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.raise_signal(signal.SIGPIPE)


def _os_error_message(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    return reason if error.filename is None else f"{error.filename}: {reason}"


def _bug(error: Exception) -> Bug:
    """Returns the message for an unexpected exception; the traceback is printed if debugging."""
    if os.environ.get("ENROLL_LOG_LEVEL", "").lower() == "debug":
        click.echo(traceback.format_exc(), err=True)
    return Bug(
        f"Unexpected {type(error).__name__}: {error}\n"
        "This is an error in `enroll`. Please report it to the maintainers with the command, this "
        "message and `enroll --version`. ENROLL_LOG_LEVEL=debug shows where it happened."
    )


@click.group(
    cls=_EnrollGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EPILOG,
)
@click.version_option(package_name="enrollment-service")
def main() -> None:
    """Run the enrollment service, administer it, and submit enrollments to it."""
    from enrollment.runtime import logs

    # until a process configures its own log: stdout is for the output of commands
    logs.configure_command()


for command in (
    *(up, gateway, worker, beat),
    *(db, keys, clients, tokens, batches, relay, workers, doctor, verify),
    *(courses, learners, invitations, crosswalks, enrollments),
    *(webhooks, destinations),
    *(submit, submissions, status, outcomes, cancel),
):
    main.add_command(command)
