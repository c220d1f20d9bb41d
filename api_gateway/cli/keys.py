"""`enroll keys`: API keys."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from api_gateway.cli.context import data_dir_option, open_sessions
from api_gateway.cli.exit_codes import CannotRun
from api_gateway.cli.output import examples, json_option, print_json

if TYPE_CHECKING:
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


def _check_name(_ctx: click.Context, _param: click.Parameter, name: str) -> str:
    if not name.strip() or not name.isprintable():
        message = "the name of a key must have characters that can be printed"
        raise click.BadParameter(message)
    return name.strip()


@keys.command(
    epilog=examples(
        "enroll keys create sis-nightly --scope enroll --scope read",
        "enroll keys create sis-nightly --scope enroll --scope read --rotate",
    )
)
@click.argument("name", callback=_check_name)
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
@data_dir_option
@json_option
def create(
    *, name: str, scopes: frozenset[str], rotate: bool, data_dir: Path, as_json: bool
) -> None:
    """Create an API key called NAME. The last line is the key; it is shown only once.

    Keys with the same name are one caller, with access to the same submissions.
    """
    from api_gateway.auth.api_keys import new_api_key
    from enrollment.storage.credentials import api_keys

    text, digest = new_api_key()
    with open_sessions(data_dir) as sessions, sessions.begin() as session:
        same_name = [key for key in api_keys.all_keys(session) if key.name == name]
        _check_rotation(
            name, [key.scopes for key in same_name if not key.revoked_at], scopes, rotate=rotate
        )
        number = api_keys.add(
            session, name=name, scopes=scopes, digest=digest, now=datetime.now(UTC)
        )
    if as_json:
        print_json({"id": number, "name": name, "scopes": sorted(scopes), "key": text})
        return
    click.echo(f"Key {number}, {name}, scopes: {', '.join(sorted(scopes))}. It is not shown again:")
    click.echo(text)


def _check_rotation(
    name: str, in_use: list[frozenset[str]], wanted: frozenset[str], *, rotate: bool
) -> None:
    """Checks that a name in use is rotated, with the same scopes. Raises CannotRun.

    Otherwise two servers that share a name by mistake would be one caller.
    """
    if in_use and not rotate:
        message = (
            f"A key named {name} is in use, and keys with the same name are one caller: choose "
            "another name, or give --rotate to create its successor."
        )
        raise CannotRun(message)
    if in_use and wanted not in in_use:
        has = "; ".join(", ".join(sorted(scopes)) for scopes in in_use)
        message = f"The key {name} in use has the scopes: {has}. Its successor must have the same."
        raise CannotRun(message)


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
    for key in known:
        state = f"revoked {key.revoked_at:%Y-%m-%d %H:%M}Z" if key.revoked_at else "in use"
        created = f"created {key.created:%Y-%m-%d %H:%M}Z"
        click.echo(f"{key.id}\t{key.name}\t{','.join(sorted(key.scopes))}\t{created}\t{state}")


def _to_json(key: "ApiKey") -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "created": key.created.isoformat(),
        "revoked_at": key.revoked_at and key.revoked_at.isoformat(),
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
    if as_json:
        print_json({"revoked": number})
    else:
        click.echo(f"Key {number} is revoked.")
