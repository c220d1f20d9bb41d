"""`Expect: 100-continue` (RFC 9110, 10.1.1): the client sends its body once it is wanted."""

from typing import Any


class DeferredContinue:
    """The channel of a request whose client waits for `100 Continue`.

    Servers send it when the application first receives, which Falcon does before it
    authenticates. So the first event is an empty part of the body, and `100 Continue` is sent
    when the body is read. A response without it closes the connection, because the client may
    send the body after all or not.
    """

    def __init__(self, receive: Any, send: Any) -> None:
        self._receive = receive
        self._send = send
        self._has_started = False
        self._is_body_wanted = False

    async def receive(self) -> Any:
        """Returns the next event, the first time an empty part of the body."""
        if not self._has_started:
            self._has_started = True
            return {"type": "http.request", "body": b"", "more_body": True}
        self._is_body_wanted = True
        return await self._receive()

    async def send(self, message: Any) -> None:
        """Sends an event; the start of a response to an unread body closes the connection."""
        if message["type"] == "http.response.start" and not self._is_body_wanted:
            message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await self._send(message)
