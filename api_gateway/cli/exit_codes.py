"""Exit codes, and errors that end a command with them."""

from typing import IO, Any

import click

#: All rows were accepted or skipped; the command did its work.
ACCEPTED = 0
#: Some rows were refused or invalid.
SOME_REFUSED = 1
#: Wrong usage, or something that the command needs is missing.
USAGE = 2
#: The service or the database does not answer.
UNREACHABLE = 3
#: The API key is missing or invalid, or lacks a scope.
DENIED = 4
#: A file was refused as a whole.
FILE_REFUSED = 5
#: A check failed: `doctor`, `verify`, `db check`.
CHECK_FAILED = 6
#: An error in this program (EX_SOFTWARE of sysexits.h).
BUG = 70
#: Ctrl-C (128 + SIGINT).
INTERRUPTED = 130


class CannotRun(click.ClickException):
    """Something that the command needs is missing or invalid; the message has the remedy."""

    exit_code = USAGE


class Refused(click.ClickException):
    """The service refused the request."""

    exit_code = USAGE


class Unreachable(click.ClickException):
    """The service or the database does not answer."""

    exit_code = UNREACHABLE


class Denied(click.ClickException):
    """The service needs another API key."""

    exit_code = DENIED


class FileRefused(click.ClickException):
    """A file was refused as a whole."""

    exit_code = FILE_REFUSED


class CheckFailed(click.ClickException):
    """A check found something wrong."""

    exit_code = CHECK_FAILED


class Bug(click.ClickException):
    """An unexpected error of this program."""

    exit_code = BUG


class Interrupted(click.ClickException):
    """The command was interrupted; the message says what continues."""

    exit_code = INTERRUPTED

    def show(self, file: IO[Any] | None = None) -> None:
        """Prints the message, which is not an error."""
        click.echo(f"\n{self.format_message()}", err=True, file=file)
