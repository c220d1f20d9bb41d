"""The command `enroll`: runs and administers the service, and calls a running one."""

from typing import Any

import click

from api_gateway.cli.batches import batches
from api_gateway.cli.db import db
from api_gateway.cli.doctor import doctor
from api_gateway.cli.exit_codes import Unreachable
from api_gateway.cli.keys import keys
from api_gateway.cli.remote.courses import courses
from api_gateway.cli.remote.outcomes import outcomes
from api_gateway.cli.remote.submissions import cancel, status, submit
from api_gateway.cli.run import beat, gateway, worker
from api_gateway.cli.tokens import tokens
from api_gateway.cli.up import up
from api_gateway.cli.verify import verify

__all__ = ["main"]


class _EnrollGroup(click.Group):
    """Turns invalid settings and an unavailable database into one-line errors with exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        from enrollment.domain.errors import DatabaseUnavailable
        from enrollment.runtime.settings import SettingsError

        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise click.UsageError(str(error)) from error
        except DatabaseUnavailable as error:
            message = f"The database does not answer (`enroll doctor` checks it): {error}"
            raise Unreachable(message) from error


@click.group(cls=_EnrollGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="enrollment-service")
def main() -> None:
    """Run the enrollment service, administer it, and submit enrollments to it.

    Exit codes: 0 success, all rows accepted; 1 some rows refused, or a check failed; 2 wrong usage,
    or the service refused the request; 3 service or database not reachable.
    """


for command in (
    *(up, gateway, worker, beat),
    *(db, keys, tokens, batches, doctor, verify),
    *(courses, submit, status, outcomes, cancel),
):
    main.add_command(command)
