"""Keeps a stack's processes running on one machine, and takes them all along when it ends."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import NamedTuple, Self

import structlog

from api_gateway.local_stack.parent_death import kill_group

#: Seconds that a process may take to end in good order.
STOP_SECONDS = 15.0
#: Seconds before a process is started again: the first time, and at most.
MIN_RESTART_PAUSE = 0.1
MAX_RESTART_PAUSE = 5.0
#: Who ran so long starts with the first pause again.
STABLE_AFTER_SECONDS = 10.0

_PARENT_DEATH = str(Path(__file__).with_name("parent_death.py"))
_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
_log = structlog.get_logger(__name__)


class Program(NamedTuple):
    """A process to keep running."""

    name: str
    command: Sequence[str]
    #: Open files that it inherits.
    files: Sequence[int] = ()


class SignalListener:
    """Hears signals from inside a ``with`` in the main thread, and can wait for one."""

    def __init__(self) -> None:
        self.stop_requests = 0
        self._before: list[tuple[signal.Signals, object]] = []

    def __enter__(self) -> Self:
        """Signals are heard from here on."""
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._before = [(number, signal.signal(number, self._hear)) for number in _SIGNALS]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Signals mean again what they meant before."""
        for number, handler in self._before:
            signal.signal(number, handler)  # type: ignore[arg-type]
        os.close(self._reader)
        os.close(self._writer)

    def wait(self, seconds: float) -> None:
        """Wait so long, or until something is heard."""
        if select.select([self._reader], [], [], max(0.0, seconds))[0]:
            os.read(self._reader, 4096)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self.stop_requests += 1
        try:
            os.write(self._writer, b"!")
        except BlockingIOError:  # it will wake up for what is there already
            return


class Child:
    """One program: running, or waiting to be started again."""

    def __init__(self, program: Program, environment: Mapping[str, str]) -> None:
        self.program = program
        self.process: subprocess.Popen[bytes] | None = None
        self.starts_at = 0.0
        self._environment = environment
        self._started_at = 0.0
        self._pause = MIN_RESTART_PAUSE

    def start(self, now: float) -> int:
        """Start it in a session of its own, so that Ctrl-C reaches the supervisor alone."""
        tie = [sys.executable, "-I", "-S", _PARENT_DEATH, "run", str(os.getpid())]
        self.process = subprocess.Popen(  # noqa: S603 (our own programs)
            [*tie, *self.program.command],
            stdin=subprocess.DEVNULL,
            env=self._environment,
            pass_fds=self.program.files,
            start_new_session=True,
        )
        self._started_at = now
        _log.info("process.started", name=self.program.name, pid=self.process.pid)
        return self.process.pid

    def reap(self, now: float) -> int | None:
        """If it has died, kill what it left, note when to start it again; its process id."""
        if self.process is None or self.is_running:
            return None
        pid, status, self.process = self.process.pid, self.process.returncode, None
        kill_group(pid)
        if now - self._started_at >= STABLE_AFTER_SECONDS:
            self._pause = MIN_RESTART_PAUSE
        self.starts_at = now + self._pause
        _log.warning(
            "process.died", name=self.program.name, pid=pid, status=status, again_in=self._pause
        )
        self._pause = min(self._pause * 2, MAX_RESTART_PAUSE)
        return pid

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self.process is not None:
            self.process.send_signal(number)


class Supervisor:
    """Starts programs in their order, starts again what dies, stops them in their order.

    To be used from the main thread: on Linux its end is what the children die with.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        environment: Mapping[str, str],
        *,
        stop_seconds: float = STOP_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.children = [Child(program, environment) for program in programs]
        self._stop_seconds = stop_seconds
        self._clock = clock
        self._signals = SignalListener()

    def __enter__(self) -> Self:
        """Everything is started, and goes on so while ``attend`` is called."""
        self._signals.__enter__()
        self._guard = _new_guard()
        self._start_due()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Everything has ended."""
        self.stop()
        self._guard.communicate()
        self._signals.__exit__(kind, error, traceback)

    def supervise(self, seconds: float) -> bool:
        """Look after the processes for a while; False as soon as one is asked to stop."""
        until = self._clock() + seconds
        while not self._signals.stop_requests and (now := self._clock()) < until:
            self._reap_dead()
            self._start_due()
            self._ensure_guard()
            due = [child.starts_at for child in self.children if child.process is None]
            self._signals.wait(min([until, *due]) - now)
        return not self._signals.stop_requests

    def stop(self) -> None:
        """End all in good order; who is late is killed, and everybody when asked again."""
        told_before = self._signals.stop_requests
        until = self._clock() + self._stop_seconds
        for child in self.children:
            child.send_signal(signal.SIGTERM)
        while self._running() and self._signals.stop_requests == told_before:
            if (now := self._clock()) >= until:
                break
            self._signals.wait(until - now)
        for child in self._running():
            _log.warning("process.killed", name=child.program.name)
            child.send_signal(signal.SIGKILL)
        for child in self.children:
            self._wait_and_kill(child)

    def _running(self) -> list[Child]:
        return [child for child in self.children if child.is_running]

    def _wait_and_kill(self, child: Child) -> None:
        if child.process is None:
            return
        status = child.process.wait()
        kill_group(child.process.pid)
        self._tell_guard("-", child.process.pid)
        _log.info("process.stopped", name=child.program.name, status=status)
        child.process = None

    def _reap_dead(self) -> None:
        for child in self.children:
            if (pid := child.reap(self._clock())) is not None:
                self._tell_guard("-", pid)

    def _start_due(self) -> None:
        now = self._clock()
        for child in self.children:
            if child.process is None and child.starts_at <= now:
                self._tell_guard("+", child.start(now))

    def _ensure_guard(self) -> None:
        """A guard that died is followed by one that hears of everybody."""
        if self._guard.poll() is None:
            return
        _log.warning("guard.died", status=self._guard.returncode)
        self._guard.communicate()
        self._guard = _new_guard()
        for child in self.children:
            if child.process is not None:
                self._tell_guard("+", child.process.pid)

    def _tell_guard(self, change: str, pid: int) -> None:
        stdin = self._guard.stdin
        if stdin is None or self._guard.poll() is not None:
            return
        with suppress(BrokenPipeError):  # the next look finds it dead
            stdin.write(f"{change}{pid}\n".encode())


def _new_guard() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 (our own program)
        [sys.executable, "-I", "-S", _PARENT_DEATH, "guard"],
        stdin=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    )
