"""`enroll destinations`: systems that must end in the same state, and deliveries to them."""

import sys
from typing import Any

import click

from api_gateway.cli.output import examples, filter_or_all, print_json, print_table
from api_gateway.cli.remote.client import Service
from api_gateway.cli.remote.connection import with_service
from api_gateway.cli.remote.destinations.jobs import reconcile
from api_gateway.cli.remote.pages import pages
from enrollment.domain.codes import DeliveryState
from enrollment.domain.destinations.deliveries import DESTINATION_KINDS

_COLUMNS = ("name", "kind", "url", "paused", "failures", "courses", "concurrency")
_DELIVERY_COLUMNS = ("id", "user", "course_id", "position", "state", "attempts", "status", "error")


@click.group()
def destinations() -> None:
    """Keep other systems, such as an LMS, in the same state."""


@destinations.command("list", epilog=examples("enroll destinations list"))
@with_service
def list_destinations(*, service: Service, as_json: bool) -> None:
    """Print all destinations."""
    found = service.get("/destinations").json()
    if as_json:
        print_json(found)
    else:
        rows = ([filter_or_all(each[name]) for name in _COLUMNS] for each in found["destinations"])
        print_table(_COLUMNS, rows)


@destinations.command(
    epilog=examples(
        "enroll destinations put lms https://lms.example.org --client-id enrollments",
        "enroll destinations put lms https://lms.example.org --api-key --course 'Uni+*'",
        "enroll destinations put lms https://lms.example.org --keep-auth --paused",
    )
)
@click.argument("name")
@click.argument("receiver", metavar="URL")
@click.option("--kind", type=click.Choice(DESTINATION_KINDS), default=DESTINATION_KINDS[0])
@click.option("--client-id", metavar="ID", help="The client whose secret is asked for.")
@click.option("--api-key", is_flag=True, help="Ask for a key, in place of a client's secret.")
@click.option("--keep-auth", is_flag=True, help="Keep the stored credentials.")
@click.option("--course", "courses", multiple=True, metavar="COURSE", help="A key, or org+*.")
@click.option("--concurrency", type=click.IntRange(1, 64), default=4, show_default=True)
@click.option(
    "--rate",
    "requests_per_second",
    type=click.FloatRange(min=0.001),
    help="Most requests in a second.",
)
@click.option("--paused", is_flag=True, help="Collect changes, and send none.")
@click.option("--pull-courses-every", type=click.IntRange(min=60), help="Seconds.")
@with_service
def put(
    *,
    service: Service,
    as_json: bool,
    name: str,
    receiver: str,
    client_id: str | None,
    api_key: bool,
    keep_auth: bool,
    **members: Any,
) -> None:
    """Add or replace the destination NAME at URL; what changes from now on is applied there.

    The secret is read from the terminal, or a line from standard input.
    """
    body = {**members, "url": receiver}
    if (client_id is not None) + api_key + keep_auth != 1:
        message = "Name one of --client-id ID, --api-key and --keep-auth."
        raise click.UsageError(message)
    if client_id is not None:
        body["auth"] = {"client_id": client_id, "client_secret": _read_secret("Secret")}
    elif api_key:
        body["auth"] = {"api_key": _read_secret("Key")}
    print_json(service.call("PUT", f"/destinations/{name}", body).json())


def _read_secret(what: str) -> str:
    """Reads a secret, which never is an argument: others can see these."""
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=True, err=True))
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        message = f"{what}: no line came from standard input."
        raise click.UsageError(message)
    return line


@destinations.command(epilog=examples("enroll destinations show lms"))
@click.argument("name")
@with_service
def show(*, service: Service, name: str, as_json: bool) -> None:
    """Print a destination as JSON."""
    print_json(service.get(f"/destinations/{name}").json())


@destinations.command(epilog=examples("enroll destinations remove lms"))
@click.argument("name")
@with_service
def remove(*, service: Service, name: str, as_json: bool) -> None:
    """Delete a destination and its deliveries."""
    service.call("DELETE", f"/destinations/{name}")
    if as_json:
        print_json({"removed": name})
    else:
        click.echo(f"{name} is removed.")


@destinations.command(epilog=examples("enroll destinations pause lms"))
@click.argument("name")
@with_service
def pause(*, service: Service, name: str, as_json: bool) -> None:
    """Send nothing; changes are collected."""
    _print_state(service.call("POST", f"/destinations/{name}/pause").json(), as_json)


@destinations.command(epilog=examples("enroll destinations resume lms"))
@click.argument("name")
@with_service
def resume(*, service: Service, name: str, as_json: bool) -> None:
    """Send what waits, at once."""
    _print_state(service.call("POST", f"/destinations/{name}/resume").json(), as_json)


@destinations.command(
    epilog=examples(
        "enroll destinations deliveries lms", "enroll destinations deliveries lms --state failed"
    )
)
@click.argument("name")
@click.option(
    "--state",
    type=click.Choice([state.value for state in DeliveryState]),
    help="Only those in this state.",
)
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@with_service
def deliveries(
    *, service: Service, name: str, state: str | None, limit: int, as_json: bool
) -> None:
    """Print the enrollments for a destination with their last attempts, newest first."""
    params = {} if state is None else {"state": state}
    path = f"/destinations/{name}/deliveries"
    found = list(pages(service, path, "deliveries", limit=limit, **params))
    if as_json:
        print_json({"deliveries": found})
    else:
        rows = ([each[column] for column in _DELIVERY_COLUMNS] for each in found)
        print_table(_DELIVERY_COLUMNS, rows)


@destinations.command(
    epilog=examples("enroll destinations retry lms", "enroll destinations retry lms 17")
)
@click.argument("name")
@click.argument("delivery", type=click.IntRange(min=1), required=False)
@with_service
def retry(*, service: Service, name: str, delivery: int | None, as_json: bool) -> None:
    """Send again one DELIVERY, or every one that failed."""
    if delivery is None:
        result = service.call("POST", f"/destinations/{name}/retry").json()
    else:
        service.call("POST", f"/destinations/{name}/deliveries/{delivery}/retry")
        result = {"queued": 1}
    if as_json:
        print_json(result)
    else:
        click.echo(f"{result['queued']:,} to be sent again.")


def _print_state(destination: dict[str, Any], as_json: bool) -> None:  # noqa: FBT001 (the option)
    if as_json:
        print_json(destination)
    else:
        click.echo(f"{destination['name']} is {'paused' if destination['paused'] else 'active'}.")


destinations.add_command(reconcile)
