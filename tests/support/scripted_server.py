"""A server with scripted answers, for tests of clients."""

import json
import socket
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

API = "/api/enrollment/v1"
ID = "0199aaaa-0000-7000-8000-000000000000"
COUNTS = {"total": 3, "pending": 0, "enrolled": 3, "refused": 0, "invalid": 0, "cancelled": 0}
DONE = {"submission_id": ID, "state": "done", "result": "succeeded", "counts": COUNTS}
FAILED = {
    **DONE,
    "result": "partial",
    "counts": {**COUNTS, "enrolled": 1, "refused": 2},
    "reasons": {"course_full": 2},
}
QUEUED = {
    **DONE,
    "state": "queued",
    "result": None,
    "counts": {**COUNTS, "pending": 3, "enrolled": 0},
}


class Heard(NamedTuple):
    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    status: int = 200
    body: object = None
    headers: Mapping[str, str] = {}


class Scripted:
    """Gives the answers of each address one after another; the last one is repeated."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], list[Answer]] = {}
        self.heard: list[Heard] = []
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                scripted._answer(self)

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 (names of the library)

            def log_message(self, *_: object) -> None:
                """The test reports errors itself."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def on(self, method: str, path: str, *answers: Answer) -> None:
        self.answers[method, API + path] = list(answers)

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        at = urlsplit(request.path)
        path = unquote(at.path)
        self.heard.append(
            Heard(
                request.command,
                path,
                dict(parse_qsl(at.query)),
                {name.lower(): value for name, value in request.headers.items()},
                _body(request),
            )
        )
        script = self.answers.get((request.command, path), [Answer(404, {"detail": "no"})])
        answer = script.pop(0) if len(script) > 1 else script[0]
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        request.send_response(answer.status)
        for name, value in answer.headers.items():
            request.send_header(name, value)
        if answer.status not in {204, 304}:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if answer.status not in {204, 304}:
            request.wfile.write(body)


def _body(request: BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("Transfer-Encoding") != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length", 0)))
    body = b""
    while size := int(request.rfile.readline(), 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return body


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
