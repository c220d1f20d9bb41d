"""An LMS on a real socket that keeps enrollments, and fails as a script says."""

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

CLIENT_ID, CLIENT_SECRET, API_KEY = "lms-client", "lms-secret", "lms-key"
CREATED = "2026-01-02T03:04:05.678901Z"


class Reply(NamedTuple):
    """An answer."""

    status: int
    body: object = None
    headers: Mapping[str, str] = {}


class Fault(NamedTuple):
    """What happens to one request: an answer, no answer in time, or a closed connection."""

    reply: Reply | None = None
    #: Whether the request has its effect first.
    applies: bool = False
    hangs: bool = False


def refuses(status: int, message: str = "No.", **headers: str) -> Fault:
    """Answers with a status; `Retry_After` becomes `Retry-After`."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault(Reply(status, {"message": message}, fields))


def says(body: object, status: int = 200) -> Fault:
    """Answers with a body."""
    return Fault(Reply(status, body))


DROPS, DROPS_AFTER = Fault(), Fault(applies=True)
HANGS_AFTER = Fault(applies=True, hangs=True)


class ScriptedLms:
    """Keeps enrollments in memory. `faults` of a path are used up one after another."""

    def __init__(self, *, page_size: int = 2) -> None:
        self.states: dict[tuple[str, str], dict[str, Any]] = {}
        self.courses: dict[str, dict[str, Any]] = {}
        self.faults: dict[str, list[Fault]] = {}
        #: Bodies of all requests to enroll, and how many of them changed something.
        self.posts: list[dict[str, Any]] = []
        self.changes = 0
        self.tokens_given = 0
        self.credentials: list[str] = []
        #: Places from which enrollments were listed.
        self.places: list[str] = []
        self.expires_in: object = 3_600
        #: Replaces the address in links to the next page.
        self.link_root = ""
        self._page_size = page_size
        self._valid: set[str] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        """Starts to listen."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops listening."""
        self._ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def forget_tokens(self) -> None:
        """Makes all tokens invalid."""
        with self._lock:
            self._valid.clear()

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        """Answers a request, or fails as the script says."""
        at = urlsplit(request.path)
        path = unquote(at.path).rstrip("/")
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        with self._lock:
            script = self.faults.get(path, [])
            fault = script.pop(0) if script else None
            reply: Reply | None = None
            if fault is None or fault.applies:
                reply = self._reply(request, path, dict(parse_qsl(at.query)), body)
        if fault is not None and fault.hangs:
            self._ended.wait(30)
        reply = reply if fault is None else fault.reply
        if reply is None:
            request.close_connection = True
            return
        _send(request, reply)

    def _reply(
        self, request: BaseHTTPRequestHandler, path: str, params: dict[str, str], body: bytes
    ) -> Reply:
        if path == "/oauth2/access_token":
            return self._give_token(body)
        if not self._is_known(request):
            return Reply(401, {"detail": "Authentication credentials were not provided."})
        if path == "/api/enrollment/v1/enrollment":
            return self._enroll(json.loads(body))
        if path == "/api/enrollment/v1/enrollments":
            return self._list(params)
        if path == "/api/courses/v1/courses":
            return self._catalog(params)
        course_id = path.removeprefix("/api/enrollment/v1/course/")
        details = self.courses.get(course_id)
        return Reply(404, {"message": "none"}) if details is None else Reply(200, details)

    def _give_token(self, body: bytes) -> Reply:
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return Reply(401, {"error": "invalid_client"})
        self.tokens_given += 1
        token = f"token{self.tokens_given}"
        self._valid.add(token)
        return Reply(200, {"access_token": token, "expires_in": self.expires_in})

    def _is_known(self, request: BaseHTTPRequestHandler) -> bool:
        sent = request.headers.get("Authorization", "")
        self.credentials.append(sent)
        key = request.headers.get("X-Edx-Api-Key")
        return key == API_KEY or sent.removeprefix("JWT ") in self._valid

    def _enroll(self, asked: dict[str, Any]) -> Reply:
        """Follows 3.6 of the observed API, for a privileged caller."""
        self.posts.append(asked)
        course_id, user = asked["course_details"]["course_id"], asked["user"]
        is_active, mode = asked.get("is_active", True), asked.get("mode")
        before = self.states.get((course_id, user))
        if before and before["is_active"] and not is_active and mode not in {None, before["mode"]}:
            text = (
                f"Enrollment mode mismatch: active mode={before['mode']}, "
                f"requested mode={mode}. Won't deactivate."
            )
            return Reply(400, {"message": text})
        kept = before["mode"] if before else "audit"
        after = {"mode": mode or kept, "is_active": is_active}
        self.changes += after != before
        self.states[course_id, user] = after
        shown = {"created": CREATED, "user": user, "course_details": {"course_id": course_id}}
        return Reply(200, {**shown, **after})

    def _list(self, params: dict[str, str]) -> Reply:
        wanted = params.get("course_id")
        rows = [
            {"course_id": course_id, "user": user, "created": CREATED, **state}
            for (course_id, user), state in sorted(self.states.items(), reverse=True)
            if wanted in {None, course_id}
        ]
        start = int(params.get("cursor", "0"))
        self.places.append(f"{wanted or ''}{start}")
        return Reply(200, self._page(rows, start, "/api/enrollment/v1/enrollments?cursor="))

    def _catalog(self, params: dict[str, str]) -> Reply:
        rows = [{"id": course_id, "course_id": course_id} for course_id in self.courses]
        start = (int(params.get("page", "1")) - 1) * self._page_size
        page = self._page(rows, start, "")
        number = start // self._page_size + 2
        following = page["next"] and f"{self.link_root or self.url}/?page={number}"
        return Reply(200, {"results": page["results"], "pagination": {"next": following}})

    def _page(self, rows: list[dict[str, Any]], start: int, link: str) -> dict[str, Any]:
        end = start + self._page_size
        more = f"{self.link_root or self.url}{link}{end}" if end < len(rows) else None
        return {"next": more, "previous": None, "results": rows[start:end]}


def _handler_of(lms: ScriptedLms) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            lms.serve(self)

        do_POST: Callable[..., None] = do_GET  # noqa: N815 (names of the library)

        def log_message(self, *_: object) -> None:
            """The test reports errors itself."""

    return Handler


def _send(request: BaseHTTPRequestHandler, reply: Reply) -> None:
    body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
    try:
        request.send_response(reply.status)
        for name, value in reply.headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
    except OSError:  # the client did not wait
        request.close_connection = True
