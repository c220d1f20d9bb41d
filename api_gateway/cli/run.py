"""`enroll gateway`, `enroll worker` and `enroll beat`: one process each, for production."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from api_gateway.cli.context import close_data_folder, process_settings
from api_gateway.cli.exit_codes import CannotRun
from api_gateway.cli.output import examples_and_variables
from api_gateway.server.listening import LISTEN_BACKLOG
from enrollment.runtime.private_files import restrict_new_files

#: Seconds in which `/readyz` is 503 before a production gateway stops accepting connections.
DRAIN_SECONDS = 5.0
#: Lanes that `--lanes` accepts, for its help.
LANE_CHOICES = ("upkeep", "interactive", "submit", "bulk")


#: Variables that matter most to each process; `enroll doctor --settings` lists all.
_VARIABLES = ("ENROLL_DATABASE_URL", "ENROLL_REDIS_URL", "ENROLL_BROKER_URL", "ENROLL_LOG_LEVEL")


@click.command(
    epilog=examples_and_variables(
        "enroll gateway --host 0.0.0.0 --port 8000", variables=(*_VARIABLES, "ENROLL_DEFAULT_WAIT")
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
@click.option("--fd", type=int, hidden=True, help="File descriptor of a listening socket.")
@click.option(
    "--drain-seconds",
    default=DRAIN_SECONDS,
    show_default=True,
    type=click.FloatRange(0, 3600),
    help="After SIGTERM, seconds in which /readyz is 503 before the socket closes.",
)
def gateway(host: str, port: int, fd: int | None, drain_seconds: float) -> None:
    """Run a gateway: serve HTTP (settings come from the environment)."""
    from api_gateway import asgi
    from api_gateway.server.gateway_server import GatewayServer, connection_limits
    from enrollment.runtime import logs

    restrict_new_files()
    settings = process_settings()
    close_data_folder(settings)
    logs.configure(settings.log_level, process="gateway")
    if fd is None:
        with listener(host, port):  # of an address in use the server says so in its log only
            sockets = None
    else:
        sockets = [socket.socket(fileno=fd)]
    server = GatewayServer(
        asgi.create,
        limits=connection_limits(settings.max_connections, settings.max_connections_per_address),
        drain_seconds=drain_seconds,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[*settings.trusted_proxies],
        host=host,
        port=port,
    )
    server.run(sockets)
    if not server.started:
        message = "The gateway did not start; see the log above."
        raise CannotRun(message)


@contextmanager
def listener(host: str, port: int) -> Iterator[socket.socket]:
    """Opens the socket of a gateway; its backlog holds callers during a restart.

    Raises CannotRun if the address cannot be used.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=LISTEN_BACKLOG)
    except socket.gaierror as error:
        message = f"{host} is not an address or a host name. Choose another with --host."
        raise CannotRun(message) from error
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        message = f"Cannot listen on {host}:{port}: {reason}. Choose another with --port."
        raise CannotRun(message) from error
    with listening:
        yield listening


def _check_lanes(_ctx: click.Context, _param: click.Parameter, lanes: str | None) -> str | None:
    for lane in lanes.split(",") if lanes is not None else ():
        if lane.strip().lower() not in LANE_CHOICES:
            message = f"{lane.strip()!r} is not one of {', '.join(LANE_CHOICES)}"
            raise click.BadParameter(message)
    return lanes


@click.command(
    epilog=examples_and_variables(
        "enroll worker",
        "enroll worker --lanes interactive,upkeep",
        variables=(*_VARIABLES, "ENROLL_METRICS_PORT"),
    )
)
@click.option(
    "--lanes",
    callback=_check_lanes,
    metavar="A,B,…",
    help=f"Lanes to process: {', '.join(LANE_CHOICES)}  [default: all]",
)
def worker(lanes: str | None) -> None:
    """Run a worker: process accepted requests (settings come from the environment)."""
    process_settings()
    exec_worker("--lanes", lanes) if lanes else exec_worker()


@click.command(
    epilog=examples_and_variables(
        "enroll beat", variables=(*_VARIABLES, "ENROLL_EVENT_STREAM", "ENROLL_REQUEST_STREAM")
    )
)
def beat() -> None:
    """Run the schedule of periodic tasks; one such process is enough."""
    process_settings()
    exec_worker("beat")


def exec_worker(*arguments: str) -> None:
    """Replaces this process by a worker process; the gateway may not import `worker`."""
    command = [sys.executable, "-P", "-m", "worker", *arguments]
    os.execv(sys.executable, command)  # noqa: S606 (our own program)
