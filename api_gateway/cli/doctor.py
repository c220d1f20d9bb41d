"""`enroll doctor`: looks at the settings and at every connection, and says what to do."""

from collections.abc import Iterator
from pathlib import Path

import click

from api_gateway.cli.context import data_dir_option, stack_environment
from enrollment.runtime.settings import VARIABLES

_MARKS = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}


@click.command()
@click.option("--settings", "only_settings", is_flag=True, help="List every setting, and end.")
@click.option("--url", envvar="ENROLL_URL", help="A running service to look at.")
@data_dir_option
@click.pass_context
def doctor(ctx: click.Context, data_dir: Path, url: str | None, *, only_settings: bool) -> None:
    """Check the settings and every connection, and say what to do; exit 1 if something is wrong."""
    if only_settings:
        for line in _listed(data_dir):
            click.echo(line)
        return
    from api_gateway.cli.doctor_checks import run_checks

    wrong = 0
    for finding in run_checks(data_dir, url):
        wrong += finding.mark == "wrong"
        click.echo(f"{_MARKS[finding.mark]} {finding.what}: {finding.says}")
        if finding.advice:
            click.echo(f"      → {finding.advice}")
    ctx.exit(1 if wrong else 0)


def _listed(data_dir: Path) -> Iterator[str]:
    """Whether each is set, never what to: many are secrets."""
    given = stack_environment(data_dir)
    for name, meaning in VARIABLES.items():
        state = "set    " if name in given else "not set"
        yield f"{state}  {name:<26} {meaning}"
