"""`enroll keys`: what servers prove themselves with."""

from datetime import UTC, datetime
from pathlib import Path

import click

from api_gateway.cli.context import data_dir_option, sessions_of


@click.group()
def keys() -> None:
    """Make, list and revoke the keys of servers."""


def _known_scopes(
    _ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]
) -> frozenset[str]:
    from api_gateway.auth.api_keys import SCOPES

    if unknown := sorted(set(given) - set(SCOPES)):
        message = f"{', '.join(unknown)}: not one of {', '.join(SCOPES)}"
        raise click.BadParameter(message)
    return frozenset(given)


@keys.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    callback=_known_scopes,
    metavar="[enroll|read|courses|admin]",
    help="What the key may do; may be given several times.",
)
@click.option(
    "--rotate",
    is_flag=True,
    help="Make another key of a name that has one, with the same scopes.",
)
@data_dir_option
def create(*, name: str, scopes: frozenset[str], rotate: bool, data_dir: Path) -> None:
    """Make a key called NAME; its text is the last line, and shown this once.

    Keys of one name are one caller: each sees what was asked with the others.
    """
    from api_gateway.auth.api_keys import new_api_key
    from enrollment.storage.credentials import api_keys as records

    text, digest = new_api_key()
    with sessions_of(data_dir) as sessions, sessions.begin() as session:
        named = [key for key in records.all_keys(session) if key.name == name]
        _refuse_another(
            name, [key.scopes for key in named if not key.revoked_at], scopes, rotate=rotate
        )
        number = records.add(
            session, name=name, scopes=scopes, digest=digest, now=datetime.now(UTC)
        )
    click.echo(f"Key {number}, {name}, may: {', '.join(sorted(scopes))}. It is not shown again:")
    click.echo(text)


def _refuse_another(
    name: str, in_use: list[frozenset[str]], wanted: frozenset[str], *, rotate: bool
) -> None:
    """Two servers that share a name by mistake would be one caller."""
    if in_use and not rotate:
        message = (
            f"There is a key {name} in use, and keys of one name are one caller: choose another "
            "name, or give --rotate to make its successor."
        )
        raise click.UsageError(message)
    if in_use and wanted not in in_use:
        has = "; ".join(", ".join(sorted(scopes)) for scopes in in_use)
        message = f"The key {name} in use may: {has}. Its successor must have the same scopes."
        raise click.UsageError(message)


@keys.command("list")
@data_dir_option
def list_(data_dir: Path) -> None:
    """List the keys, without their texts."""
    from enrollment.storage.credentials import api_keys as records

    with sessions_of(data_dir) as sessions, sessions.read() as session:
        known = records.all_keys(session)
    for key in known:
        state = f"revoked {key.revoked_at:%Y-%m-%d %H:%M}Z" if key.revoked_at else "in use"
        made = f"made {key.created:%Y-%m-%d %H:%M}Z"
        click.echo(f"{key.id}\t{key.name}\t{','.join(sorted(key.scopes))}\t{made}\t{state}")


@keys.command()
@click.argument("number", type=int, metavar="ID")
@data_dir_option
def revoke(number: int, data_dir: Path) -> None:
    """Make key ID useless; every process knows it within seconds."""
    from enrollment.storage.credentials import api_keys as records

    with sessions_of(data_dir) as sessions, sessions.begin() as session:
        was_in_use = records.revoke(session, number, now=datetime.now(UTC))
    if not was_in_use:
        message = f"There is no key {number} in use (`enroll keys list` shows them)."
        raise click.UsageError(message)
    click.echo(f"Key {number} is revoked.")
