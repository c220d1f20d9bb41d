"""The service on nine hosts: each process, server and folder belongs to one of them."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg

from api_gateway.auth.api_keys import new_api_key
from enrollment.storage import migrate
from enrollment.storage.credentials import api_keys
from enrollment.storage.engine.sessions import sessions_for
from tests.scale_out.network import SUBNET, Network
from tests.support.binaries import ServerMissing
from tests.support.servers import PostgresServer, RedisServer
from tests.support.service_processes import API, Running, bare, is_ready, wait_until
from tests.support.temporary_folders import working_folder

GATEWAYS = ("gateway1", "gateway2")
WORKERS = ("worker1", "worker2")
HOSTS = {
    "proxy": 10,
    **dict(zip(GATEWAYS, (11, 12), strict=True)),
    **dict(zip(WORKERS, (21, 22), strict=True)),
    "beat": 31,
    "database": 41,
    "redis": 51,
    "client": 99,
}
DELAY_MS, LOSS_PERCENT = 1.0, 0.1
HTTP_PORT, DATABASE_PORT, REDIS_PORT = 8000, 5432, 6379
#: Header in which the proxy names the gateway of an answer.
SERVED_BY = "X-Served-By"
#: Debian keeps it where only root's PATH leads.
_PLACES = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
#: A gateway whose host is silent is noticed by TCP in 15 s: its callers need not wait for longer.
_PROXY = """
global
    log stdout format raw daemon notice
defaults
    mode http
    log global
    option redispatch
    retries 2
    retry-on conn-failure
    timeout connect 3s
    timeout http-request 10s
    timeout client 60s
    timeout server 90s
    timeout queue 10s
frontend service
    bind :{port}
    default_backend gateways
backend gateways
    balance roundrobin
    option httpchk
    http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host localhost
    http-check expect status 200
    http-response set-header {header} %s
    option srvtcpka
    srvtcpka-idle 5s
    srvtcpka-intvl 5s
    srvtcpka-cnt 2
    default-server check inter 2s fall 2 rise 1 pool-purge-delay 2s tcp-ut 15s
"""


class Database(PostgresServer):
    """PostgreSQL for all hosts of the network; it is started inside of its own."""

    def allow_network(self) -> None:
        """Lets all hosts in."""
        with (self.folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {SUBNET}.0/24 trust\n")

    def command(self) -> Sequence[str | Path]:
        return [*super().command(), "-c", "listen_addresses=*"]


class Queue(RedisServer):
    """Redis for all hosts of the network."""

    def command(self) -> Sequence[str | Path]:
        return [*super().command(), "--bind", "0.0.0.0", "--protected-mode", "no"]


class Deployment:
    """Two gateways behind HAProxy, two workers, beat, PostgreSQL and Redis."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network = network
        self.folder = folder
        self.running: dict[str, Running] = {}
        self.key = ""
        database, queue = network.address("database"), network.address("redis")
        self.database_url = f"postgresql+psycopg://postgres@{database}:{DATABASE_PORT}/postgres"
        self.redis_url = f"redis://{queue}:{REDIS_PORT}/0"
        self.url = f"http://{network.address('proxy')}:{HTTP_PORT}"

    def prepare(self, stack: ExitStack) -> None:
        """Creates the tables and an admin key; connects for `query`."""
        migrate.upgrade(self.database_url)
        sessions = sessions_for(self.database_url, pool_size=1)
        self.key, digest = new_api_key()
        with sessions.begin() as session:
            scopes = frozenset({"admin"})
            api_keys.add(session, name="t", scopes=scopes, digest=digest, now=datetime.now(UTC))
        sessions.dispose()
        plain = self.database_url.replace("+psycopg", "")
        self._session = stack.enter_context(psycopg.connect(plain, autocommit=True))

    def start(self, stack: ExitStack) -> None:
        """Starts all processes; waits until the proxy reaches both gateways."""
        bind = ("--host", "0.0.0.0", "--port", HTTP_PORT)
        for host in (*GATEWAYS, *WORKERS, "beat"):
            kind = host.rstrip("12")
            self._start(host, stack, kind, *(bind if kind == "gateway" else ()))
        for host in GATEWAYS:
            url = f"http://{self.network.address(host)}:{HTTP_PORT}"
            wait_until(lambda url=url: is_ready(url), self.log)
        self._start("proxy", stack, "-db", "-f", self._proxy_configuration(), program=proxy())
        wait_until(lambda: is_ready(self.url), self.log)

    def client(self, timeout: float = 15.0) -> httpx.Client:
        """Returns a client with the admin key, for this thread's host."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=f"{self.url}{API}", headers=headers, timeout=timeout)

    def query(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        """Returns the rows of a query in the client's own session."""
        return self._session.execute(statement, parameters or None).fetchall()

    def log(self) -> str:
        """Returns the last lines of each process."""
        return "\n".join(f"--- {host}\n{one.log()[-1500:]}" for host, one in self.running.items())

    def _start(self, host: str, stack: ExitStack, *words: object, program: str = "") -> None:
        folder = self.folder / host
        folder.mkdir()
        settings = bare(
            ENROLL_DATABASE_URL=self.database_url,
            ENROLL_REDIS_URL=self.redis_url,
            ENROLL_DATA_DIR=str(folder),
            ENROLL_TRUSTED_PROXIES=self.network.address("proxy"),
        )
        running = Running(folder, words, settings)
        if program:
            running.program = [program]
        with self.network.inside(host):
            self.running[host] = running.start()
        stack.callback(running.bury)

    def _proxy_configuration(self) -> Path:
        file = self.folder / "haproxy.cfg"
        servers = "".join(
            f"    server {host} {self.network.address(host)}:{HTTP_PORT}\n" for host in GATEWAYS
        )
        file.write_text(_PROXY.format(port=HTTP_PORT, header=SERVED_BY) + servers)
        return file


def proxy() -> str:
    """Returns the path of HAProxy. Raises ServerMissing."""
    found = shutil.which("haproxy", path=_PLACES)
    if found is None:
        raise ServerMissing("no HAProxy: install Debian's haproxy (tests/servers/fetch.sh does)")
    return found


@contextmanager
def deployed(folder: Path, *, durable: bool = False) -> Iterator[Deployment]:
    """Starts everything; the block runs on the client's host. Everything ends with it."""
    proxy()
    with ExitStack() as stack:
        network = Network(HOSTS, delay_ms=DELAY_MS, loss=LOSS_PERCENT)
        stack.enter_context(network)
        files = stack.enter_context(working_folder(on_disk=durable))
        database = Database(files, port=DATABASE_PORT, durable=durable).initialise()
        database.allow_network()
        stack.callback(database.stop)
        with network.inside("database"):
            database.start()
        queue = Queue(stack.enter_context(working_folder()), port=REDIS_PORT)
        stack.callback(queue.stop)
        with network.inside("redis"):
            queue.start()
        stack.enter_context(network.inside("client"))
        deployment = Deployment(network, folder)
        deployment.prepare(stack)
        deployment.start(stack)
        yield deployment
