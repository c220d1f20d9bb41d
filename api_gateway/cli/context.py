"""Where commands find the settings and the records: the environment, and a data folder."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from enrollment.runtime.settings import Settings, from_env, sqlite_url
from enrollment.storage.engine.sessions import Sessions, sessions_for

F = TypeVar("F", bound=Callable[..., Any])

ADMIN_KEY = "admin.key"
#: Where the embedded Redis is, while it runs.
REDIS_URL = "redis.url"


def data_dir_option(command: F) -> F:
    """The option that says where the embedded default keeps its files."""
    return click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="ENROLL_DATA_DIR",
        default=".enroll",
        show_default=True,
        help="Folder of the stack that `enroll up` runs.",
    )(command)


def stack_environment(data_dir: Path) -> dict[str, str]:
    """The environment of a stack in a folder, which becomes that of its processes."""
    found = {name: value for name, value in os.environ.items() if value != ""}
    return {**found, "ENROLL_DATA_DIR": str(data_dir.absolute())}


def settings_of(data_dir: Path) -> Settings:
    """The settings of a stack in a folder, also while it runs. Raises SettingsError."""
    found = stack_environment(data_dir)
    embedded = data_dir / REDIS_URL
    if "ENROLL_REDIS_URL" not in found and embedded.is_file():
        found["ENROLL_REDIS_URL"] = embedded.read_text().strip()
    return from_env(found)


@contextmanager
def sessions_of(data_dir: Path) -> Iterator[Sessions]:
    """The records of a stack in a folder, by ENROLL_DATABASE_URL or the embedded default."""
    settings = settings_of(data_dir)
    embedded = settings.database_url == sqlite_url(settings.data_dir)
    if embedded and not settings.data_dir.is_dir():
        message = (
            f"There are no records in {settings.data_dir}: run `enroll up` first, "
            "name another --data-dir, or set ENROLL_DATABASE_URL."
        )
        raise click.UsageError(message)
    sessions = sessions_for(settings.database_url, pool_size=1)
    try:
        yield sessions
    finally:
        sessions.dispose()
