"""ASGI middleware that records client disconnects in the scope of the request."""

import asyncio
from typing import Any

#: Key in the scope that is present once the client has disconnected.
DISCONNECTED = "enroll.disconnected"
#: Key in the scope of a callback that is called on disconnect.
ON_DISCONNECT = "enroll.on_disconnect"
#: Key in the scope that is present once the server has cut off the request at its shutdown.
CUT_OFF = "enroll.cut_off"


def track_disconnects(app: Any) -> Any:
    """Wraps an ASGI app so that it can distinguish an interrupted body from a complete one.

    Falcon's stream ends in the same way after a disconnect and after a chunked body. A request
    that the server cut off ends without an exception, because the server has responded to it.
    """

    async def tracking(scope: Any, receive: Any, send: Any) -> None:
        async def tracked() -> Any:
            event = await receive()
            if event["type"] == "http.disconnect":
                scope[DISCONNECTED] = True
                scope.get(ON_DISCONNECT, _ignore)()
            return event

        try:
            await app(scope, tracked if scope["type"] == "http" else receive, send)
        except asyncio.CancelledError:
            if CUT_OFF not in scope:
                raise

    return tracking


def _ignore() -> None:
    """Does nothing: the callback of requests that registered none."""
