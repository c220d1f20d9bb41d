"""`enroll db`: database migrations."""

from pathlib import Path

import click

from api_gateway.cli.context import data_dir_option, load_settings
from enrollment.runtime.settings import Settings


@click.group()
def db() -> None:
    """Database migrations."""


@db.command()
@data_dir_option
def upgrade(data_dir: Path) -> None:
    """Apply all migrations of this release."""
    from enrollment.storage import migrate

    settings = _settings_with_folder(data_dir)
    try:
        revisions = migrate.pending(settings.database_url)
        migrate.upgrade(settings.database_url)
    except migrate.UnknownRevision as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"Upgraded: {', '.join(revisions)}." if revisions else "Nothing to upgrade.")


@db.command()
@click.argument("revision")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@data_dir_option
def downgrade(revision: str, data_dir: Path, *, yes: bool) -> None:
    """Revert migrations down to REVISION (`base`: all of them). Data can be lost."""
    from enrollment.storage import migrate

    settings = _settings_with_folder(data_dir)
    if not yes:
        click.confirm(f"Data that {revision} has no place for will be lost. Continue?", abort=True)
    try:
        migrate.downgrade(settings.database_url, revision)
    except migrate.UnknownRevision as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"Downgraded to {revision}.")


@db.command()
@data_dir_option
@click.pass_context
def check(ctx: click.Context, data_dir: Path) -> None:
    """Check that the tables are those of this release; exit code 1 if not."""
    from enrollment.storage import migrate

    try:
        pending = migrate.pending(_settings_with_folder(data_dir).database_url)
    except migrate.LaterRelease as error:
        click.echo(f"{error}.")
        ctx.exit(1)
    if not pending:
        click.echo("All migrations are applied.")
        return
    click.echo(f"Missing: {', '.join(pending)}. Run `enroll db upgrade`.")
    ctx.exit(1)


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
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return settings
