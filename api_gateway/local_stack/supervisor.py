"""Supervises the processes of a local stack: starts, restarts and stops them."""

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

#: Seconds that a process may take to stop after SIGTERM.
STOP_SECONDS = 15.0
#: Seconds before a process is restarted: the first time, and the maximum.
MIN_RESTART_PAUSE = 0.1
MAX_RESTART_PAUSE = 5.0
#: A process that ran this many seconds is restarted with the minimum pause again.
STABLE_AFTER_SECONDS = 10.0

_PARENT_DEATH = str(Path(__file__).with_name("parent_death.py"))
_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
log = structlog.get_logger(__name__)


class Program(NamedTuple):
    """A program to be kept running."""

    name: str
    command: Sequence[str]
    #: File descriptors that it inherits.
    files: Sequence[int] = ()


class SignalListener:
    """Handles signals during a `with` block in the main thread, and waits for them."""

    def __init__(self) -> None:
        #: Number of signals received, except SIGCHLD.
        self.stop_requests = 0
        self._previous_handlers: list[tuple[signal.Signals, object]] = []

    def __enter__(self) -> Self:
        """Installs the signal handlers."""
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._previous_handlers = [
            (number, signal.signal(number, self._on_signal)) for number in _SIGNALS
        ]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Restores the previous signal handlers."""
        for number, handler in self._previous_handlers:
            signal.signal(number, handler)  # type: ignore[arg-type]
        os.close(self._reader)
        os.close(self._writer)

    def wait(self, seconds: float) -> None:
        """Waits these seconds, or until a signal is received."""
        if select.select([self._reader], [], [], max(0.0, seconds))[0]:
            os.read(self._reader, 4096)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self.stop_requests += 1
        try:
            os.write(self._writer, b"!")
        except BlockingIOError:  # the pipe is full, so `wait` returns anyway
            return


class Child:
    """One program, running or waiting for its restart."""

    def __init__(self, program: Program, environment: Mapping[str, str]) -> None:
        self.program = program
        self.process: subprocess.Popen[bytes] | None = None
        self.starts_at = 0.0
        self._environment = environment
        self._started_at = 0.0
        self._pause = MIN_RESTART_PAUSE

    def start(self, now: float) -> int:
        """Starts the program and returns its process id.

        It gets its own session, so that only the supervisor receives Ctrl-C.
        """
        wrapper = [sys.executable, "-I", "-S", _PARENT_DEATH, "run", str(os.getpid())]
        self.process = subprocess.Popen(  # noqa: S603 (our own programs)
            [*wrapper, *self.program.command],
            stdin=subprocess.DEVNULL,
            env=self._environment,
            pass_fds=self.program.files,
            start_new_session=True,
        )
        self._started_at = now
        log.info("process.started", name=self.program.name, pid=self.process.pid)
        return self.process.pid

    def reap(self, now: float) -> int | None:
        """Handles a death: kills the process group and schedules the restart.

        Returns the process id; None if the program has not died.
        """
        if self.process is None or self.is_running:
            return None
        pid, status, self.process = self.process.pid, self.process.returncode, None
        kill_group(pid)
        if now - self._started_at >= STABLE_AFTER_SECONDS:
            self._pause = MIN_RESTART_PAUSE
        self.starts_at = now + self._pause
        log.warning(
            "process.died", name=self.program.name, pid=pid, status=status, again_in=self._pause
        )
        self._pause = min(self._pause * 2, MAX_RESTART_PAUSE)
        return pid

    @property
    def is_running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal, if the process was started."""
        if self.process is not None:
            self.process.send_signal(number)


class Supervisor:
    """Starts programs in order, restarts those that die, stops them in order.

    Use it from the main thread: on Linux children are killed when the thread that started them
    ends.
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
        """Starts all programs; call `supervise` to restart those that die."""
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
        """Stops all programs and the guard."""
        self.stop()
        self._guard.communicate()
        self._signals.__exit__(kind, error, traceback)

    def supervise(self, seconds: float) -> bool:
        """Restarts dead processes for these seconds; returns False after a signal to stop."""
        deadline = self._clock() + seconds
        while not self._signals.stop_requests and (now := self._clock()) < deadline:
            self._reap_dead()
            self._start_due()
            self._ensure_guard()
            restarts = [child.starts_at for child in self.children if child.process is None]
            self._signals.wait(min([deadline, *restarts]) - now)
        return not self._signals.stop_requests

    def stop(self) -> None:
        """Stops all processes; kills those that take too long, and all after another signal."""
        requests_before = self._signals.stop_requests
        deadline = self._clock() + self._stop_seconds
        for child in self.children:
            child.send_signal(signal.SIGTERM)
        while self._running() and self._signals.stop_requests == requests_before:
            if (now := self._clock()) >= deadline:
                break
            self._signals.wait(deadline - now)
        for child in self._running():
            log.warning("process.killed", name=child.program.name)
            child.send_signal(signal.SIGKILL)
        for child in self.children:
            self._wait_and_kill(child)

    def _running(self) -> list[Child]:
        return [child for child in self.children if child.is_running]

    def _wait_and_kill(self, child: Child) -> None:
        """Waits for the end of a process, then kills the rest of its group."""
        if child.process is None:
            return
        status = child.process.wait()
        kill_group(child.process.pid)
        self._update_guard("-", child.process.pid)
        log.info("process.stopped", name=child.program.name, status=status)
        child.process = None

    def _reap_dead(self) -> None:
        for child in self.children:
            if (pid := child.reap(self._clock())) is not None:
                self._update_guard("-", pid)

    def _start_due(self) -> None:
        now = self._clock()
        for child in self.children:
            if child.process is None and child.starts_at <= now:
                self._update_guard("+", child.start(now))

    def _ensure_guard(self) -> None:
        """Replaces a dead guard and sends it all process groups."""
        if self._guard.poll() is None:
            return
        log.warning("guard.died", status=self._guard.returncode)
        self._guard.communicate()
        self._guard = _new_guard()
        for child in self.children:
            if child.process is not None:
                self._update_guard("+", child.process.pid)

    def _update_guard(self, change: str, pid: int) -> None:
        """Adds (`+`) or removes (`-`) a process group in the guard."""
        stdin = self._guard.stdin
        if stdin is None or self._guard.poll() is not None:
            return
        with suppress(BrokenPipeError):  # `_ensure_guard` replaces it
            stdin.write(f"{change}{pid}\n".encode())


def _new_guard() -> "subprocess.Popen[bytes]":
    """Starts the process that kills all groups if the supervisor dies."""
    return subprocess.Popen(  # noqa: S603 (our own program)
        [sys.executable, "-I", "-S", _PARENT_DEATH, "guard"],
        stdin=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    )
