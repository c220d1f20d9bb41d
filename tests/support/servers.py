"""Real servers for tests and benchmarks, started here and stopped at the end.

This module does not need pytest. A server is taken from the environment if it names one
(`ENROLL_TEST_POSTGRES_URL`, a SQLAlchemy URL, and `ENROLL_TEST_REDIS_URL`), else started from the
installed wheels or the programs on this machine. `ServerMissing` is raised if there is none.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count, islice
from pathlib import Path
from typing import Any, Self

import psycopg
import redis
from fakeredis import TcpFakeServer
from sqlalchemy.engine import make_url

from tests.support.binaries import postgres_programs, redis_program
from tests.support.temporary_folders import working_folder

LOOPBACK = "127.0.0.1"
NOBODY = 65534
START_SECONDS = 30.0
STOP_SECONDS = 10.0
ATTEMPTS = (
    3  # a free port may be taken meanwhile; the helpers of a killed server may take a moment to end
)

# Commits survive a killed server, since the kernel has them, but not a power cut.
NOT_DURABLE = ("fsync=off", "full_page_writes=off")
#: The durability settings of PostgreSQL in docker-compose.yml.
AS_IN_PRODUCTION = ("shared_buffers=1GB", "max_wal_size=4GB")


#: Ports that the kernel does not give to connections: while a server is away, nobody takes its port,
#: and a client that tries to connect to it does not meet itself.
_PORTS = range(10_240, 32_000)
#: Each test process begins elsewhere.
_tried_ports = count(os.getpid() * 7_919)


def free_port() -> int:
    """Returns a loopback port that is free, and that this process did not return before."""
    for number in islice(_tried_ports, len(_PORTS)):
        port = _PORTS[number % len(_PORTS)]
        with socket.socket() as probe, suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port
    raise RuntimeError("no port is free")


class _Server:
    """A server process that can be stopped, killed, suspended and restarted on the same port."""

    death_signal = signal.SIGKILL

    def __init__(self, folder: Path, port: int | None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._port_is_given = port is not None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server does not run"
        return self._process.pid

    def command(self) -> Sequence[str | Path]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def user(self) -> int:
        return -1

    def start(self) -> Self:
        """Starts the server and waits until it answers."""
        for _ in range(ATTEMPTS):
            self._process = self._spawn()
            if self._wait_until_it_answers():
                self._port_is_given = True  # a restarted server keeps its port
                return self
            self.kill()
            if not self._port_is_given:
                self.port = free_port()
        raise RuntimeError(f"{type(self).__name__} did not start:\n{self._last_words()}")

    def stop(self) -> None:
        """Stops the server in order."""
        if self._process is not None:
            self.release()
            self._process.send_signal(signal.SIGINT)
            self._bury()

    def kill(self) -> None:
        """Kills the server."""
        if self._process is not None:
            self._signal_family(signal.SIGKILL)
            self._bury()

    def hold(self) -> None:
        """Suspends the server: connections stay open without answers."""
        self._signal_family(signal.SIGSTOP)

    def release(self) -> None:
        """Resumes a suspended server."""
        self._signal_family(signal.SIGCONT)

    def _signal_family(self, what: signal.Signals) -> None:
        """Signals the server, then its helpers; each helper of PostgreSQL has its own session."""
        for pid in (self.pid, *_children(self.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, what)

    def _bury(self) -> None:
        process, self._process = self._process, None
        assert process is not None
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _spawn(self) -> subprocess.Popen[bytes]:
        tie = Path(__file__).with_name("parent_death.py")
        tied = [sys.executable, "-I", "-S", tie, os.getpid(), int(self.death_signal), self.user()]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [str(word) for word in (*tied, *self.command())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C is for the tests; they stop their servers
            )

    def _wait_until_it_answers(self) -> bool:
        process = self._process
        assert process is not None
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if self.answers():
                return (
                    process.poll() is None
                )  # another server may answer, on a port that was taken meanwhile
            time.sleep(0.02)
        return False

    def _last_words(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-2000:]


class PostgresServer(_Server):
    """A PostgreSQL cluster; `durable` writes as in production, else as fast as possible."""

    death_signal = signal.SIGQUIT  # ends its helper processes as well

    def __init__(self, folder: Path, *, port: int | None = None, durable: bool = False) -> None:
        super().__init__(folder, port)
        self.durable = durable
        self._programs = postgres_programs()
        self._data = folder / "data"

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@{LOOPBACK}:{self.port}/postgres"

    def user(self) -> int:
        return NOBODY if os.geteuid() == 0 else -1

    def initialise(self) -> Self:
        """Creates the files of the cluster."""
        if (user := self.user()) >= 0:
            self.folder.chmod(0o755)
            self._data.mkdir()
            os.chown(self._data, user, user)
        tie = Path(__file__).with_name("parent_death.py")
        tied = [sys.executable, "-I", "-S", tie, os.getpid(), int(signal.SIGKILL), user]
        initdb = [self._programs / "initdb", "-D", self._data, "-U", "postgres", "-A", "trust"]
        options = ["-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        done = subprocess.run(
            [str(word) for word in (*tied, *initdb, *options)],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed:\n{done.stdout}{done.stderr}")
        return self

    def command(self) -> Sequence[str | Path]:
        settings = [
            f"port={self.port}",
            f"listen_addresses={LOOPBACK}",
            "unix_socket_directories=",
            "max_connections=200",
            "timezone=UTC",
            *(AS_IN_PRODUCTION if self.durable else NOT_DURABLE),
        ]
        words: list[str | Path] = [self._programs / "postgres", "-D", self._data]
        for setting in settings:
            words += ["-c", setting]
        return words

    def answers(self) -> bool:
        try:
            with psycopg.connect(_plain(self.url), connect_timeout=2) as connection:
                row = connection.execute("SHOW data_directory").fetchone()
        except psycopg.OperationalError:
            return False
        return row is not None and row[0] == str(self._data)


class RedisServer(_Server):
    """A Redis server; without an append-only file its data is lost at its end."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        appendonly: bool = False,
        program: Path | None = None,
    ) -> None:
        super().__init__(folder, port)
        self.appendonly = appendonly
        self._program = program or redis_program()

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    def command(self) -> Sequence[str | Path]:
        settings = {
            "--port": str(self.port),
            "--bind": LOOPBACK,
            "--dir": str(self.folder),
            "--save": "",
            "--appendonly": "yes" if self.appendonly else "no",
            "--maxmemory-policy": "noeviction",
        }
        return [self._program, *(word for pair in settings.items() for word in pair)]

    def answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=2) as client:
                return bool(client.info("server")["process_id"] == self.pid)
        except redis.RedisError:
            return False


@contextmanager
def postgres_server(
    *, durable: bool = False, port: int | None = None, own: bool = False
) -> Iterator[str]:
    """Yields the URL of a server for new databases; `own` ignores a named one."""
    if not own and (named := os.environ.get("ENROLL_TEST_POSTGRES_URL")):
        yield named
        return
    with postgres_process(durable=durable, port=port) as server:
        yield server.url


@contextmanager
def postgres_process(*, durable: bool = False, port: int | None = None) -> Iterator[PostgresServer]:
    """Starts a PostgreSQL for tests that stop, kill or suspend it."""
    with ExitStack() as stack:
        folder = stack.enter_context(working_folder(on_disk=durable))
        server = PostgresServer(folder, port=port, durable=durable).initialise()
        stack.callback(server.stop)
        yield server.start()


@contextmanager
def redis_server(
    *, appendonly: bool = False, port: int | None = None, own: bool = False
) -> Iterator[str]:
    """Yields the URL of a Redis; special options ignore a named one."""
    named = os.environ.get("ENROLL_TEST_REDIS_URL")
    if named and not (own or appendonly or port):
        yield named
        return
    with redis_process(appendonly=appendonly, port=port) as server:
        yield server.url


@contextmanager
def redis_process(*, appendonly: bool = False, port: int | None = None) -> Iterator[RedisServer]:
    """Starts a Redis for tests that stop, kill or suspend it."""
    with ExitStack() as stack:
        folder = stack.enter_context(working_folder(on_disk=appendonly))
        server = RedisServer(folder, port=port, appendonly=appendonly)
        stack.callback(server.stop)
        yield server.start()


def create_database(base_url: str, *, template: str | None = None) -> str:
    """Creates a database, empty or a copy of `template` (which must be unused); returns its URL."""
    name = f"test_{uuid.uuid4().hex}"
    copied = f' TEMPLATE "{template}"' if template else ""
    _administer(base_url, f'CREATE DATABASE "{name}"{copied}')
    return make_url(base_url).set(database=name).render_as_string(hide_password=False)


def drop_database(base_url: str, url: str) -> None:
    """Removes a database and terminates its sessions."""
    _administer(base_url, f'DROP DATABASE IF EXISTS "{make_url(url).database}" WITH (FORCE)')


@contextmanager
def embedded_redis(port: int | None = None) -> Iterator[str]:
    """Yields the URL of fakeredis behind a TCP port, in threads of this process.

    It replaces the one that the service embeds, to test parts without the service; the embedded one
    is tested through the service.
    """
    server = _PromptFakeServer((LOOPBACK, port or 0))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="embedded-redis")
    thread.start()
    try:
        yield f"redis://{LOOPBACK}:{server.server_address[1]}/0"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _PromptFakeServer(TcpFakeServer):
    """Sends at once: Nagle's algorithm would delay each answer by 40 ms."""

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address


def _children(parent: int) -> list[int]:
    """Returns the children of a process, if the system has them in /proc."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            if int(status.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(status.parent.name))
    return found


def _administer(base_url: str, statement: str) -> None:
    with psycopg.connect(_plain(base_url), autocommit=True) as connection:
        connection.execute(statement)


def _plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://", 1)
