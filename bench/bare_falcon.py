"""Baseline: bare Falcon endpoints with responses of a given length."""

import argparse
import socket
from http import HTTPStatus

import falcon.asgi
import uvicorn
from falcon.asgi import Request, Response

from bench.stack import BACKLOG, BASE


class Bare:
    """Reads each request and responds with constant bytes."""

    def __init__(self, response: bytes) -> None:
        self._response = response

    async def on_post(self, req: Request, resp: Response) -> None:
        """Responds 202."""
        await req.stream.read()
        resp.status = HTTPStatus.ACCEPTED
        resp.content_type = "application/json"
        resp.data = self._response

    async def on_get(self, req: Request, resp: Response, **_names: str) -> None:
        """Responds 200 to every path."""
        resp.content_type = "application/json"
        resp.data = self._response


def main() -> None:
    """Serves on an inherited socket, with the settings of `enroll gateway`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bytes", type=int, required=True)
    parser.add_argument("--fd", type=int, required=True)
    options = parser.parse_args()
    app: falcon.asgi.App[Request, Response] = falcon.asgi.App()
    bare = Bare(b"." * options.bytes)
    for path in ("enrollment", "enrollment/{names:path}", "course/{id:path}", "submissions/{id}"):
        app.add_route(f"{BASE}/{path}", bare)
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
