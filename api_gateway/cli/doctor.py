"""`enroll doctor`: checks settings and connections, with advice."""

from collections.abc import Iterator
from pathlib import Path

import click

from api_gateway.cli.context import data_dir_option, stack_environment
from enrollment.runtime.settings import VARIABLES

_MARKS = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}


@click.command()
@click.option("--settings", "only_settings", is_flag=True, help="List all settings and exit.")
@click.option("--url", envvar="ENROLL_URL", help="URL of the running service to check.")
@data_dir_option
@click.pass_context
def doctor(ctx: click.Context, data_dir: Path, url: str | None, *, only_settings: bool) -> None:
    """Check settings and connections, and give advice; exit code 1 if a check fails."""
    if only_settings:
        for line in _list_settings(data_dir):
            click.echo(line)
        return
    from api_gateway.cli.doctor_checks import run_checks

    defects = 0
    for result in run_checks(data_dir, url):
        defects += result.mark == "wrong"
        click.echo(f"{_MARKS[result.mark]} {result.subject}: {result.message}")
        if result.advice:
            click.echo(f"      → {result.advice}")
    ctx.exit(1 if defects else 0)


def _list_settings(data_dir: Path) -> Iterator[str]:
    """Yields each setting and whether it is set, without the value: many are secrets."""
    given = stack_environment(data_dir)
    for name, meaning in VARIABLES.items():
        state = "set    " if name in given else "not set"
        yield f"{state}  {name:<26} {meaning}"
