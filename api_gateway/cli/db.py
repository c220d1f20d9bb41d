"""`enroll db`: the versions of the tables."""

from pathlib import Path

import click

from api_gateway.cli.context import data_dir_option, settings_of
from enrollment.runtime.settings import Settings


@click.group()
def db() -> None:
    """Bring the tables to this release's version, or look where they are."""


@db.command()
@data_dir_option
def upgrade(data_dir: Path) -> None:
    """Bring the tables up to this release."""
    from enrollment.storage import migrate

    settings = _settings_with_folder(data_dir)
    steps = migrate.pending(settings.database_url)
    try:
        migrate.upgrade(settings.database_url)
    except migrate.UnknownRevision as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"Upgraded: {', '.join(steps)}." if steps else "Nothing to do.")


@db.command()
@click.argument("revision")
@click.option("--yes", is_flag=True, help="Do not ask.")
@data_dir_option
def downgrade(revision: str, data_dir: Path, *, yes: bool) -> None:
    """Take the tables back to REVISION (`base`: remove them), with what they hold."""
    from enrollment.storage import migrate

    settings = _settings_with_folder(data_dir)
    if not yes:
        click.confirm(f"Records that {revision} does not know will be lost. Go on?", abort=True)
    try:
        migrate.downgrade(settings.database_url, revision)
    except migrate.UnknownRevision as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"The tables are at {revision}.")


@db.command()
@data_dir_option
@click.pass_context
def check(ctx: click.Context, data_dir: Path) -> None:
    """Say whether the tables are as this release needs them; exit 1 if not."""
    from enrollment.storage import migrate

    pending = migrate.pending(_settings_with_folder(data_dir).database_url)
    if not pending:
        click.echo("The tables are as this release needs them.")
        return
    click.echo(f"Missing: {', '.join(pending)}. Run `enroll db upgrade`.")
    ctx.exit(1)


@db.command(hidden=True)
@click.argument("message")
@data_dir_option
def draft(message: str, data_dir: Path) -> None:
    """Write the next version's file (for those who work on this project)."""
    from enrollment.storage import migrate

    for path in migrate.draft(_settings_with_folder(data_dir).database_url, message):
        click.echo(path)


def _settings_with_folder(data_dir: Path) -> Settings:
    settings = settings_of(data_dir)
    if settings.database_url.startswith("sqlite"):
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return settings
