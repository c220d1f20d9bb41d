"""`enroll doctor`: checks settings and connections, with advice."""

from collections.abc import Mapping
from pathlib import Path

import click

from api_gateway.cli.context import data_dir_option, stack_environment
from api_gateway.cli.exit_codes import CHECK_FAILED
from api_gateway.cli.output import examples, json_option, print_json
from enrollment.runtime.settings import VARIABLES

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
        _print_settings(data_dir, as_json=as_json)
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


def _print_settings(data_dir: Path, *, as_json: bool) -> None:
    """Prints each setting and whether it is set, without the value: many are secrets."""
    given = stack_environment(data_dir)
    if as_json:
        print_json({"settings": [_setting(name, given) for name in VARIABLES]})
        return
    for name, meaning in VARIABLES.items():
        state = "set    " if name in given else "not set"
        click.echo(f"{state}  {name:<26} {meaning}")


def _setting(name: str, given: Mapping[str, str]) -> dict[str, object]:
    return {"name": name, "is_set": name in given, "meaning": VARIABLES[name]}
