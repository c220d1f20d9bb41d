"""Work that goes on behind one's back: PostgreSQL writes what is judged while more is judged."""

import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self


class Behind:
    """Does things one after the other in a thread of its own; leaving it waits for the last.

    What a thing raises, leaving raises, or whoever asks for the next before. Without
    ``is_apart`` each is done where it is asked for: SQLite would have nobody else do it.
    """

    def __init__(self, *, is_apart: bool) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="behind") if is_apart else None
        self._last: Future[None] | None = None

    def do(self, thing: Callable[[], None]) -> None:
        """Do it after everything that was asked for before."""
        if self._pool is None:
            thing()
            return
        if self._last is not None and self._last.done():
            self._last.result()
        self._last = self._pool.submit(_after, self._last, contextvars.copy_context(), thing)

    def __enter__(self) -> Self:
        """Nothing is to be done yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait; where the block failed, that is told, not what went wrong behind it."""
        if self._pool is None:
            return
        self._pool.shutdown(wait=True, cancel_futures=kind is not None)
        if kind is None and self._last is not None:
            self._last.result()


def _after(
    last: Future[None] | None, context: contextvars.Context, thing: Callable[[], None]
) -> None:
    """Nothing is done after something that failed."""
    if last is not None:
        last.result()
    context.run(thing)
