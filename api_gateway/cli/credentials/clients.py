"""`enroll clients`: OAuth clients, which get tokens from `/oauth2/access_token`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from api_gateway.cli.context import data_dir_option, load_settings, open_sessions
from api_gateway.cli.exit_codes import CannotRun
from api_gateway.cli.output import examples, json_option, print_json

if TYPE_CHECKING:
    from api_gateway.auth.oauth_clients import NewClient
    from enrollment.storage.credentials.oauth_clients import OAuthClient


@click.group()
def clients() -> None:
    """Create, list and revoke OAuth clients."""


@clients.command(
    epilog=examples(
        "enroll clients create shop --user shop_worker --staff",
        "enroll clients create portal --user portal --json",
    )
)
@click.argument("name")
@click.option("--user", required=True, help="The user whose tokens the client gets.")
@click.option("--staff", is_flag=True, help="Its tokens are those of a staff member.")
@data_dir_option
@json_option
def create(*, name: str, user: str, staff: bool, data_dir: Path, as_json: bool) -> None:
    """Create a client with the id NAME. The last line is its secret; it is shown only once.

    The user is registered as a learner, and may be enrolled. An id is not given again after it was
    revoked.
    """
    number, _, username, text = _create_client(data_dir, name, user, staff=staff)
    if as_json:
        print_json(
            {"id": number, "client_id": name, "user": username, "staff": staff, "secret": text}
        )
        return
    kind = "staff" if staff else "a learner"
    click.echo(f"Client {number}, {name}, user {username} ({kind}). The secret is not shown again:")
    click.echo(text)


def _create_client(data_dir: Path, name: str, user: str, *, staff: bool) -> "NewClient":
    """Creates a client. Raises CannotRun for an id that is taken, UsageError."""
    from api_gateway.auth.oauth_clients import ClientIdTaken, ClientNameRefused, create_client

    configured = {client.client_id for client in load_settings(data_dir).oauth_clients}
    now = datetime.now(UTC)
    try:
        with open_sessions(data_dir) as sessions, sessions.begin() as session:
            return create_client(
                session, name, user, is_staff=staff, configured=configured, now=now
            )
    except ClientIdTaken as refusal:
        raise CannotRun(str(refusal)) from refusal
    except ClientNameRefused as refusal:
        raise click.UsageError(str(refusal)) from refusal


@clients.command("list", epilog=examples("enroll clients list"))
@data_dir_option
@json_option
def list_(data_dir: Path, *, as_json: bool) -> None:
    """List all clients of the database, without their secrets."""
    from enrollment.storage.credentials import oauth_clients

    with open_sessions(data_dir) as sessions, sessions.read() as session:
        known = oauth_clients.all_clients(session)
    if as_json:
        print_json({"clients": [_to_json(client) for client in known]})
        return
    for client in known:
        used = client.last_used_at
        state = f"revoked {_minute(client.revoked_at)}" if client.revoked_at else "in use"
        columns = (
            str(client.id),
            client.client_id,
            client.username,
            "staff" if client.is_staff else "learner",
            f"created {_minute(client.created)}",
            f"last used {_minute(used)}" if used else "never used",
            state,
        )
        click.echo("\t".join(columns))


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}Z"


def _to_json(client: "OAuthClient") -> dict[str, object]:
    return {
        "id": client.id,
        "client_id": client.client_id,
        "user": client.username,
        "staff": client.is_staff,
        "created": client.created.isoformat(),
        "revoked_at": client.revoked_at and client.revoked_at.isoformat(),
        "last_used_at": client.last_used_at and client.last_used_at.isoformat(),
    }


@clients.command(epilog=examples("enroll clients revoke 3"))
@click.argument("number", type=int, metavar="ID")
@data_dir_option
@json_option
def revoke(number: int, data_dir: Path, *, as_json: bool) -> None:
    """Revoke the client with the number ID; its tokens end everywhere within seconds."""
    from enrollment.storage.credentials import oauth_clients

    with open_sessions(data_dir) as sessions, sessions.begin() as session:
        was_in_use = oauth_clients.revoke(session, number, now=datetime.now(UTC))
    if not was_in_use:
        message = f"No client {number} is in use (`enroll clients list` shows all clients)."
        raise CannotRun(message)
    print_json({"revoked": number}) if as_json else click.echo(f"Client {number} is revoked.")
