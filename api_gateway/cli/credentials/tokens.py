"""`enroll tokens`: signs JWTs, to try the API as a learner; replaces the signing key."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from api_gateway.cli.context import (
    create_folder,
    data_dir_option,
    load_settings,
    missing_sqlite_file,
    open_sessions,
)
from api_gateway.cli.exit_codes import CannotRun
from api_gateway.cli.output import examples, json_option, print_json
from enrollment.runtime.settings import Settings

if TYPE_CHECKING:
    from api_gateway.auth.signing_keys import SigningKey


@click.group()
def tokens() -> None:
    """Create JWTs, and replace the key that signs them."""


@tokens.command(
    epilog=examples("enroll tokens create ada", "enroll tokens create carol --staff --minutes 5")
)
@click.argument("user")
@click.option("--staff", is_flag=True, help="A token of a staff member.")
@click.option("--email", help="E-mail address of the user.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Lifetime in minutes, at most ENROLL_JWT_MAX_LIFETIME.  [default: 60, or that maximum]",
)
@data_dir_option
@json_option
def create(
    *,
    user: str,
    email: str | None,
    minutes: float | None,
    data_dir: Path,
    staff: bool,
    as_json: bool,
) -> None:
    """Create a token for USER. It is the last line (send it as `Authorization: JWT …`)."""
    from api_gateway.auth.jwt_tokens import sign_token

    settings = _settings_with_own_tokens(data_dir)
    longest = settings.jwt_max_lifetime / 60
    key = _current_key(settings, data_dir)
    if minutes is not None and not minutes <= longest:
        message = f"a token is valid for at most {longest:g} minutes (ENROLL_JWT_MAX_LIFETIME)"
        raise click.UsageError(message)
    lifetime = min(60.0, longest) if minutes is None else minutes
    try:
        token = sign_token(
            key, user, email=email, staff=staff, minutes=lifetime, now=datetime.now(UTC)
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    print_json({"token": token}) if as_json else click.echo(token)


@tokens.command(epilog=examples("enroll tokens rotate", "enroll tokens rotate --end-tokens"))
@click.option(
    "--end-tokens", is_flag=True, help="Let the tokens of the previous key end now, not in time."
)
@data_dir_option
@json_option
def rotate(data_dir: Path, *, end_tokens: bool, as_json: bool) -> None:
    """Make a new signing key; tokens of the previous one stay valid until their time is over."""
    from api_gateway.auth.signing_keys import rotate_signing_key, signing_key_path

    settings = _settings_with_own_tokens(data_dir)
    if settings.signing_key is not None:
        message = (
            "The signing key is in ENROLL_SIGNING_KEY: put a new one there, then a comma and the "
            "previous one, which you take out when its tokens have ended."
        )
        raise CannotRun(message)
    path = signing_key_path(settings)
    if settings.signing_key_file is None:
        create_folder(settings.data_dir)
    now = datetime.now(UTC)
    keep_seconds = 0 if end_tokens else settings.jwt_max_lifetime
    try:
        with _recorded_key(settings, data_dir) as new:
            key, previous = rotate_signing_key(
                path, now=now.timestamp(), keep_seconds=keep_seconds, new=new
            )
    except ValueError as error:
        message = f"{path} is not a file of signing keys: {error}"
        raise CannotRun(message) from error
    if as_json:
        ends = previous and previous.ends_at
        print_json({"kid": key.kid, "file": str(path), "previous_ends_at": ends})
        return
    click.echo(f"{path} has a new signing key, {key.kid}. Gateways use it within 10 seconds.")
    if previous is not None and previous.ends_at is not None:
        ends_at = datetime.fromtimestamp(previous.ends_at, UTC)
        click.echo(f"Tokens of the previous key end at {ends_at:%Y-%m-%d %H:%M:%S}Z at the latest.")


def _current_key(settings: Settings, data_dir: Path) -> "SigningKey":
    """Returns the key that signs; makes it if no gateway has made it yet. Raises CannotRun."""
    from api_gateway.auth.signing.shared_key import ensure_shared_key
    from api_gateway.auth.signing_keys import SigningKeys

    keys = SigningKeys(settings)
    key = keys.current()
    if key is not None:
        return key
    with open_sessions(data_dir) as sessions:
        defect = ensure_shared_key(settings, sessions)
    key = keys.current()
    if key is None:
        cause = f" ({defect.cause})" if defect.cause else ""
        message = f"There is no key to sign with: {defect.finding}{cause}."
        raise CannotRun(message)
    return key


@contextmanager
def _recorded_key(settings: Settings, data_dir: Path) -> "Iterator[SigningKey]":
    """Yields a new key; at the end of the block the database has its id, where it has such ids.

    Raises DatabaseUnavailable; nothing was written before the block then.
    """
    from api_gateway.auth.signing.shared_key import is_key_shared
    from api_gateway.auth.signing_keys import new_signing_key
    from enrollment.storage import migrate
    from enrollment.storage.outbox.installation import replace_signing_kid

    key = new_signing_key()
    if not is_key_shared(settings) or missing_sqlite_file(settings.database_url):
        yield key
        return
    with open_sessions(data_dir) as sessions, sessions.begin() as session:
        if not migrate.defect(session):  # without the tables the first gateway records it
            replace_signing_kid(session, key.kid)
        yield key


def _settings_with_own_tokens(data_dir: Path) -> Settings:
    """Loads the settings. Raises CannotRun if tokens of our own are switched off."""
    settings = load_settings(data_dir)
    if not settings.own_tokens:
        message = "Tokens of this service are switched off (ENROLL_OWN_TOKENS=false)."
        raise CannotRun(message)
    return settings
