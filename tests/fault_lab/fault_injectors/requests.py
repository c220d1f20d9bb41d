"""Request faults: poison rows, slow clients, oversized bodies, bursts, contention for seats."""

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from tests.fault_lab.fault_injectors.base import (
    POSTGRESQL,
    SQLITE,
    Fault,
    RunContext,
    armed_failpoints,
)
from tests.fault_lab.load.client import Client, RequestedChange
from tests.fault_lab.load.generator import Load
from tests.fault_lab.load.workload import Mix
from tests.fault_lab.stack.stack import NO_OVERRIDES, Overrides
from tests.fault_lab.stack.supervised_process import SupervisedProcess
from tests.support.service_processes import API

LOOPBACK = "127.0.0.1"
MEGABYTE = 2**20


def _new_client(context: RunContext, name: str) -> Client:
    return context.exits.enter_context(context.load.new_client(name))


def _course(
    context: RunContext, client: Client, course_id: str, capacity: int | None = None
) -> None:
    """Creates a course; retries while faults are active."""
    context.moment(lambda: client.course(course_id, capacity=capacity), seconds=30)


class Poison(Fault):
    code = "F25"
    title = "rows that raise, and rows that end their worker, alone and in files (S6)"
    short = (SQLITE,)
    pause = (0.3, 0.8)
    patience = 120.0
    sorts = ("poisonraise", "poisoncrash")

    def overrides(self) -> Overrides:
        return armed_failpoints(
            worker="work.judging=raise@poisonraise;work.judging=crash@poisoncrash"
        )

    def prepare(self) -> None:
        self.numbers = count(1)
        self.client = _new_client(self.context, "poisoner")
        self.course = f"course-v1:{self.context.run}+Poison+2026"
        _course(self.context, self.client, self.course)

    def inject(self) -> None:
        name = f"{self.choose(self.sorts)}{next(self.numbers)}"
        poisonous = RequestedChange(name, self.course)
        if self.random.random() < 0.5:
            self.context.load.watch(self.client.single(poisonous, poison=True))
            return
        rows = [RequestedChange(f"beside{next(self.numbers)}", self.course) for _ in range(40)]
        rows[self.random.randrange(len(rows))] = poisonous
        self.context.load.watch(self.client.file(rows, poison=True))

    def verify(self) -> None:
        for sort in self.sorts:
            self.witness_logged(f'"about": "{sort}', self.stack.workers)


class SlowPoison(Poison):
    title = "rows that take longer than any work may (S6)"
    where = (POSTGRESQL,)
    short = ()
    most_seeds = 1  # it takes minutes
    seconds = 60.0  # a time limit is 20 s
    pause = (1.0, 2.0)
    sorts = ("poisonsleep",)
    patience = 300.0

    def overrides(self) -> Overrides:
        return armed_failpoints(worker="work.judging=sleep:60@poisonsleep")

    def inject(self) -> None:
        """Sends one poison request: it blocks a worker up to the time limit."""
        if next(self.numbers) == 1:
            change = RequestedChange("poisonsleep1", self.course)
            self.context.load.watch(self.client.single(change, poison=True))

    def heal(self) -> None:
        """Ends the slowness: a request that stays slow is retried until it is parked."""
        self.stack.apply_overrides(NO_OVERRIDES)


class SlowClients(Fault):
    code = "F32"
    title = "slow headers, slow bodies, silent connections beside the load"
    where = (SQLITE,)
    pause = (0.05, 0.1)
    max_p99 = 2.0
    most = 100

    def prepare(self) -> None:
        self.open: list[socket.socket] = []

    def inject(self) -> None:
        """Sends a few more bytes on each slow connection, and reads nothing."""
        if len(self.open) < self.most:
            port = self.choose(self.stack.ports)
            one = self.context.exits.enter_context(socket.create_connection((LOOPBACK, port)))
            begin = self.choose([b"", b"POST ", _head(5_000_000) + b"{"])
            one.sendall(begin)
            self.open.append(one)
        for one in self.random.sample(self.open, min(20, len(self.open))):
            with suppress(OSError):
                one.sendall(b" ")
        if len(self.open) == self.most // 2:
            self.context.witness(slow_clients=len(self.open))


class BodyBombs(Fault):
    code = "F33"
    title = "bodies too large, without end, too deep, packed, with 20,000 headers"
    where = (SQLITE,)
    pause = (0.05, 0.2)
    #: Maximum growth of a gateway, in megabytes.
    growth = 200

    def prepare(self) -> None:
        self.before = {one.name: _megabytes(one) for one in self.stack.gateways}
        self.packed = gzip.compress(b" " * (64 * MEGABYTE), compresslevel=1)

    def inject(self) -> None:
        sort, send = self.choose(list(self._sorts().items()))
        port = self.choose(self.stack.ports)
        began = time.monotonic()
        try:
            answer = _exchange(port, send())
        except OSError as error:
            answer = repr(error)
        seconds = round(time.monotonic() - began, 2)
        self.context.witness(bomb=sort, answer=answer[:60], seconds=seconds)
        if answer.startswith(("HTTP/1.1 5", "HTTP/1.1 2")):
            self.context.problems.append(f"{sort}: {answer[:60]}")

    def _sorts(self) -> dict[str, Callable[[], Iterator[bytes]]]:
        key = self.stack.key
        deep = b'{"user":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        digits = b'{"user": ' + b"9" * 5_000 + b', "course_details": {"course_id": "a"}}'
        packed = self.packed
        twice = b'{"user":"a","user":"b","course_details":{"course_id":"course-v1:a+b+c"}}'
        return {
            "100 MB": lambda: iter([_head(100 * MEGABYTE, key), *[b"x" * MEGABYTE] * 100]),
            "no end": lambda: _endless(key),
            "too deep": lambda: iter([_head(len(deep), key), deep]),
            "5,000 digits": lambda: iter([_head(len(digits), key), digits]),
            "NaN": lambda: iter([_head(3, key), b"NaN"]),
            "a name twice": lambda: iter([_head(len(twice) + 1, key), twice + b"]"]),
            "packed": lambda: iter([_head(len(packed), key, "Content-Encoding: gzip\r\n"), packed]),
            "20,000 headers": lambda: iter(
                [b"GET /livez HTTP/1.1\r\n", *[b"X-A: b\r\n"] * 20_000, b"\r\n"]
            ),
        }

    def verify(self) -> None:
        for one in self.stack.gateways:
            grown = _megabytes(one) - self.before[one.name]
            self.context.note("memory", of=one.name, grown_megabytes=round(grown))
            if grown > self.growth:
                self.context.problems.append(f"{one.name} grew by {grown:.0f} MB")


def _head(length: int, key: str = "", more: str = "") -> bytes:
    """Returns the head of a request with a body."""
    return (
        f"POST {API}/enrollment HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\n{more}Content-Length: {length}\r\n\r\n"
    ).encode()


def _endless(key: str) -> Iterator[bytes]:
    head = _head(0, key).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    yield head
    chunk = b"100000\r\n" + b"x" * MEGABYTE + b"\r\n"
    for _ in range(200):
        yield chunk


def _exchange(port: int, parts: Iterator[bytes]) -> str:
    """Sends all parts unless the connection closes; returns the first line of the answer."""
    with socket.create_connection((LOOPBACK, port), timeout=10) as connection:
        with suppress(OSError):
            for part in parts:
                connection.sendall(part)
        return connection.recv(4096).decode(errors="replace").partition("\r\n")[0] or "closed"


def _megabytes(one: SupervisedProcess) -> float:
    """Returns the resident memory of a process."""
    with suppress(OSError):
        pages = int(Path(f"/proc/{one.pid}/statm").read_text().split()[1])
        return pages * 4096 / MEGABYTE
    return 0.0


class Burst(Fault):
    code = "F34"
    title = "ten times as much as usual for some seconds, then the backlog"
    pause = (1.0, 2.0)
    seconds = 8.0
    patience = 120.0
    mix = Mix(singles=60.0, files=1.0)

    def prepare(self) -> None:
        stack, context = self.stack, self.context
        burst = Mix(singles=600.0, single_clients=16, files=10.0, file_clients=3, rows=(1000, 1000))
        run, seed = f"{context.run}-burst", self.random.randrange(10**6)
        since = context.since
        self.burst = context.exits.enter_context(
            Load(stack.urls, stack.key, context.history, seed, run=run, mix=burst, since=since)
        )
        self.burst.prepare()
        self.has_started = False

    def inject(self) -> None:
        """Starts the burst once and watches it for some seconds."""
        if self.has_started:
            return
        self.has_started = True
        before = self.burst.accepted_items
        self.burst.start()
        for _ in range(5):
            time.sleep(1)
            self.context.witness(
                waiting=self.stack.pending(), accepted=self.burst.accepted_items - before
            )
        self.burst.stop()

    def verify(self) -> None:
        if not self.burst.settle(self.patience):
            self.context.problems.append("the crowd's backlog is not worked off")


class LastSeat(Fault):
    code = "F35"
    title = "hundreds want a few seats, some give theirs back, the capacity changes meanwhile (S6)"
    pause = (0.05, 0.2)
    callers = 12
    people = 400

    def prepare(self) -> None:
        self.courses = [f"course-v1:{self.context.run}+Last{number}+2026" for number in (1, 2)]
        self.operator = _new_client(self.context, "keeper")
        for course in self.courses:
            _course(self.context, self.operator, course, 1)
        self.clients = [_new_client(self.context, f"stampede{n}") for n in range(self.callers)]

    def inject(self) -> None:
        course, other = self.random.sample(self.courses, 2)
        capacity = self.random.choice([1, 2, 3, 5, 10])
        changes = [self._changes(course, other) for _ in self.clients]
        threads = [
            threading.Thread(target=_send_all, args=(self.context.load, client, requested))
            for client, requested in zip(self.clients, changes, strict=True)
        ]
        for one in threads:
            one.start()
        _course(self.context, self.operator, course, capacity)
        for one in threads:
            one.join()
        self.context.witness(requested=sum(map(len, changes)), course=course, capacity=capacity)

    def _changes(self, course: str, other: str) -> list[RequestedChange]:
        """Draws requests: some enroll, some leave, some change from one course to the other."""
        changes = []
        for _ in range(6):
            user = f"racer{self.random.randrange(self.people)}"
            leaves = self.random.random() < 0.4
            changes.append(RequestedChange(user, course, not leaves))
            if leaves:
                changes.append(RequestedChange(user, other))
        return changes


def _send_all(load: Load, client: Client, changes: list[RequestedChange]) -> None:
    for change in changes:
        load.watch(client.single(change))
