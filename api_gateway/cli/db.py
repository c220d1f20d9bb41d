"""`enroll db`: database migrations."""

from pathlib import Path

import click

from api_gateway.cli.context import (
    create_folder,
    data_dir_option,
    load_settings,
    missing_sqlite_file,
)
from api_gateway.cli.exit_codes import CHECK_FAILED, CannotRun, CheckFailed, Interrupted
from api_gateway.cli.output import examples, json_option, print_json
from enrollment.runtime.settings import Settings


@click.group()
def db() -> None:
    """Database migrations."""


@db.command(epilog=examples("enroll db upgrade"))
@data_dir_option
@json_option
def upgrade(data_dir: Path, *, as_json: bool) -> None:
    """Apply all migrations of this release."""
    from enrollment.storage import migrate

    settings = _settings_with_folder(data_dir)
    try:
        revisions = migrate.pending(settings.database_url)
        migrate.upgrade(settings.database_url)
    except migrate.UnknownRevision as error:
        raise CannotRun(str(error)) from error
    if as_json:
        print_json({"upgraded": list(revisions)})
        return
    click.echo(f"Upgraded: {', '.join(revisions)}." if revisions else "Nothing to upgrade.")


@db.command(epilog=examples("enroll db downgrade 0002"))
@click.argument("revision")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@data_dir_option
@json_option
def downgrade(revision: str, data_dir: Path, *, yes: bool, as_json: bool) -> None:
    """Revert migrations down to REVISION (`base`: all of them). Data can be lost."""
    from enrollment.storage import migrate

    settings = _settings_with_folder(data_dir)
    if not yes and not click.confirm(
        f"Data that {revision} has no place for will be lost. Continue?", err=as_json
    ):
        message = "Nothing was changed."
        raise Interrupted(message)
    try:
        migrate.downgrade(settings.database_url, revision)
    except migrate.UnknownRevision as error:
        raise CannotRun(str(error)) from error
    if as_json:
        print_json({"downgraded_to": revision})
    else:
        click.echo(f"Downgraded to {revision}.")


@db.command(epilog=examples("enroll db check"))
@data_dir_option
@json_option
@click.pass_context
def check(ctx: click.Context, data_dir: Path, *, as_json: bool) -> None:
    """Check that the tables are those of this release; exit code 6 if not."""
    from enrollment.storage import migrate

    url = load_settings(data_dir).database_url
    try:
        # without a file all migrations are missing
        pending = migrate.pending("sqlite://" if missing_sqlite_file(url) else url)
    except migrate.LaterRelease as error:
        raise CheckFailed(str(error)) from error
    if as_json:
        print_json({"missing": list(pending)})
    elif pending:
        click.echo(f"Missing: {', '.join(pending)}. Run `enroll db upgrade`.")
    else:
        click.echo("All migrations are applied.")
    ctx.exit(CHECK_FAILED if pending else 0)


@db.command(hidden=True)
@click.argument("message")
@data_dir_option
def draft(message: str, data_dir: Path) -> None:
    """Write the file of a new migration (for developers of this project)."""
    from enrollment.storage import migrate

    for path in migrate.draft(_settings_with_folder(data_dir).database_url, message):
        click.echo(path)


def _settings_with_folder(data_dir: Path) -> Settings:
    """Loads the settings; creates the data folder for SQLite."""
    settings = load_settings(data_dir)
    if settings.database_url.startswith("sqlite"):
        create_folder(settings.data_dir)
    return settings
