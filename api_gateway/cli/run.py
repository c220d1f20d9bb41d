"""`enroll gateway`, `worker` and `beat`: one process each, as production runs them."""

import os
import sys

import click

#: Connections that may wait to be taken.
BACKLOG = 2048
#: Seconds that requests under way are given when the gateway ends.
GRACE_SECONDS = 10


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option("--fd", type=int, hidden=True, help="A socket that listens already.")
def gateway(host: str, port: int, fd: int | None) -> None:
    """Serve HTTP in this process (settings come from the environment)."""
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
        backlog=BACKLOG,
        http="api_gateway.http.write_coalescing:CoalescingProtocol",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    listening = None if fd is None else [socket.socket(fileno=fd)]
    server = uvicorn.Server(config)
    server.run(listening)
    if not server.started:
        raise SystemExit(1)


@click.command()
@click.option("--lanes", help="Queues to work on, in order (default: all).", metavar="A,B,…")
def worker(lanes: str | None) -> None:
    """Judge what was accepted (settings come from the environment)."""
    exec_worker("--lanes", lanes) if lanes else exec_worker()


@click.command()
def beat() -> None:
    """Ring for what is due; one of these is enough."""
    exec_worker("beat")


def exec_worker(*arguments: str) -> None:
    """The two doors never import each other: this process becomes the other one."""
    command = [sys.executable, "-P", "-m", "worker", *arguments]
    os.execv(sys.executable, command)  # noqa: S606 (our own program)
