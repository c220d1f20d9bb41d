"""A receiver that does nothing: its answer to a POST is 204, to a GET their number.

To a POST of a state, as an LMS gets it, the answer is that the state is there.
"""

import argparse
import socket

import uvicorn
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

from bench.stack import BACKLOG

STATE_PATH = "/api/enrollment/v1/enrollment"
_STATE = b'{"mode":"audit","is_active":true}'


class BareReceiver:
    """Counts the requests that it has read."""

    def __init__(self) -> None:
        self._received = 0

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        is_post = scope["method"] == "POST"
        while (await receive()).get("more_body"):
            continue
        self._received += is_post
        status, body = 200, str(self._received).encode()
        if is_post:
            status, body = (200, _STATE) if scope["path"] == STATE_PATH else (204, b"")
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-length", str(len(body)).encode())],
                "trailers": False,
            }
        )
        await send({"type": "http.response.body", "body": body, "more_body": False})


def main() -> None:
    """Serves on an inherited socket."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    options = parser.parse_args()
    config = uvicorn.Config(
        BareReceiver(),
        backlog=BACKLOG,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
    )
    uvicorn.Server(config).run([socket.socket(fileno=options.fd)])


if __name__ == "__main__":
    main()
