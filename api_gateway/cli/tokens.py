"""``enroll tokens``: to try the service as a person."""

from datetime import UTC, datetime
from pathlib import Path

import click

from api_gateway.cli.context import data_dir_option, sessions_of


@click.group()
def tokens() -> None:
    """Make tokens of our own."""


@tokens.command()
@click.argument("user")
@click.option("--staff", is_flag=True, help="As a member of staff.")
@click.option("--email", help="The person's e-mail address.")
@click.option("--minutes", default=60.0, show_default=True, help="How long it lasts.")
@data_dir_option
def create(user: str, email: str | None, minutes: float, data_dir: Path, *, staff: bool) -> None:
    """Make a token for USER; it is the last line (send it as `Authorization: JWT …`)."""
    from api_gateway.auth.jwt_tokens import SIGNING_SECRET, new_signing_secret, sign
    from enrollment.storage.credentials.secrets import get_or_create

    with sessions_of(data_dir) as sessions, sessions.begin() as session:
        secret = get_or_create(session, SIGNING_SECRET, new_signing_secret())
    try:
        token = sign(secret, user, email=email, staff=staff, minutes=minutes, now=datetime.now(UTC))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    click.echo(token)
