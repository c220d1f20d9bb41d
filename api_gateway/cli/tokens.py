"""`enroll tokens`: signs JWTs, to try the API as a learner."""

from datetime import UTC, datetime
from pathlib import Path

import click

from api_gateway.cli.context import data_dir_option, open_sessions
from api_gateway.cli.output import examples, json_option, print_json


@click.group()
def tokens() -> None:
    """Create JWTs."""


@tokens.command(
    epilog=examples("enroll tokens create ada", "enroll tokens create carol --staff --minutes 5")
)
@click.argument("user")
@click.option("--staff", is_flag=True, help="A token of a staff member.")
@click.option("--email", help="E-mail address of the user.")
@click.option("--minutes", default=60.0, show_default=True, help="Lifetime in minutes.")
@data_dir_option
@json_option
def create(
    *, user: str, email: str | None, minutes: float, data_dir: Path, staff: bool, as_json: bool
) -> None:
    """Create a token for USER. It is the last line (send it as `Authorization: JWT …`)."""
    from api_gateway.auth.jwt_tokens import SIGNING_SECRET, new_signing_secret, sign_token
    from enrollment.storage.credentials.secrets import get_or_create

    with open_sessions(data_dir) as sessions, sessions.begin() as session:
        secret = get_or_create(session, SIGNING_SECRET, new_signing_secret())
    try:
        token = sign_token(
            secret, user, email=email, staff=staff, minutes=minutes, now=datetime.now(UTC)
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    print_json({"token": token}) if as_json else click.echo(token)
