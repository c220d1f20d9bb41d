"""`enroll workers`: lists workers and beat by their heartbeats."""

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import click

from api_gateway.cli.context import data_dir_option, open_sessions
from api_gateway.cli.exit_codes import CheckFailed
from api_gateway.cli.output import examples, json_option, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from enrollment.storage.upkeep.heartbeats import Heartbeat


@click.command(epilog=examples("enroll workers", "enroll workers --json", "enroll workers --here"))
@click.option(
    "--here",
    is_flag=True,
    help="Those of this host or container only; exit code 6 if none of them lives.",
)
@data_dir_option
@json_option
def workers(data_dir: Path, *, here: bool, as_json: bool) -> None:
    """List the workers and beat, with those that died in the last ten minutes."""
    from api_gateway.status.health.process_states import load_process_states

    with open_sessions(data_dir) as sessions, sessions.read() as session:
        now, seen = load_process_states(session)
    if here:
        seen = [each for each in seen if each.process.host == socket.gethostname()]
    _show(seen, now, as_json=as_json)
    if here and not any(each.is_alive(now) for each in seen):
        raise CheckFailed("No worker and no beat of this host lives.")


def _show(seen: "Sequence[Heartbeat]", now: "datetime", *, as_json: bool) -> None:
    if as_json:
        print_json({"processes": [_to_json(each, now) for each in seen]})
        return
    for each in seen:
        click.echo("\t".join(_cells(each, now)))
    if not seen:
        click.echo("No worker and no beat runs.", err=True)


def _to_json(each: "Heartbeat", now: "datetime") -> dict[str, object]:
    process = each.process._asdict()
    return {
        **{name: value for name, value in process.items() if name != "id"},
        "state": _state(each, now),
        "since": each.since.isoformat(),
        "last_seen": each.last_seen.isoformat(),
        "batches_done": each.batches,
    }


def _state(each: "Heartbeat", now: "datetime") -> str:
    return "alive" if each.is_alive(now) else "dead"


def _cells(each: "Heartbeat", now: "datetime") -> list[str]:
    process, age = each.process, max((now - each.last_seen).total_seconds(), 0.0)
    return [
        _state(each, now),
        process.kind,
        process.name,
        f"{process.host}:{process.pid}",
        process.version,
        ",".join(process.lanes) or "-",
        f"since {each.since:%Y-%m-%d %H:%M}Z",
        f"seen {age:.0f} s ago",
        f"{each.batches} batches",
    ]
