"""A client of Redis whose calls fail: before they are executed, or after."""

from collections.abc import Callable
from typing import Any

from redis import ConnectionError as NoConnection
from redis import Redis
from redis.client import Pipeline

#: Returns whether a call fails now, at the moment with this name.
Fails = Callable[[str], bool]


class UnreliableRedis(Redis):
    """Its commands and pipelines raise ConnectionError, perhaps although they were executed."""

    def __init__(self, *, fails: Fails, **connection: Any) -> None:
        super().__init__(**connection)
        self._fails = fails

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Executes a command."""
        command = super().execute_command
        return _call(self._fails, lambda: command(*args, **options))

    def pipeline(self, *given: Any, **options: Any) -> Pipeline:
        """Returns a pipeline that fails as a whole."""
        pipeline = super().pipeline(*given, **options)
        execute = pipeline.execute
        pipeline.execute = lambda **how: _call(self._fails, lambda: execute(**how))  # type: ignore[method-assign]
        return pipeline


def _call(fails: Fails, command: Callable[[], Any]) -> Any:
    _maybe_fail(fails, "before")
    result = command()
    _maybe_fail(fails, "after")
    return result


def _maybe_fail(fails: Fails, moment: str) -> None:
    if fails(moment):
        raise NoConnection(moment)
