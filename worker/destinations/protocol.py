"""The interface that each kind of destination implements."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import httpx

from enrollment.domain.destinations.records import (
    ApplyResult,
    Auth,
    Destination,
    RemoteCourse,
    RemoteState,
    WantedState,
)


class DestinationFailure(Exception):
    """A destination cannot be read; `name` is a stable name of the reason."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class DestinationKind(Protocol):
    """A client of one destination. Several threads call `apply` at once, for other enrollments."""

    def apply(self, state: WantedState) -> ApplyResult:
        """Sends a state in bounded time; a failure of the destination is a result, no exception."""

    def list_states(self, courses: Sequence[str]) -> Iterator[RemoteState]:
        """Yields the enrollments of courses, or all if none is named. Raises DestinationFailure."""

    def read_courses(self) -> Iterator[RemoteCourse]:
        """Yields the courses of the destination. Raises DestinationFailure."""

    def close(self) -> None:
        """Ends what belongs to this client alone; the HTTP client is closed by its owner."""


#: Makes the client of a destination. The HTTP client is guarded (`enrollment.runtime.outbound`),
#: and may be used by several threads.
KindFactory = Callable[[Destination, Auth, httpx.Client], DestinationKind]
