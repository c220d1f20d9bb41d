"""HTTP load generator: one process, plain sockets, requests rendered in advance.

It must use much less CPU than the measured server, so it parses only the status and the
Content-Length of a response. `python -m bench.load` reads a Load as JSON and prints a LoadResult;
`run_load` starts it as a process.
"""

import gc
import json
import select
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench.stack import ROOT

#: Seconds after the last request within which all responses must arrive.
DRAIN_SECONDS = 15.0
_NUMBER = "%010d"
_END, _LENGTH = b"\r\n\r\n", b"content-length: "


class Load(NamedTuple):
    """The requests to send, their rate and their duration."""

    port: int
    #: May have one `%010d`, like the body.
    path: str
    headers: Mapping[str, str]
    #: JSON with one `%010d`, replaced by the number of the request; may be empty.
    body: str = ""
    first: int = 0
    connections: int = 128
    warm_up: float = 1.0
    seconds: float = 5.0
    #: Requests per second; None: each connection sends again as soon as it has the response.
    pace: float | None = None
    method: str = "POST"
    #: Numbers are counted from 0 again after this many.
    cycle: int | None = None
    #: Expected status.
    wanted: int = 202


class LoadResult(NamedTuple):
    """Expected responses per second, other responses by status, and latencies in milliseconds."""

    per_second: float
    #: All responses, including those of the warm-up.
    answered: int
    others: Mapping[str, int]
    p50: float
    p99: float
    longest: float


def run_load(load: Load) -> LoadResult:
    """Runs a load in a process of its own. Raises RuntimeError for unexpected responses."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(load._asdict()),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=load.warm_up + load.seconds + 2 * DRAIN_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the load generator failed:\n{done.stderr[-2000:]}")
    result = LoadResult(**json.loads(done.stdout))
    if result.others:
        raise RuntimeError(f"responses other than {load.wanted}: {result.others}")
    return result


class Generator:
    """Sends requests on all its connections and counts the responses."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._wanted = str(load.wanted).encode()
        headers = {**load.headers, "Host": "bench"}
        if load.body:
            headers["Content-Length"] = str(len(load.body % 0))
        lines = [f"{load.method} {load.path} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items())]
        head = "\r\n".join(lines).replace("%", "%%").replace(f"%{_NUMBER}", _NUMBER)
        self._template = (head + "\r\n\r\n" + load.body).encode()
        self._is_numbered = _NUMBER in load.path or bool(load.body)
        self._number = load.first
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._idle: deque[int] = deque()
        #: Time at which each pending request was due, by file descriptor.
        self._pending: dict[int, float] = {}
        self._parts: dict[int, bytes] = {}
        self._latencies: list[float] = []
        self._others: Counter[str] = Counter()

    def run(self) -> LoadResult:
        """Warms up, measures, and waits for the responses to requests that were sent in time."""
        self._connect()
        self._start = self._due = time.perf_counter()
        self._measured_from = self._start + self._load.warm_up
        self._until = self._measured_from + self._load.seconds
        while (now := time.perf_counter()) < self._until or self._pending:
            if now < self._until:
                self._send_due(now)
            elif now > self._until + DRAIN_SECONDS:
                self._others["no response"] += len(self._pending)
                break
            for fd, _ in self._poll.poll(self._poll_timeout()):
                self._receive(fd)
        return self._result()

    def _connect(self) -> None:
        for _ in range(self._load.connections):
            connection = socket.create_connection(("127.0.0.1", self._load.port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setblocking(False)  # noqa: FBT003
            fd = connection.fileno()
            self._sockets[fd] = connection
            self._poll.register(fd, select.EPOLLIN)
            self._idle.append(fd)

    def _send_due(self, now: float) -> None:
        """Sends the requests that are due; without an idle connection they are sent late."""
        pace = self._load.pace
        while self._idle and (pace is None or self._due <= now):
            fd = self._idle.popleft()
            self._pending[fd] = now if pace is None else self._due
            if pace is not None:
                self._due += 1 / pace
            request = self._rendered()
            self._number += 1
            if self._sockets[fd].send(request) != len(request):
                raise RuntimeError("a request did not fit into its socket")

    def _rendered(self) -> bytes:
        """Returns the request with the next number."""
        if not self._is_numbered:
            return self._template % ()
        cycle = self._load.cycle
        return self._template % (self._number if cycle is None else self._number % cycle)

    def _poll_timeout(self) -> float:
        if self._load.pace is None or not self._idle:
            return 1.0
        return max(0.0, min(1.0, self._due - time.perf_counter()))

    def _receive(self, fd: int) -> None:
        data = self._sockets[fd].recv(65_536)
        if not data:
            raise RuntimeError("the server closed a connection")
        if fd in self._parts:
            data = self._parts.pop(fd) + data
        if not _is_complete(data):
            self._parts[fd] = data
            return
        now = time.perf_counter()
        due = self._pending.pop(fd)
        self._idle.append(fd)
        if data[9:12] != self._wanted:
            self._others[data[9:12].decode()] += 1
        elif self._measured_from <= now < self._until or (
            self._load.pace is not None and due >= self._measured_from
        ):
            self._latencies.append(now - due)

    def _result(self) -> LoadResult:
        ordered = sorted(self._latencies) or [float("inf")]
        return LoadResult(
            per_second=len(self._latencies) / self._load.seconds,
            answered=self._number - self._load.first,
            others=self._others,
            p50=_percentile_ms(ordered, 0.50),
            p99=_percentile_ms(ordered, 0.99),
            longest=ordered[-1] * 1000,
        )


def _percentile_ms(ordered: Sequence[float], fraction: float) -> float:
    """Returns a percentile of sorted latencies (seconds), in milliseconds."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))] * 1000


def _is_complete(data: bytes) -> bool:
    end = data.find(_END)
    at = data[:end].lower().find(_LENGTH)
    if end < 0 or at < 0:
        return False
    length = int(data[at + len(_LENGTH) : data.find(b"\r", at)])
    return len(data) >= end + len(_END) + length


if __name__ == "__main__":
    gc.disable()
    print(json.dumps(Generator(Load(**json.load(sys.stdin))).run()._asdict()))
