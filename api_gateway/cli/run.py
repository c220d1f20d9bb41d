"""`enroll gateway`, `enroll worker` and `enroll beat`: one process each, for production."""

import os
import sys

import click

#: Seconds in which `/readyz` is 503 before a production gateway stops accepting connections.
DRAIN_SECONDS = 5.0


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
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
    import socket

    from api_gateway import asgi
    from api_gateway.server.gateway_server import GatewayServer, connection_limits
    from enrollment.runtime import logs
    from enrollment.runtime.settings import from_env

    settings = from_env()
    logs.configure(settings.log_level, process="gateway")
    server = GatewayServer(
        asgi.create,
        limits=connection_limits(settings.max_connections, settings.max_connections_per_address),
        drain_seconds=drain_seconds,
        host=host,
        port=port,
    )
    server.run(None if fd is None else [socket.socket(fileno=fd)])
    if not server.started:
        raise SystemExit(1)


@click.command()
@click.option("--lanes", help="Lanes to process, in order (default: all).", metavar="A,B,…")
def worker(lanes: str | None) -> None:
    """Run a worker: process accepted requests (settings come from the environment)."""
    exec_worker("--lanes", lanes) if lanes else exec_worker()


@click.command()
def beat() -> None:
    """Run the schedule of periodic tasks; one such process is enough."""
    exec_worker("beat")


def exec_worker(*arguments: str) -> None:
    """Replaces this process by a worker process; the gateway may not import `worker`."""
    command = [sys.executable, "-P", "-m", "worker", *arguments]
    os.execv(sys.executable, command)  # noqa: S606 (our own program)
