"""A receiver of webhooks that does nothing: 204 to each POST, their number to each GET."""

import argparse
import socket

import uvicorn
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

from bench.stack import BACKLOG


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
        status, body = (204, b"") if is_post else (200, str(self._received).encode())
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
