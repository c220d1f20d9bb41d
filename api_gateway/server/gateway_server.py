"""uvicorn with an orderly shutdown: drain, stop accepting, finish, then cut off what remains."""

import asyncio
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

import structlog
import uvicorn

from api_gateway.http.draining import Draining
from api_gateway.server.connection_guard import ConnectionGuard, ConnectionLimits
from api_gateway.server.guarded_protocol import GuardedProtocol
from api_gateway.server.listening import (
    LISTEN_BACKLOG,
    max_open_connections,
    raise_descriptor_limit,
)

log = structlog.get_logger()

#: Seconds for requests in progress when the gateway shuts down.
SHUTDOWN_GRACE_SECONDS = 10.0
#: Seconds in which clients receive the response of a request that was cut off.
CUT_OFF_SECONDS = 0.5
_TICK_SECONDS = 0.1


def connection_limits(wanted: int, per_address: int | None) -> ConnectionLimits:
    """Returns the limits of this process after raising its limit of open files.

    Without `per_address`, one address may have half of all connections: enough for a proxy, and
    others are left some.
    """
    most = max_open_connections(wanted, raise_descriptor_limit())
    if most < wanted:
        log.warning("connection.limit_lowered", wanted=wanted, limit=most)
    return ConnectionLimits(most, per_address or max(1, most // 2))


class GatewayServer(uvicorn.Server):
    """Serves one application; SIGTERM ends it with status 0."""

    def __init__(
        self,
        make_app: Callable[[Draining], Any],
        *,
        limits: ConnectionLimits,
        drain_seconds: float,
        grace_seconds: float = SHUTDOWN_GRACE_SECONDS,
        **config: Any,
    ) -> None:
        """`make_app` makes the ASGI application; `config` are arguments of `uvicorn.Config`."""
        self._draining = Draining()
        self._drain_seconds = drain_seconds
        self._grace_seconds = grace_seconds
        protocol = partial(GuardedProtocol, guard=ConnectionGuard(limits), draining=self._draining)
        super().__init__(
            uvicorn.Config(
                partial(make_app, self._draining),
                factory=True,
                backlog=LISTEN_BACKLOG,
                http=protocol,  # type: ignore[arg-type]
                ws="none",
                lifespan="on",
                access_log=False,
                log_config=None,
                server_header=False,
                **config,
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins the shutdown. uvicorn would raise SIGTERM again at its end."""
        if sig == signal.SIGTERM:
            self.should_exit = True
        else:
            super().handle_exit(sig, frame)

    async def main_loop(self) -> None:
        """Serves until a signal, then drains: load balancers see 503 from `/readyz` first."""
        await super().main_loop()
        self._draining.begin()
        log.info("gateway.draining", seconds=self._drain_seconds)
        deadline, ticks = time.monotonic() + self._drain_seconds, 0
        while time.monotonic() < deadline and not self.force_exit:
            await asyncio.sleep(_TICK_SECONDS)
            ticks += 1
            await self.on_tick(ticks)  # the Date header

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Closes the listening socket, and each connection once its request is answered."""
        self._draining.begin()
        cutting = asyncio.create_task(self._cut_off())
        try:
            await super().shutdown(sockets)
        finally:
            cutting.cancel()
            with suppress(asyncio.CancelledError):
                await cutting

    async def _cut_off(self) -> None:
        """Responds 503 to the requests that are not answered within the grace period."""
        await asyncio.sleep(self._grace_seconds)
        log.warning("gateway.cut_off", requests=len(self.server_state.tasks))
        for connection in self._guarded():
            connection.cut_off()
        for task in list(self.server_state.tasks):
            task.cancel()
        await asyncio.sleep(CUT_OFF_SECONDS)
        for connection in self._guarded():
            connection.transport.abort()

    def _guarded(self) -> list[GuardedProtocol]:
        connections = self.server_state.connections
        return [each for each in connections if isinstance(each, GuardedProtocol)]
