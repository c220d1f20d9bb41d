"""Caches the results of a query for some seconds; asks once for all who wait for the same one."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, TypeVar

V = TypeVar("V")


class Found(NamedTuple, Generic[V]):
    """A result, and the time until which it may be used."""

    value: V
    expires_at: float


class CachedLookup(Generic[V]):
    """Looks values up by a text. Bounded; belongs to one event loop."""

    def __init__(
        self,
        look_up: Callable[[str], Awaitable[V]],
        *,
        seconds: float,
        clock: Callable[[], float],
        max_entries: int,
    ) -> None:
        """A result is used for `seconds` of the clock from the beginning of its query."""
        self._look_up = look_up
        self._seconds = seconds
        self._clock = clock
        self._max_entries = max_entries
        self._found: OrderedDict[str, Found[V]] = OrderedDict()
        self._running: dict[str, asyncio.Task[Found[V]]] = {}

    async def get(self, key: str) -> Found[V]:
        """Returns the value of a key; raises what the query raises."""
        found = self._found.get(key)
        if found is not None and self._clock() < found.expires_at:
            self._found.move_to_end(key)
            return found
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._query(key))
            self._running[key] = task
            task.add_done_callback(lambda task: self._finish(key, task))
        return await asyncio.shield(task)

    async def _query(self, key: str) -> Found[V]:
        expires_at = self._clock() + self._seconds  # the result is as old as the query
        found = Found(await self._look_up(key), expires_at)
        self._found[key] = found
        self._found.move_to_end(key)
        if len(self._found) > self._max_entries:
            self._found.popitem(last=False)
        return found

    def _finish(self, key: str, task: "asyncio.Task[Found[V]]") -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # marks it as retrieved, in case every waiting request was cancelled
