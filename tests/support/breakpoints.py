"""Stops transactions at a statement, so that a race happens every time."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any, Self

from sqlalchemy import event

from enrollment.storage.engine.sessions import Sessions

#: Seconds after which a race that did not happen fails its test.
PATIENCE = 20.0


@contextmanager
def meeting(sessions: Sessions, statement: str, parties: int = 2) -> Iterator[None]:
    """Makes each thread wait for the others before its first statement with this prefix."""
    barrier = threading.Barrier(parties)
    met = threading.local()

    def wait(_connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        if sql.startswith(statement) and not hasattr(met, "others"):
            met.others = True
            barrier.wait(PATIENCE)

    event.listen(sessions.engine, "before_cursor_execute", wait)
    try:
        yield
    finally:
        event.remove(sessions.engine, "before_cursor_execute", wait)


class Breakpoint:
    """Stops the first transaction that reaches a statement, until it is released."""

    def __init__(self, sessions: Sessions, statement: str) -> None:
        self._statement = statement
        self._engine = sessions.engine
        self._reached = threading.Event()
        self._go = threading.Event()

    def __enter__(self) -> Self:
        event.listen(self._engine, "before_cursor_execute", self._wait)
        return self

    def __exit__(self, *_: object) -> None:
        self._go.set()
        event.remove(self._engine, "before_cursor_execute", self._wait)

    def _wait(self, _connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        if sql.startswith(self._statement) and not self._reached.is_set():
            self._reached.set()
            assert self._go.wait(PATIENCE), "nobody let the transaction go on"

    def until_reached(self) -> None:
        """Waits until a transaction is stopped."""
        assert self._reached.wait(PATIENCE), f"nothing came to {self._statement}"

    def go_on(self) -> None:
        """Releases the transaction."""
        self._go.set()


class Side:
    """A thread whose result is returned, and whose error fails the test."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._failure: BaseException | None = None
        self._answer: Any = None
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._answer = self._work()
        except BaseException as error:  # noqa: BLE001 (told by join)
            self._failure = error

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> Any:
        """Waits for the end; returns the result or raises the error."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the thread does not end"
        if self._failure is not None:
            raise self._failure
        return self._answer


def together(*works: Callable[[], Any]) -> list[Any]:
    """Runs all concurrently; returns their results in order."""
    sides = [Side(work) for work in works]
    return [side.join() for side in sides]
