"""`enroll webhooks`: endpoints of other systems, and deliveries to them."""

from typing import Any
from uuid import UUID

import click

from api_gateway.cli.output import Command, examples, filter_or_all, print_json, print_table
from api_gateway.cli.remote.client import Service
from api_gateway.cli.remote.connection import with_service
from api_gateway.cli.remote.pages import pages
from enrollment.domain.codes import DeliveryState
from enrollment.domain.webhooks.messages import MESSAGE_TYPES, DisabledReason

_ID = "019a1e9c-7c11-7c2f-9d5e-2b1f6f3f7a11"
_COLUMNS = ("id", "url", "enabled", "failures", "types", "courses", "callers")
_DELIVERY_COLUMNS = ("id", "type", "position", "state", "attempts", "status", "error")


@click.group()
def webhooks() -> None:
    """Send messages about changes to other systems."""


def _filters(command: Command) -> Command:
    """Adds the options of the filters, each of which may be repeated."""
    options = (
        click.option(
            "--type", "types", multiple=True, type=click.Choice(MESSAGE_TYPES), help="Only these."
        ),
        click.option(
            "--course", "courses", multiple=True, metavar="COURSE", help="A key, or org+*."
        ),
        click.option("--caller", "callers", multiple=True, metavar="NAME", help="Only theirs."),
        click.option("--description", metavar="TEXT", help="A note for people."),
    )
    for option in options:
        command = option(command)
    return command


@webhooks.command("list", epilog=examples("enroll webhooks list"))
@with_service
def list_webhooks(*, service: Service, as_json: bool) -> None:
    """Print all webhooks."""
    found = service.get("/webhooks").json()
    if as_json:
        print_json(found)
    else:
        rows = ([filter_or_all(each[name]) for name in _COLUMNS] for each in found["webhooks"])
        print_table(_COLUMNS, rows)


@webhooks.command(
    epilog=examples(
        "enroll webhooks add https://lms.example.org/hooks",
        "enroll webhooks add https://lms.example.org/hooks --type submission.done --course 'Uni+*'",
    )
)
@click.argument("receiver", metavar="URL")
@_filters
@with_service
def add(*, service: Service, receiver: str, as_json: bool, **members: Any) -> None:
    """Send messages to URL. The secret that signs them is on the last line, and never shown again.

    A connection that breaks is not tried again: look with `list` whether it was added.
    """
    _print_secret(
        service.call_once("POST", "/webhooks", {"url": receiver, **members}).json(), as_json
    )


@webhooks.command(epilog=examples(f"enroll webhooks show {_ID}"))
@click.argument("webhook", type=click.UUID)
@with_service
def show(*, service: Service, webhook: UUID, as_json: bool) -> None:
    """Print a webhook as JSON."""
    print_json(service.get(_path(webhook)).json())


@webhooks.command(epilog=examples(f"enroll webhooks replace {_ID} https://lms.example.org/hooks"))
@click.argument("webhook", type=click.UUID)
@click.argument("receiver", metavar="URL")
@_filters
@with_service
def replace(
    *, service: Service, webhook: UUID, receiver: str, as_json: bool, **members: Any
) -> None:
    """Replace the URL and all filters of a webhook; the secret stays."""
    body = {"url": receiver, **members}
    print_json(service.call("PUT", _path(webhook), body).json())


@webhooks.command(epilog=examples(f"enroll webhooks remove {_ID}"))
@click.argument("webhook", type=click.UUID)
@with_service
def remove(*, service: Service, webhook: UUID, as_json: bool) -> None:
    """Delete a webhook and its deliveries."""
    service.call("DELETE", _path(webhook))
    if as_json:
        print_json({"removed": str(webhook)})
    else:
        click.echo(f"{webhook} is removed.")


@webhooks.command(epilog=examples(f"enroll webhooks rotate {_ID}"))
@click.argument("webhook", type=click.UUID)
@with_service
def rotate(*, service: Service, webhook: UUID, as_json: bool) -> None:
    """Replace the secret; the one before signs as well for 24 hours.

    The new secret is on the last line, and never shown again.
    """
    _print_secret(service.call_once("POST", f"{_path(webhook)}/rotate").json(), as_json)


@webhooks.command(epilog=examples(f"enroll webhooks enable {_ID}"))
@click.argument("webhook", type=click.UUID)
@with_service
def enable(*, service: Service, webhook: UUID, as_json: bool) -> None:
    """Send what is pending, and what happens from now on."""
    _print_state(service.call("POST", f"{_path(webhook)}/enable").json(), as_json)


@webhooks.command(epilog=examples(f"enroll webhooks disable {_ID}"))
@click.argument("webhook", type=click.UUID)
@with_service
def disable(*, service: Service, webhook: UUID, as_json: bool) -> None:
    """Send nothing, and queue nothing, until it is enabled."""
    _print_state(service.call("POST", f"{_path(webhook)}/disable").json(), as_json)


@webhooks.command(
    epilog=examples(
        f"enroll webhooks deliveries {_ID}", f"enroll webhooks deliveries {_ID} --state failed"
    )
)
@click.argument("webhook", type=click.UUID)
@click.option(
    "--state",
    type=click.Choice([state.value for state in DeliveryState]),
    help="Only those in this state.",
)
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@with_service
def deliveries(
    *, service: Service, webhook: UUID, state: str | None, limit: int, as_json: bool
) -> None:
    """Print messages for a webhook with their last attempts, newest first."""
    params = {} if state is None else {"state": state}
    path = f"{_path(webhook)}/deliveries"
    found = list(pages(service, path, "deliveries", limit=limit, **params))
    if as_json:
        print_json({"deliveries": found})
    else:
        print_table(
            _DELIVERY_COLUMNS, ([each[name] for name in _DELIVERY_COLUMNS] for each in found)
        )


@webhooks.command(
    epilog=examples(
        f"enroll webhooks redeliver {_ID} 17", f"enroll webhooks redeliver {_ID} --range 1 1000"
    )
)
@click.argument("webhook", type=click.UUID)
@click.argument("delivery", type=click.IntRange(min=1), required=False)
@click.option(
    "--range", "span", type=click.IntRange(min=1), nargs=2, help="First and last feed position."
)
@with_service
def redeliver(
    *,
    service: Service,
    webhook: UUID,
    delivery: int | None,
    span: tuple[int, int] | None,
    as_json: bool,
) -> None:
    """Send a message again, or those about a range of the change feed."""
    if (delivery is None) is (span is None):
        message = "Name a DELIVERY, or a range of positions: --range FIRST LAST."
        raise click.UsageError(message)
    if span is None:
        service.call("POST", f"{_path(webhook)}/deliveries/{delivery}/redeliver")
        result = {"queued": 1}
    else:
        body = {"first": span[0], "last": span[1]}
        result = service.call("POST", f"{_path(webhook)}/redeliver", body).json()
    if as_json:
        print_json(result)
    else:
        click.echo(f"{result['queued']:,} to be sent again.")


def _print_secret(webhook: dict[str, Any], as_json: bool) -> None:  # noqa: FBT001 (the option)
    if as_json:
        print_json(webhook)
    else:
        _explain_challenge(webhook)
        click.echo(f"{webhook['id']} signs with this secret, which is shown only now:")
        click.echo(webhook["secret"])


def _print_state(webhook: dict[str, Any], as_json: bool) -> None:  # noqa: FBT001 (the option)
    if as_json:
        print_json(webhook)
    else:
        click.echo(f"{webhook['id']} is {'enabled' if webhook['enabled'] else 'disabled'}.")
        _explain_challenge(webhook)


def _explain_challenge(webhook: dict[str, Any]) -> None:
    if webhook.get("disabled_reason") == DisabledReason.UNVERIFIED:
        click.echo("Its receiver must answer a challenge first (docs/webhooks.md).", err=True)


def _path(webhook: UUID) -> str:
    return f"/webhooks/{webhook}"
