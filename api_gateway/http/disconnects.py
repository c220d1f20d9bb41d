"""ASGI middleware that records client disconnects in the request's scope."""

from typing import Any

#: Key in the scope that is set once the client has disconnected.
DISCONNECTED = "enroll.disconnected"
#: Key in the scope for a callback that is called on disconnect.
ON_DISCONNECT = "enroll.on_disconnect"


def track_disconnects(app: Any) -> Any:
    """Wrap an ASGI app so that an interrupted body can be told from a complete one.

    Falcon's stream just ends when a client disconnects, as it does after a chunked body.
    """

    async def tracking(scope: Any, receive: Any, send: Any) -> None:
        async def tracked() -> Any:
            event = await receive()
            if event["type"] == "http.disconnect":
                scope[DISCONNECTED] = True
                scope.get(ON_DISCONNECT, _ignore)()
            return event

        await app(scope, tracked if scope["type"] == "http" else receive, send)

    return tracking


def _ignore() -> None:
    """The callback of a request that registered none."""
