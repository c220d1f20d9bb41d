"""`enroll keys`: API keys."""

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from api_gateway.cli.context import data_dir_option, open_sessions
from api_gateway.cli.exit_codes import CannotRun
from api_gateway.cli.output import examples, json_option, log_record, print_json

if TYPE_CHECKING:
    from api_gateway.auth.api_keys import NewApiKey
    from enrollment.storage.credentials.api_keys import ApiKey


@click.group()
def keys() -> None:
    """Create, list and revoke API keys."""


def _parse_scopes(
    _ctx: click.Context, _param: click.Parameter, names: tuple[str, ...]
) -> frozenset[str]:
    from api_gateway.auth.api_keys import SCOPES

    if unknown := sorted(set(names) - set(SCOPES)):
        message = f"{', '.join(unknown)}: not one of {', '.join(SCOPES)}"
        raise click.BadParameter(message)
    return frozenset(names)


def _parse_expiry(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> datetime | None:
    """Returns the end of a number of days, or of a day in UTC."""
    if value is None:
        return None
    now = datetime.now(UTC)
    try:
        if value.isdecimal():
            ends = now + timedelta(days=int(value))
        else:
            day = date.fromisoformat(value)
            ends = datetime.combine(day, time.min, UTC) + timedelta(days=1)
    except (ValueError, OverflowError) as error:
        message = f"{value!r} is neither a number of days nor a date such as 2027-01-31"
        raise click.BadParameter(message) from error
    if ends <= now:
        message = f"{value} is over"
        raise click.BadParameter(message)
    return ends


@keys.command(
    epilog=examples(
        "enroll keys create sis-nightly --scope enroll --scope read",
        "enroll keys create sis-nightly --scope enroll --scope read --rotate",
        "enroll keys create visitor --scope read --expires 30",
    )
)
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    callback=_parse_scopes,
    metavar="[enroll|read|courses|admin]",
    help="A scope of the key; may be repeated.",
)
@click.option(
    "--rotate",
    is_flag=True,
    help="Create another key for a name that has one, with the same scopes.",
)
@click.option(
    "--expires",
    "expires_at",
    callback=_parse_expiry,
    metavar="DAYS|DATE",
    help="Days that the key is valid, or its last day (UTC).  [default: no end]",
)
@data_dir_option
@json_option
def create(
    *,
    name: str,
    scopes: frozenset[str],
    rotate: bool,
    expires_at: datetime | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Create an API key called NAME. The last line is the key; it is shown only once.

    Keys with the same name are one caller, with access to the same submissions. So a name keeps
    its scopes, and is not given again after it was revoked.
    """
    key, text, _ = _create_key(data_dir, name, scopes, rotate=rotate, expires_at=expires_at)
    if as_json:
        print_json({"id": key.id, "name": name, "scopes": sorted(scopes), "key": text})
        return
    until = f" Valid until {_minute(key.expires_at)}." if key.expires_at else ""
    click.echo(
        f"Key {key.id}, {name}, scopes: {', '.join(sorted(scopes))}.{until} It is not shown again:"
    )
    click.echo(text)


def _create_key(
    data_dir: Path,
    name: str,
    scopes: frozenset[str],
    *,
    rotate: bool,
    expires_at: datetime | None,
) -> "NewApiKey":
    """Creates a key. Raises CannotRun for a name that cannot have it."""
    from api_gateway.auth.api_keys import KeyNameRefused, create_key, creation_fields

    now = datetime.now(UTC)
    try:
        with open_sessions(data_dir) as sessions, sessions.begin() as session:
            made = create_key(session, name, scopes, rotate=rotate, expires_at=expires_at, now=now)
    except KeyNameRefused as refusal:
        raise CannotRun(str(refusal)) from refusal
    log_record(made.log_event, **creation_fields(made.key))
    return made


@keys.command("list", epilog=examples("enroll keys list"))
@data_dir_option
@json_option
def list_(data_dir: Path, *, as_json: bool) -> None:
    """List all API keys, without their secrets."""
    from enrollment.storage.credentials import api_keys

    with open_sessions(data_dir) as sessions, sessions.read() as session:
        known = api_keys.all_keys(session)
    if as_json:
        print_json({"keys": [_to_json(key) for key in known]})
        return
    now = datetime.now(UTC)
    for key in known:
        used = f"last used {_minute(key.last_used_at)}" if key.last_used_at else "never used"
        columns = (
            str(key.id),
            "".join(char if char.isprintable() else "?" for char in key.name),
            ",".join(sorted(key.scopes)),
            f"created {_minute(key.created)}",
            used,
            _state(key, now),
        )
        click.echo("\t".join(columns))


def _state(key: "ApiKey", now: datetime) -> str:
    if key.revoked_at is not None:
        return f"revoked {_minute(key.revoked_at)}"
    if key.expires_at is None:
        return "in use"
    verb = "expired" if key.has_expired(now) else "in use until"
    return f"{verb} {_minute(key.expires_at)}"


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}Z"


def _optional_time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _to_json(key: "ApiKey") -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "created": key.created.isoformat(),
        "revoked_at": _optional_time(key.revoked_at),
        "expires_at": _optional_time(key.expires_at),
        "last_used_at": _optional_time(key.last_used_at),
    }


@keys.command(epilog=examples("enroll keys revoke 3"))
@click.argument("number", type=int, metavar="ID")
@data_dir_option
@json_option
def revoke(number: int, data_dir: Path, *, as_json: bool) -> None:
    """Revoke the API key ID; this takes effect everywhere within seconds."""
    from enrollment.storage.credentials import api_keys

    with open_sessions(data_dir) as sessions, sessions.begin() as session:
        was_in_use = api_keys.revoke(session, number, now=datetime.now(UTC))
    if not was_in_use:
        message = f"No key {number} is in use (`enroll keys list` shows all keys)."
        raise CannotRun(message)
    log_record("key.revoked", key_id=number)
    if as_json:
        print_json({"revoked": number})
    else:
        click.echo(f"Key {number} is revoked.")
