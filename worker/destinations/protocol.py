"""The interface that each kind of destination implements."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import httpx

from enrollment.domain.destinations.records import (
    ApplyResult,
    Auth,
    Destination,
    RemoteCourse,
    StatesPage,
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

    def list_pages(
        self, courses: Sequence[str], *, place: str | None = None
    ) -> Iterator[StatesPage]:
        """Yields the enrollments of courses, or all if none is named. Raises DestinationFailure.

        From a place on that the same list had; from the beginning if it is one of another list.
        """

    def read_courses(self) -> Iterator[RemoteCourse]:
        """Yields the courses of the destination. Raises DestinationFailure."""

    def close(self) -> None:
        """Ends what belongs to this client alone; the HTTP client is closed by its owner."""


#: Makes the client of a destination. The HTTP client is guarded (`enrollment.runtime.outbound`),
#: and may be used by several threads.
KindFactory = Callable[[Destination, Auth, httpx.Client], DestinationKind]
