"""`enroll doctor`: checks settings and connections, with advice."""

from pathlib import Path

import click

from api_gateway.cli.context import data_dir_option
from api_gateway.cli.exit_codes import CHECK_FAILED
from api_gateway.cli.output import examples, json_option, print_json
from enrollment.runtime.setting_names import VARIABLES
from enrollment.runtime.settings import misspelt_names, names_set

_MARKS = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}


@click.command(epilog=examples("enroll doctor", "enroll doctor --settings", "enroll doctor --json"))
@click.option("--settings", "only_settings", is_flag=True, help="List all settings and exit.")
@click.option(
    "--url", envvar="ENROLL_URL", show_envvar=True, help="URL of the running service to check."
)
@data_dir_option
@json_option
@click.pass_context
def doctor(
    ctx: click.Context, data_dir: Path, url: str | None, *, only_settings: bool, as_json: bool
) -> None:
    """Check settings and connections, and give advice; exit code 6 if a check fails."""
    if only_settings:
        _print_settings(as_json=as_json)
        return
    from api_gateway.cli.doctor_checks import run_checks

    defects = 0
    results = []
    for result in run_checks(data_dir, url):
        defects += result.mark == "wrong"
        results.append(result._asdict())
        if as_json:
            continue
        click.echo(f"{_MARKS[result.mark]} {result.subject}: {result.message}")
        if result.advice:
            click.echo(f"      → {result.advice}")
    if as_json:
        print_json({"checks": results})
    ctx.exit(CHECK_FAILED if defects else 0)


def _print_settings(*, as_json: bool) -> None:
    """Prints each setting and whether it is set, without the value: many are secrets.

    Variables that are no settings are printed, too, as they keep every process from starting.
    """
    given = names_set()
    unknown = misspelt_names()
    if as_json:
        settings = [
            {"name": name, "is_set": name in given, "meaning": meaning}
            for name, meaning in VARIABLES.items()
        ]
        print_json({"settings": settings, "unknown": sorted(unknown)})
        return
    for name, meaning in VARIABLES.items():
        click.echo(f"{'set    ' if name in given else 'not set'}  {name:<34} {meaning}")
    for name, nearest in unknown.items():
        hint = f"did you mean {nearest}?" if nearest else "there is no such setting"
        click.echo(f"unknown  {name:<34} {hint}")
