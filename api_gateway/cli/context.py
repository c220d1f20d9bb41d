"""Settings and database of a command, from the environment and the data folder."""

import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import click
from psycopg import ProgrammingError
from psycopg.conninfo import make_conninfo
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from api_gateway.cli.exit_codes import CannotRun
from enrollment.runtime.private_files import OpenToOthers, make_private_folder
from enrollment.runtime.settings import Settings, SettingsError, from_env, sqlite_url
from enrollment.runtime.tracing.variables import TraceSettingError, find_exporters
from enrollment.storage.engine.engines import make_engine
from enrollment.storage.engine.sessions import Sessions, sessions_for

F = TypeVar("F", bound=Callable[..., Any])

#: Name of the file with the API key that `enroll up` creates.
ADMIN_KEY_FILE = "admin.key"
#: Name of the file with the URL of the embedded Redis, while it runs.
REDIS_URL_FILE = "redis.url"
#: Parameters of the URLs of Redis and RabbitMQ, beside `ssl_ca_certs`, that name files.
_FILES_OF_URL = frozenset({"ssl_certfile", "ssl_keyfile"})


def data_dir_option(command: F) -> F:
    """Adds the option `--data-dir`, by which the database of `enroll up` is found."""
    return _folder_option(
        "Data folder of `enroll up`: its SQLite is the database, unless ENROLL_DATABASE_URL names "
        "one."
    )(command)


def admin_key_option(command: F) -> F:
    """Adds the option `--data-dir`, by which the admin key of `enroll up` is found."""
    return _folder_option("Data folder of `enroll up`, which has its admin key.")(command)


def _folder_option(text: str) -> Callable[[F], F]:
    return click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="ENROLL_DATA_DIR",
        show_envvar=True,
        default=".enroll",
        show_default=True,
        help=text,
    )


def stack_environment(data_dir: Path) -> dict[str, str]:
    """Returns the environment for the processes of a stack in a folder, without its Redis."""
    variables = {name: value for name, value in os.environ.items() if value != ""}
    folder = data_dir.absolute()
    variables.setdefault("ENROLL_DATABASE_URL", sqlite_url(folder))
    return {**variables, "ENROLL_DATA_DIR": str(folder)}


def load_settings(data_dir: Path) -> Settings:
    """Loads the settings of a stack in a folder. Raises SettingsError."""
    environment = stack_environment(data_dir)
    redis_url = data_dir / REDIS_URL_FILE
    if "ENROLL_REDIS_URL" not in environment and redis_url.is_file():
        environment["ENROLL_REDIS_URL"] = redis_url.read_text().strip()
    return from_env(environment)


def process_settings() -> Settings:
    """Returns the settings of a gateway, worker or scheduler from the environment.

    Raises SettingsError for everything that keeps one of them from starting, so that all of them
    refuse the same.
    """
    settings = from_env(requires_database=True)
    check_settings(settings)
    return settings


def check_settings(settings: Settings) -> None:
    """Checks URLs and keys with the libraries that will use them. Connects to nothing.

    Raises SettingsError.
    """
    _check_database_url(settings.database_url)
    _check_redis_url("ENROLL_REDIS_URL", settings.redis_url)
    if settings.broker_url.startswith("redis"):
        _check_redis_url("ENROLL_BROKER_URL", settings.broker_url)
    _check_kombu_url(settings.broker_url)
    _check_files_of_url("ENROLL_BROKER_URL", settings.broker_url)
    if settings.event_bus_url is not None:
        _check_redis_url("ENROLL_EVENT_BUS_URL", settings.event_bus_url)
    _check_traces()
    if settings.oauth_clients:
        from api_gateway.auth.oauth_clients import configured_clients

        configured_clients(settings)
    if settings.jwt_issuer is not None:
        from api_gateway.auth.jwt_tokens import check_issuer_settings

        check_issuer_settings(settings)


def _check_traces() -> None:
    """Checks that OpenTelemetry is installed, where traces are wanted. Raises SettingsError."""
    try:
        find_exporters()
    except TraceSettingError as error:
        raise SettingsError(str(error)) from error


def _check_database_url(url: str) -> None:
    """Checks the form and the parameters of the URL. Raises SettingsError."""
    try:
        engine = make_engine(url)
        _, arguments = engine.dialect.create_connect_args(engine.url)
        if not url.startswith("sqlite"):
            arguments.pop("context", None)  # an option of the driver, and no parameter
            make_conninfo(**arguments)
    except (ArgumentError, ValueError, ProgrammingError) as error:
        message = f"ENROLL_DATABASE_URL cannot be used: {str(error).splitlines()[0]}"
        raise SettingsError(message) from error


def _check_redis_url(name: str, url: str) -> None:
    """Checks the parameters of the URL. Raises SettingsError."""
    import redis

    from enrollment.runtime.redis_servers.pools import pool

    try:
        pool(redis.ConnectionPool, url).make_connection()
    except (TypeError, ValueError, redis.RedisError) as error:
        message = f"{name} cannot be used: {str(error).rpartition('() ')[2]}"
        raise SettingsError(message) from error
    _check_files_of_url(name, url)


def _check_files_of_url(name: str, url: str) -> None:
    """Checks the files with certificates and keys that a URL names. Raises SettingsError.

    The libraries read them with the first connection, and their errors do not name the file.
    """
    for each in url.split(";"):
        for parameter, file in parse_qsl(urlsplit(each).query):
            try:
                if parameter == "ssl_ca_certs":
                    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
                elif parameter in _FILES_OF_URL:
                    Path(file).open("rb").close()
            except ssl.SSLError as error:
                message = f"{name} names the file {file} in {parameter}: it has no certificate"
                raise SettingsError(message) from error
            except OSError as error:
                message = (
                    f"{name} names the file {file} in {parameter}, which cannot be read: "
                    f"{error.strerror}"
                )
                raise SettingsError(message) from error


def _check_kombu_url(url: str) -> None:
    """Checks the parameters of the queue's URL. Raises SettingsError."""
    from kombu import Connection

    from enrollment.runtime.broker import kombu_broker_url

    try:
        for each in kombu_broker_url(url).split(";"):
            Connection(each)
    except (TypeError, ValueError) as error:
        message = f"ENROLL_BROKER_URL cannot be used: {str(error).rpartition('() ')[2]}"
        raise SettingsError(message) from error


def create_folder(folder: Path) -> None:
    """Creates the data folder for its owner, or closes one that exists to all others.

    Raises CannotRun if it cannot be closed, or no files can be created in it.
    """
    try:
        before = make_private_folder(folder)
        TemporaryFile(dir=folder).close()
    except OpenToOthers as error:
        message = f"Cannot use it: {error}. Or name another with --data-dir."
        raise CannotRun(message) from error
    except OSError as error:
        message = (
            f"The data folder {folder} cannot be written: {error.strerror}. "
            "Name another with --data-dir."
        )
        raise CannotRun(message) from error
    if before is not None:
        click.echo(
            f"Other users could enter the data folder {folder} (mode {before:o}); it is 700 now.",
            err=True,
        )


def close_data_folder(settings: Settings) -> None:
    """Closes the data folder to others if it may have the database. Raises CannotRun."""
    is_embedded = settings.database_url == sqlite_url(settings.data_dir)
    if is_embedded and settings.data_dir.is_dir():
        create_folder(settings.data_dir)


def missing_sqlite_file(url: str) -> str | None:
    """Returns the SQLite file that the URL names if there is none; a connection would create it."""
    path = make_url(url).database or ""
    return path if url.startswith("sqlite") and not Path(path).is_file() else None


@contextmanager
def open_sessions(data_dir: Path) -> Iterator[Sessions]:
    """Opens the database named by ENROLL_DATABASE_URL, or SQLite in the data folder.

    Raises CannotRun if the folder does not exist, or the tables belong to a later release;
    SettingsError, DatabaseUnavailable.
    """
    from enrollment.domain.errors import DatabaseUnavailable
    from enrollment.storage import migrate

    settings = load_settings(data_dir)
    is_embedded = settings.database_url == sqlite_url(settings.data_dir)
    if is_embedded and not settings.data_dir.is_dir():
        message = (
            f"There is no database in {settings.data_dir}: run `enroll up` first, "
            "name another --data-dir, or set ENROLL_DATABASE_URL."
        )
        raise CannotRun(message)
    if (missing := missing_sqlite_file(settings.database_url)) is not None:
        message = f"there is no {missing}"
        raise DatabaseUnavailable(message)
    sessions = sessions_for(settings.database_url, pool_size=1)
    try:
        with sessions.read() as session:
            migrate.refuse_later_release(session)
        yield sessions
    except migrate.LaterRelease as error:
        raise CannotRun(str(error)) from error
    finally:
        sessions.dispose()
