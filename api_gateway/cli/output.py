"""Output of commands: JSON, tables with tabs, commands to copy, examples in the help."""

import csv
import io
import json
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from enrollment.runtime.setting_names import VARIABLES

Command = TypeVar("Command", bound=Callable[..., Any])


def json_option(command: Command) -> Command:
    """Adds the option `--json`: the command prints JSON, and nothing else, to stdout."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON to stdout.")(command)


def print_json(value: object) -> None:
    """Prints a value as JSON, which can be read by other commands."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def log_record(event: str, **fields: object) -> None:
    """Writes a log record to stderr, unless that is a terminal, whose user has the output."""
    if not sys.stderr.isatty():
        from enrollment.runtime.logs import render_record

        click.echo(render_record(event, "cli", **fields), err=True)


def program_name() -> str:
    """Returns how this program is called: `enroll` where a shell finds it by its name alone."""
    called, found = Path(sys.argv[0]), shutil.which("enroll")
    is_own = called.name == "enroll" and called.is_file()
    if not is_own or (found is not None and called.samefile(found)):
        return "enroll"
    return str(called)


def command_to_copy(words: str) -> str:
    """Returns a command of this program as it can be typed after the one that runs.

    It calls the same service: with the URL and the data folder of the command line. The key is left
    out, since output is kept and shown.
    """
    context = click.get_current_context()
    places = [
        f" --{name.replace('_', '-')} {shlex.quote(str(context.params[name]))}"
        for name in ("url", "data_dir")
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    return f"{program_name()} {words}{''.join(places)}"


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a header and rows with tabs, quoted like CSV; None is printed as `none`."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([show_value(value) for value in row] for row in rows)
    click.echo(text.getvalue(), nl=False)


def show_value(value: object) -> str:
    """Returns a value as text for people, without control characters."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(map(_show_item, value)) or "none"
    return terminal_safe(value)


def filter_or_all(value: object) -> object:
    """Returns the value of a filter for a table: an empty one lets all pass."""
    return "all" if value == [] else value


def _show_item(value: object) -> str:
    return terminal_safe(value.get("slug", value) if isinstance(value, dict) else value)


def terminal_safe(value: object) -> str:
    """Returns a value as text without control characters of terminals."""
    return "".join(character if character.isprintable() else "\ufffd" for character in str(value))


def examples(*commands: str) -> str:
    """Returns the part of a help text that shows commands; click keeps its line ends."""
    return "\n".join(["\b", "Examples:", *(f"  {command}" for command in commands)])


def examples_and_variables(*commands: str, variables: Sequence[str]) -> str:
    """Returns the examples, and the most important variables of a command without options for them.

    `enroll doctor --settings` lists all variables.
    """
    lines = [f"  {name:<22} {VARIABLES[name]}" for name in variables]
    more = "  `enroll doctor --settings` lists all of them."
    return "\n".join([examples(*commands), "", "\b", "Variables:", *lines, more])
