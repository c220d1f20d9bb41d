"""Exit codes, and errors that end a command with them."""

import click

ACCEPTED = 0
SOME_REFUSED = 1
USAGE = 2
UNREACHABLE = 3


class Unreachable(click.ClickException):
    """The service or the database does not answer."""

    exit_code = UNREACHABLE


class Refused(click.ClickException):
    """The service refused the request."""

    exit_code = USAGE
