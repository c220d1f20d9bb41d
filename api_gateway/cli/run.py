"""`enroll gateway`, `enroll worker` and `enroll beat`: one process each, for production."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from api_gateway.cli.exit_codes import CannotRun
from api_gateway.cli.output import examples

#: Maximum number of connections that wait to be accepted.
LISTEN_BACKLOG = 2048
#: Seconds for requests in progress when the gateway shuts down.
SHUTDOWN_GRACE_SECONDS = 10


@click.command(epilog=examples("enroll gateway --host 0.0.0.0 --port 8000"))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 selects a free one.",
)
@click.option("--fd", type=int, hidden=True, help="File descriptor of a listening socket.")
def gateway(host: str, port: int, fd: int | None) -> None:
    """Run a gateway: serve HTTP (settings come from the environment)."""
    import uvicorn

    from enrollment.runtime import logs
    from enrollment.runtime.settings import from_env

    logs.configure(from_env().log_level, process="gateway")
    config = uvicorn.Config(
        "api_gateway.asgi:create",
        factory=True,
        host=host,
        port=port,
        backlog=LISTEN_BACKLOG,
        http="api_gateway.http.write_coalescing:CoalescingProtocol",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    if fd is None:
        with listener(host, port):  # of an address in use uvicorn says so in its log only
            sockets = None
    else:
        sockets = [socket.socket(fileno=fd)]
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
    from enrollment.runtime.broker import QueueName

    known = [queue.name.lower() for queue in QueueName]
    for lane in lanes.split(",") if lanes is not None else ():
        if lane.strip().lower() not in known:
            message = f"{lane.strip()!r} is not one of {', '.join(known)}"
            raise click.BadParameter(message)
    return lanes


@click.command(epilog=examples("enroll worker", "enroll worker --lanes interactive,upkeep"))
@click.option(
    "--lanes",
    callback=_check_lanes,
    metavar="A,B,…",
    help="Lanes to process: upkeep, interactive, bulk  [default: all]",
)
def worker(lanes: str | None) -> None:
    """Run a worker: process accepted requests (settings come from the environment)."""
    exec_worker("--lanes", lanes) if lanes else exec_worker()


@click.command(epilog=examples("enroll beat"))
def beat() -> None:
    """Run the schedule of periodic tasks; one such process is enough."""
    exec_worker("beat")


def exec_worker(*arguments: str) -> None:
    """Replaces this process by a worker process; the gateway may not import `worker`."""
    command = [sys.executable, "-P", "-m", "worker", *arguments]
    os.execv(sys.executable, command)  # noqa: S606 (our own program)
