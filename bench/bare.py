"""The framework's bare endpoint: takes a body, answers 202 with as many bytes as we do."""

import argparse
import socket
from http import HTTPStatus

import falcon.asgi
import uvicorn
from falcon.asgi import Request, Response

from bench.stack import BACKLOG, BASE


class Bare:
    """Reads and answers; keeps nothing."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    async def on_post(self, req: Request, resp: Response) -> None:
        """Answer 202."""
        await req.stream.read()
        resp.status = HTTPStatus.ACCEPTED
        resp.content_type = "application/json"
        resp.data = self._answer

    async def on_get(self, req: Request, resp: Response) -> None:
        """Say that it runs."""


def main() -> None:
    """Serve with the settings of ``enroll gateway``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bytes", type=int, required=True)
    parser.add_argument("--fd", type=int, required=True)
    options = parser.parse_args()
    app: falcon.asgi.App[Request, Response] = falcon.asgi.App()
    app.add_route(f"{BASE}/enrollment", Bare(b"." * options.bytes))
    config = uvicorn.Config(
        app,
        backlog=BACKLOG,
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
    )
    uvicorn.Server(config).run([socket.socket(fileno=options.fd)])


if __name__ == "__main__":
    main()
