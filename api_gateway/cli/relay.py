"""`enroll relay`: shows how far the channels of the relay are, and moves them."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from api_gateway.cli.context import data_dir_option, open_sessions
from api_gateway.cli.exit_codes import CannotRun
from api_gateway.cli.output import examples, json_option, print_json, print_table

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from enrollment.storage.outbox.relay_positions import ChannelName

_CHANNELS = ("event_stream", "event_bus")
_channel_argument = click.argument("channel", type=click.Choice(_CHANNELS))


@click.group()
def relay() -> None:
    """Show and move the positions up to which the change feed is published."""


@relay.command(epilog=examples("enroll relay show", "enroll relay show --json"))
@data_dir_option
@json_option
def show(data_dir: Path, *, as_json: bool) -> None:
    """Show the position of each channel and the number of events behind it."""
    from enrollment.storage.outbox import relay_positions
    from enrollment.storage.outbox.relay_positions import ChannelName

    with open_sessions(data_dir) as sessions, sessions.read() as session:
        lags = {name: relay_positions.load_lag(session, ChannelName(name)) for name in _CHANNELS}
    columns = ("channel", "position", "behind", "oldest")
    rows = [
        (name, lag.position, lag.events, lag.since and lag.since.isoformat())
        for name, lag in lags.items()
    ]
    if as_json:
        print_json({"channels": [dict(zip(columns, row, strict=True)) for row in rows]})
        return
    print_table(columns, [tuple("" if cell is None else cell for cell in row) for row in rows])


@relay.command(
    epilog=examples("enroll relay skip event_stream", "enroll relay skip event_bus --to 120000")
)
@_channel_argument
@click.option("--to", "to", type=click.IntRange(0), help="The position; default: the end.")
@data_dir_option
@json_option
def skip(*, channel: str, to: int | None, data_dir: Path, as_json: bool) -> None:
    """Leave out events: go on after a later position, or after the end of the feed.

    Before a channel is enabled this decides where it begins: without it, at the beginning.
    """
    _move(channel, to, data_dir, is_forward=True, as_json=as_json)


@relay.command(epilog=examples("enroll relay rewind event_stream --to 119000"))
@_channel_argument
@click.option("--to", "to", type=click.IntRange(0), required=True, help="The position; 0: all.")
@data_dir_option
@json_option
def rewind(*, channel: str, to: int, data_dir: Path, as_json: bool) -> None:
    """Publish events again, with the same ids: go back, and on after an earlier position."""
    _move(channel, to, data_dir, is_forward=False, as_json=as_json)


def _move(channel: str, to: int | None, data_dir: Path, *, is_forward: bool, as_json: bool) -> None:
    from enrollment.storage.outbox.relay_positions import ChannelName

    with open_sessions(data_dir) as sessions, sessions.begin() as session:
        before, after = _moved(session, ChannelName(channel), to, is_forward=is_forward)
    if as_json:
        print_json({"channel": channel, "before": before, "position": after})
        return
    click.echo(f"{channel} goes on after position {after}; before, it was {before}.")


def _moved(
    session: "Session", channel: "ChannelName", to: int | None, *, is_forward: bool
) -> tuple[int, int]:
    """Moves a channel; returns its positions before and after. Raises CannotRun."""
    from enrollment.storage import events
    from enrollment.storage.outbox import relay_positions

    before, end = relay_positions.lock(session, channel), events.last_position(session)
    after = end if to is None else to
    if not 0 <= after <= end:
        message = f"The feed ends at position {end}."
        raise CannotRun(message)
    if after != before and is_forward != (after > before):
        other = "rewind" if is_forward else "skip"
        message = f"{channel} is at position {before}: use `enroll relay {other}`."
        raise CannotRun(message)
    relay_positions.move(session, channel, after)
    return before, after
