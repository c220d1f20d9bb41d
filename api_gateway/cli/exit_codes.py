"""The exit codes that scripts go by."""

import click

ACCEPTED = 0
SOME_REFUSED = 1
USAGE = 2
UNREACHABLE = 3


class Unreachable(click.ClickException):
    """The service, or what it needs, does not answer."""

    exit_code = UNREACHABLE


class Refused(click.ClickException):
    """The service does not take what it was asked."""

    exit_code = USAGE
