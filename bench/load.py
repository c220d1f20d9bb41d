"""The load generator: one process, plain sockets, requests rendered beforehand.

It must cost much less than what it measures, so it knows of HTTP only what it needs: it finds
the end of an answer by its Content-Length and looks at the status. ``python -m bench.load``
reads a Load as JSON and prints a Heard; ``applied`` runs it so.
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

#: Seconds after the last request within which all answers must have come.
LAST_ANSWERS_SECONDS = 15.0
_END, _LENGTH = b"\r\n\r\n", b"content-length: "


class Load(NamedTuple):
    """What is asked, how often, and for how long."""

    port: int
    path: str
    headers: Mapping[str, str]
    #: JSON with one ``%010d``, which each request fills with a number of its own; may be empty.
    body: str = ""
    first: int = 0
    connections: int = 128
    warm_up: float = 1.0
    seconds: float = 5.0
    #: Requests a second; None asks again as soon as an answer came.
    pace: float | None = None
    method: str = "POST"
    #: The status that counts.
    wanted: int = 202


class Heard(NamedTuple):
    """What came back: answers as wanted a second, others, and latencies in milliseconds."""

    per_second: float
    #: All answers, those of the warm-up too.
    answered: int
    others: Mapping[str, int]
    p50: float
    p99: float
    longest: float


def applied(load: Load) -> Heard:
    """Apply a load from a process of its own. Raises RuntimeError for other answers."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(load._asdict()),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=load.warm_up + load.seconds + 2 * LAST_ANSWERS_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the load generator failed:\n{done.stderr[-2000:]}")
    heard = Heard(**json.loads(done.stdout))
    if heard.others:
        raise RuntimeError(f"answers other than {load.wanted}: {heard.others}")
    return heard


class Generator:
    """Asks on all its connections and counts the answers."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._wanted = str(load.wanted).encode()
        headers = {**load.headers, "Host": "bench"}
        if load.body:
            headers["Content-Length"] = str(len(load.body % 0))
        lines = [f"{load.method} {load.path} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items())]
        self._template = ("\r\n".join(lines).replace("%", "%%") + "\r\n\r\n" + load.body).encode()
        self._number = load.first
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._idle: deque[int] = deque()
        #: When what is not answered yet was due.
        self._asked: dict[int, float] = {}
        self._parts: dict[int, bytes] = {}
        self._latencies: list[float] = []
        self._others: Counter[str] = Counter()

    def run(self) -> Heard:
        """Warm up, then measure; what was asked in time is awaited."""
        self._connect()
        self._begin = self._due = time.perf_counter()
        self._measured_from = self._begin + self._load.warm_up
        self._until = self._measured_from + self._load.seconds
        while (now := time.perf_counter()) < self._until or self._asked:
            if now < self._until:
                self._ask(now)
            elif now > self._until + LAST_ANSWERS_SECONDS:
                self._others["no answer"] += len(self._asked)
                break
            for fd, _ in self._poll.poll(self._pause()):
                self._hear(fd)
        return self._heard()

    def _connect(self) -> None:
        for _ in range(self._load.connections):
            connection = socket.create_connection(("127.0.0.1", self._load.port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setblocking(False)  # noqa: FBT003
            fd = connection.fileno()
            self._sockets[fd] = connection
            self._poll.register(fd, select.EPOLLIN)
            self._idle.append(fd)

    def _ask(self, now: float) -> None:
        """Ask what is due; by pace, a request that found no idle connection was due before."""
        pace = self._load.pace
        while self._idle and (pace is None or self._due <= now):
            fd = self._idle.popleft()
            self._asked[fd] = now if pace is None else self._due
            if pace is not None:
                self._due += 1 / pace
            request = self._rendered()
            self._number += 1
            if self._sockets[fd].send(request) != len(request):
                raise RuntimeError("a request did not fit into its socket")

    def _rendered(self) -> bytes:
        """A request for the next number, which one without a body has no place for."""
        return self._template % (self._number if self._load.body else ())

    def _pause(self) -> float:
        if self._load.pace is None or not self._idle:
            return 1.0
        return max(0.0, min(1.0, self._due - time.perf_counter()))

    def _hear(self, fd: int) -> None:
        data = self._sockets[fd].recv(65_536)
        if not data:
            raise RuntimeError("the server closed a connection")
        if fd in self._parts:
            data = self._parts.pop(fd) + data
        if not _is_whole(data):
            self._parts[fd] = data
            return
        now = time.perf_counter()
        asked = self._asked.pop(fd)
        self._idle.append(fd)
        if data[9:12] != self._wanted:
            self._others[data[9:12].decode()] += 1
        elif self._measured_from <= now < self._until or (
            self._load.pace is not None and asked >= self._measured_from
        ):
            self._latencies.append(now - asked)

    def _heard(self) -> Heard:
        ordered = sorted(self._latencies) or [float("inf")]
        return Heard(
            per_second=len(self._latencies) / self._load.seconds,
            answered=self._number - self._load.first,
            others=self._others,
            p50=_part_of(ordered, 0.50),
            p99=_part_of(ordered, 0.99),
            longest=ordered[-1] * 1000,
        )


def _part_of(ordered: Sequence[float], part: float) -> float:
    """The latency that a part of the answers stays within, in milliseconds."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000


def _is_whole(data: bytes) -> bool:
    end = data.find(_END)
    at = data[:end].lower().find(_LENGTH)
    if end < 0 or at < 0:
        return False
    length = int(data[at + len(_LENGTH) : data.find(b"\r", at)])
    return len(data) >= end + len(_END) + length


if __name__ == "__main__":
    gc.disable()
    print(json.dumps(Generator(Load(**json.load(sys.stdin))).run()._asdict()))
