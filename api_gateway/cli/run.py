"""`enroll gateway`, `enroll worker` and `enroll beat`: one process each, for production."""

import os
import sys

import click

#: Maximum number of connections that wait to be accepted.
LISTEN_BACKLOG = 2048
#: Seconds for requests in progress when the gateway shuts down.
SHUTDOWN_GRACE_SECONDS = 10


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option("--fd", type=int, hidden=True, help="File descriptor of a listening socket.")
def gateway(host: str, port: int, fd: int | None) -> None:
    """Run a gateway: serve HTTP (settings come from the environment)."""
    import socket

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
    sockets = None if fd is None else [socket.socket(fileno=fd)]
    server = uvicorn.Server(config)
    server.run(sockets)
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
